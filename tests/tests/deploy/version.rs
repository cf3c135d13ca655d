//! The commit in `roomcast --version`, which the build script of the server finds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{HERE, passes, path};
use crate::process::child::roomcast;

/// The build script, compiled into this folder.
fn script(folder: &Path) -> PathBuf {
    let (source, program) = (
        Path::new(HERE).join("../host-native/build.rs"),
        folder.join("script"),
    );
    let mut rustc = Command::new("rustc");
    passes(
        rustc
            .args(["--edition=2024", "-o"])
            .arg(&program)
            .arg(source),
    );
    program
}

/// The version that the script gives the crate in a folder.
fn version(script: &Path, folder: &Path, env: &[(&str, &str)]) -> String {
    let mut command = Command::new(script);
    command
        .env_remove("ROOMCAST_COMMIT")
        .env("CARGO_MANIFEST_DIR", folder);
    command.envs([("CARGO_PKG_VERSION", "0.1.0"), ("PROFILE", "release")]);
    let said = passes(command.envs(env.iter().copied()));
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("cargo:rustc-env=ROOMCAST_VERSION="));
    line.expect("a version").to_owned()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    passes(git.args(arguments)).trim().to_owned()
}

#[test]
fn the_commit_is_that_of_the_crate() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let script = script(folder);
    let main = folder.join("main");
    fs::create_dir(&main).expect("a folder");
    fs::write(main.join("Cargo.toml"), "").expect("a file");
    assert_eq!(version(&script, &main, &[]), "0.1.0");

    // A clone, and a worktree of it.
    git(&main, &["init", "--quiet"]);
    assert_eq!(
        version(&script, &main, &[]),
        "0.1.0",
        "git does not know the crate"
    );
    git(&main, &["add", "Cargo.toml"]);
    git(&main, &["commit", "--quiet", "-m", "one"]);
    let shown = |folder: &Path| format!("0.1.0 ({})", &git(folder, &["rev-parse", "HEAD"])[..12]);
    assert_eq!(version(&script, &main, &[]), shown(&main));
    git(
        &main,
        &["worktree", "add", "--quiet", "-b", "other", "../other"],
    );
    let other = folder.join("other");
    git(&other, &["commit", "--quiet", "--allow-empty", "-m", "two"]);
    assert_eq!(version(&script, &other, &[]), shown(&other));
    assert_ne!(shown(&main), shown(&other));
    // Otherwise it would be recompiled with each commit.
    assert_eq!(version(&script, &main, &[("PROFILE", "debug")]), "0.1.0");

    // A published crate within the repository of somebody else.
    let sha1 = "0123456789abcdef0123456789abcdef01234567";
    let info = format!(r#"{{"git":{{"sha1":"{sha1}"}},"path_in_vcs":"host-native"}}"#);
    fs::write(main.join(".cargo_vcs_info.json"), info).expect("a file");
    assert_eq!(version(&script, &main, &[]), "0.1.0 (0123456789ab)");
    let given = "f".repeat(40);
    let given = version(&script, &main, &[("ROOMCAST_COMMIT", &given)]);
    assert_eq!(given, "0.1.0 (ffffffffffff)");
}

#[test]
fn the_program_tells_its_version() {
    let said = passes(roomcast().arg("--version"));
    let expected = format!("roomcast {}", env!("CARGO_PKG_VERSION"));
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn all_that_is_released_has_one_version() {
    let said = passes(&mut Command::new(path("versions")));
    assert_eq!(said.trim(), env!("CARGO_PKG_VERSION"));
}
