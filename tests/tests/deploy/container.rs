//! The image and the manifests of Kubernetes.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use super::{HERE, passes, path, redis::Redis, text};
use crate::{
    peer::{Peer, free_port},
    process::child::{Process, roomcast},
    proxy::until,
    tls::pair::Pairs,
};

pub(super) const MANIFESTS: [(&str, &str); 2] = [
    ("kubernetes/roomcast.yaml", "statefulset/roomcast"),
    ("kubernetes/many-nodes.yaml", "deployment/roomcast"),
];
/// Volume of the image.
const STORE: &str = "/store";

/// Variables and arguments of a container.
struct Container {
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
}

impl Container {
    /// Variables and arguments in the image.
    fn of_image() -> Self {
        let dockerfile = text("docker/Dockerfile");
        let lines = |word: &'static str| {
            let lines = dockerfile.lines();
            lines.filter_map(move |line| line.strip_prefix(word))
        };
        let variables = lines("ENV ").flat_map(|line| line.split(' '));
        let variables = variables.map(|variable| {
            let (name, value) = variable.split_once('=').expect("a value");
            (name.to_owned(), value.to_owned())
        });
        let arguments = lines("CMD ").next().expect("arguments");
        Self {
            variables: variables.collect(),
            arguments: serde_json::from_str(arguments).expect("JSON"),
        }
    }

    /// Runs the server with folders of this machine in the place of those in the container.
    fn run(&self, folders: &[(&str, &Path)]) -> Process {
        let here = |text: &str| {
            let folders = folders.iter();
            folders.fold(text.to_owned(), |text, (there, here)| {
                text.replace(there, &here.display().to_string())
            })
        };
        let mut command = roomcast();
        for (name, value) in &self.variables {
            command.env(name, here(value));
        }
        command.args(self.arguments.iter().map(|argument| here(argument)));
        Process::run(command)
    }
}

/// The manifests of a file.
pub(super) fn documents(file: &str) -> Vec<Value> {
    let program = "import json, sys, yaml\n\
                   with open(sys.argv[1], encoding='utf-8') as file:\n    \
                   print(json.dumps(list(yaml.safe_load_all(file))))";
    let mut python = Command::new(Path::new(HERE).join(".venv/bin/python"));
    let json = passes(python.args(["-c", program]).arg(path(file)));
    serde_json::from_str(&json).expect("JSON")
}

/// The template of the servers in manifests.
pub(super) fn template(documents: &[Value]) -> &Value {
    let mut templates = documents
        .iter()
        .map(|document| &document["spec"]["template"]);
    templates.find(|it| !it.is_null()).expect("a template")
}

