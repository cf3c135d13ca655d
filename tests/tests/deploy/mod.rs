//! Files in `deploy`: the programs accept them, and everything that they name exists.

mod cluster;
mod container;
mod generated;
mod monitoring;
mod packages;
mod proxies;
mod redis;
mod site;
mod stopping;
mod systemd;
mod version;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The path of a file in `deploy`.
fn path(file: &str) -> PathBuf {
    Path::new(HERE).join("../deploy").join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|fault| panic!("{file}: {fault}"))
}

/// Runs a program that must not complain; gives what it printed.
fn passes(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|fault| panic!("{command:?}: {fault}: see tests/run"));
    let said = [&*output.stdout, &*output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
