//! `docs/faults.md`: each fault has a test that exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../docs/faults.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Folders with tests.
const FOLDERS: [&str; 6] = [
    "core/hooks/tests",
    "core/tests",
    "core/token/tests",
    "host-native/tests",
    "tests/clients",
    "tests/tests",
];

/// Appends the sources below a folder.
fn read(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path: PathBuf = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                read(&path, sources);
            }
        } else if path
            .extension()
            .is_some_and(|end| end == "rs" || end == "py")
        {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

/// The tests that a row names, in its last cell.
fn named(row: &str) -> impl Iterator<Item = &str> {
    let row = row.trim_end().trim_end_matches('|');
    let cell = row.rsplit(" | ").next().unwrap_or_default();
    cell.split('`').skip(1).step_by(2)
}

fn rows() -> impl Iterator<Item = &'static str> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| fault |");
    PAGE.lines().filter(is_row)
}

#[test]
fn every_fault_has_a_test_that_exists() {
    let mut sources = String::new();
    for folder in FOLDERS {
        read(&Path::new(ROOT).join(folder), &mut sources);
    }
    let mut tests = BTreeSet::new();
    for row in rows() {
        let before = tests.len();
        for test in named(row) {
            let heads = [format!("fn {test}("), format!("def {test}(")];
            let is_there = heads.iter().any(|head| sources.contains(head));
            assert!(is_there, "docs/faults.md names {test}, which is no test");
            tests.insert(test);
        }
        assert!(tests.len() > before, "no test of its own: {row}");
    }
    assert!(tests.len() > 50, "{}", tests.len());
}

#[test]
fn a_row_names_its_tests() {
    let row = "| a fault | `--flag` ends it | `one`, `two` |";
    assert_eq!(named(row).collect::<Vec<_>>(), ["one", "two"]);
}