/// The status of the answer to a GET.
fn status(authority: &str, path: &str) -> String {
    let mut peer = Peer::silent(authority);
    peer.write(format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes());
    peer.head().split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn manifests_are_valid_and_strict() {
    let validate = Path::new(HERE).join(".venv/bin/kubernetes-validate");
    for version in ["1.31", "1.34"] {
        let mut command = Command::new(&validate);
        command
            .args(["--strict", "-k", version])
            .args(MANIFESTS.map(|(file, _)| path(file)));
        let said = passes(&mut command);
        for (_, server) in MANIFESTS {
            assert!(
                said.contains(&format!("{server} against version")),
                "{said}"
            );
        }
    }
}

/// A server with all that the image and the manifests give it; its probes pass.
fn starts(file: &str, secrets: &[(&str, String)]) {
    let documents = documents(file);
    let container = &template(&documents)["spec"]["containers"][0];
    let mut given = Container::of_image();
    for variable in container["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let key = &variable["valueFrom"]["secretKeyRef"]["key"];
        let secret = secrets.iter().find(|(name, _)| key == name);
        let (_, secret) = secret.unwrap_or_else(|| panic!("{file}: no secret for {name}"));
        given.variables.insert(name, secret.clone());
    }
    let arguments = container["args"].clone();
    given.arguments = serde_json::from_value(arguments).expect("arguments");

    let folder = TempDir::new().expect("a folder");
    let ports = [("clients", 3000, free_port()), ("admin", 3001, free_port())];
    let mut configs = documents.iter().map(|it| &it["data"]["roomcast.toml"]);
    let config = configs.find_map(|it| it.as_str()).expect("a file");
    let mut config = config.replace(STORE, &folder.path().join("store").display().to_string());
    for (name, there, here) in ports {
        let declared = container["ports"].as_array().expect("ports").iter();
        let is_declared = |port: &Value| port["name"] == name && port["containerPort"] == there;
        assert!(declared.into_iter().any(is_declared), "{file}: {name}");
        let (before, after) = (format!("0.0.0.0:{there}"), format!("127.0.0.1:{here}"));
        assert_eq!(config.matches(&before).count(), 1, "{config}");
        config = config.replace(&before, &after);
    }
    fs::write(folder.path().join("roomcast.toml"), config).expect("a file");
    let _server = given.run(&[("/etc/roomcast", folder.path())]);
    for (probe, at) in [
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        let get = &container[probe]["httpGet"];
        let port = ports.iter().find(|(name, ..)| get["port"] == *name);
        let (name, _, port) = port.expect("a port that is declared");
        // The public listener does not answer while clients hold all descriptors.
        assert_eq!(*name == "admin", at == "/healthz", "{file}: {probe}");
        assert_eq!(get["path"], at);
        let authority = format!("127.0.0.1:{port}");
        until(probe, || status(&authority, at) == "200");
    }
}

#[test]
fn servers_start_with_what_the_image_and_the_manifests_give_them() {
    let redis = Redis::start(&["--save", ""]);
    let secrets = [
        ("api-key-hash", roomcast::ApiKey::new("key").hashed()),
        ("relay", format!("redis://{}", redis.authority())),
    ];
    for (file, _) in MANIFESTS {
        starts(file, &secrets);
    }
}

#[test]
fn the_image_stores_and_listens_at_the_port_of_its_platform() {
    let folder = TempDir::new().expect("a folder");
    let mut container = Container::of_image();
    assert_eq!(container.variables["PORT"], "3000");
    let port = free_port();
    container
        .variables
        .insert("PORT".to_owned(), port.to_string());
    let hash = roomcast::ApiKey::new("key").hashed();
    container
        .variables
        .insert("ROOMCAST_API_KEY".to_owned(), hash);
    let store = folder.path().join("store");
    let server = container.run(&[(STORE, &store)]);
    assert_eq!(server.authority, format!("0.0.0.0:{port}"));
    assert!(store.join("histories.sqlite").is_file());
}

/// Runs a server with these variables, and the health check of the image with the same ones: it
/// passes until the server ends.
fn is_healthy_until_its_end(variables: &[(&str, &str)]) {
    let mut container = Container::of_image();
    let variables = variables.iter();
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    container.variables.extend(variables);
    container.arguments = vec!["serve".to_owned()];
    let server = container.run(&[]);
    let dockerfile = text("docker/Dockerfile");
    let (_, check) = dockerfile
        .split_once("    CMD [\"/roomcast\", ")
        .expect("a check");
    let (check, _) = check.split_once("]\n").expect("its end");
    let arguments: Vec<String> = serde_json::from_str(&format!("[{check}]")).expect("JSON");
    let check = || {
        let mut command = roomcast();
        command.args(&arguments).envs(&container.variables);
        command
    };
    passes(&mut check());
    drop(server);
    let gone = check().output().expect("a process");
    assert_eq!(gone.status.code(), Some(3), "{:?}", container.variables);
}

#[test]
fn the_health_check_of_the_image_finds_its_server() {
    // The key may be a hash, or several.
    let hash = roomcast::ApiKey::new("key").hashed();
    let keys = format!("publish:{hash},{hash}");
    let port = free_port().to_string();
    is_healthy_until_its_end(&[("PORT", &port), ("ROOMCAST_API_KEY", &keys)]);
    // The certificate names a host that the check does not know.
    let pairs = Pairs::new();
    let (certificate, key) = (pairs.path("cert.pem"), pairs.path("key.pem"));
    is_healthy_until_its_end(&[
        ("ROOMCAST_LISTEN", &format!("0.0.0.0:{}", free_port())),
        ("ROOMCAST_API_KEY", &keys),
        ("ROOMCAST_TLS_CERT", &certificate),
        ("ROOMCAST_TLS_KEY", &key),
    ]);
}
