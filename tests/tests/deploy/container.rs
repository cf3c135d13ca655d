//! The image and the manifests of Kubernetes.

use std::{fs, path::Path, process::Command};

use super::{HERE, passes, path, text};
use crate::process::child::{Process, roomcast};

const MANIFESTS: &str = "kubernetes/roomcast.yaml";

#[test]
fn manifests_are_valid_and_strict() {
    let validate = Path::new(HERE).join(".venv/bin/kubernetes-validate");
    for version in ["1.31", "1.34"] {
        let mut command = Command::new(&validate);
        command
            .args(["--strict", "-k", version])
            .arg(path(MANIFESTS));
        let said = passes(&mut command);
        assert!(
            said.contains("statefulset/roomcast against version"),
            "{said}"
        );
    }
}

#[test]
fn the_file_in_the_manifests_is_a_configuration() {
    let text = text(MANIFESTS);
    let (_, file) = text.split_once("  roomcast.toml: |\n").expect("a file");
    let lines = file.lines().map_while(|line| line.strip_prefix("    "));
    let file: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(file.contains("store = "), "{file}");
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("roomcast.toml");
    // The server has its key from a secret.
    let key = roomcast::ApiKey::new("key").hashed();
    fs::write(&at, format!("api_keys = [{key:?}]\n{file}")).expect("a file");
    passes(roomcast().args(["config", "check"]).arg(at));
}

/// The command in the image is that of the binary, which knows no other port there.
#[test]
fn the_health_check_of_the_image_sees_a_server_come_and_go() {
    let dockerfile = text("docker/Dockerfile");
    let (_, check) = dockerfile
        .split_once("    CMD [\"/roomcast\", ")
        .expect("a check");
    let (check, _) = check.split_once("]\n").expect("its end");
    let arguments: Vec<String> = serde_json::from_str(&format!("[{check}]")).expect("JSON");
    let server = Process::start(&[]);
    let url = format!("http://{}", server.authority);
    let arguments: Vec<_> = arguments
        .iter()
        .map(|argument| argument.replace("http://127.0.0.1:3000", &url))
        .collect();
    assert!(arguments.contains(&url), "{arguments:?}");
    passes(roomcast().args(&arguments));
    drop(server);
    let gone = roomcast().args(&arguments).output().expect("a process");
    assert_eq!(gone.status.code(), Some(3));
}
