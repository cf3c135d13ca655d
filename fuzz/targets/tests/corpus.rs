//! The corpus of each target, file by file.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use roomcast_fuzz_targets::TARGETS;

/// The number of files of one target, few enough for people to look through.
const FILES_MAX: usize = 60;
/// Bytes of all files.
const BYTES_MAX: usize = 400 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files in a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

/// Gives a target each file of its corpus.
fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|target| target.0 == name).expect(name);
    let files = files(&fuzz().join("corpus").join(name));
    assert!(!files.is_empty(), "{name} has no corpus");
    let failed = files.iter().filter(|file| {
        let data = fs::read(file).expect("a file");
        // The panic message names the fault.
        catch_unwind(|| target(&data)).is_err()
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{name} fails with {failed:#?}");
}

#[test]
fn decoder() {
    replay("decoder");
}

#[test]
fn envelope() {
    replay("envelope");
}

#[test]
fn journal() {
    replay("journal");
}

#[test]
fn ops() {
    replay("ops");
}

#[test]
fn policy_file() {
    replay("policy_file");
}

#[test]
fn token() {
    replay("token");
}

#[test]
fn upgrade() {
    replay("upgrade");
}

/// Each target has a libFuzzer program and a corpus, and this file has a test for each.
#[test]
fn every_target_is_fuzzed_and_replayed() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    let this = include_str!("corpus.rs");
    for (name, _) in TARGETS {
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "fuzz/Cargo.toml lacks {name}");
        assert!(
            this.contains(&format!("    replay(\"{name}\");")),
            "no test of {name}"
        );
    }
    let names = |folder: &str| {
        let files = files(&fuzz().join(folder));
        let stems = files.iter().filter_map(|file| file.file_stem());
        let stems = stems.map(|stem| stem.to_string_lossy().into_owned());
        stems.collect::<Vec<_>>()
    };
    let targets = TARGETS.map(|(name, _)| name);
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
}

#[test]
fn the_corpus_is_small() {
    let mut bytes = 0;
    for (name, _) in TARGETS {
        let files = files(&fuzz().join("corpus").join(name));
        assert!(files.len() <= FILES_MAX, "{name} has {} files", files.len());
        let sizes = files
            .iter()
            .map(|file| fs::metadata(file).expect("a file").len());
        bytes += sizes.sum::<u64>();
    }
    assert!(bytes <= BYTES_MAX as u64, "the corpus has {bytes} bytes");
}
