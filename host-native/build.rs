//! The commit of this build, for `roomcast --version`: from `ROOMCAST_COMMIT`, the published crate,
//! or git.
//!
//! Without these there is none, as in a debug build: it would be compiled anew with each commit.

#![allow(clippy::print_stdout)] // cargo reads it

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=ROOMCAST_COMMIT");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let is_debug = env::var_os("PROFILE").is_some_and(|profile| profile == "debug");
    let given = env::var("ROOMCAST_COMMIT")
        .ok()
        .and_then(|commit| short(&commit));
    let commit = given.or_else(|| published(&folder));
    let commit = commit.or_else(|| (!is_debug).then(|| checked_out(&folder))?);
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = commit.map_or(version.clone(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=ROOMCAST_VERSION={version}");
}

/// The commit that `cargo package` has put into a crate.
fn published(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    short(rest.split('"').nth(1)?)
}

/// The commit that is checked out, where git knows this crate: it may lie in the folder of another.
fn checked_out(folder: &Path) -> Option<String> {
    git(folder, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // A commit changes one of them. In worktrees they are elsewhere. With a file that is not there
    // every build would start this again.
    for name in ["HEAD", "logs/HEAD"] {
        let path = folder.join(git(folder, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    short(&git(folder, &["rev-parse", "HEAD"])?)
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn short(commit: &str) -> Option<String> {
    let is_hash = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| commit[..12].to_owned())
}
