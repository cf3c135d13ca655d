//! `docs/tokens.md`: each case has tests that exist.

use std::{fs, path::Path};

const PAGE: &str = include_str!("../../../docs/tokens.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The file of a name in the table: below the folder that its beginning stands for.
fn path(name: &str) -> String {
    if name.starts_with("tests/") {
        return name.to_owned();
    }
    match name.split_once('/') {
        Some(("t", file)) => format!("tests/tests/tokens/{file}"),
        Some(("e", file)) => format!("tests/tests/edge_faults/{file}"),
        _ => format!("core/token/tests/{name}"),
    }
}

#[test]
fn every_case_has_tests_that_exist() {
    let (_, table) = PAGE.split_once("## What is tested").expect("a heading");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<_> = rows.filter(|row| !row.starts_with("| case ")).collect();
    assert!(rows.len() > 8, "{rows:?}");
    for row in rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let &[_, tests] = &cells[..] else {
            panic!("not two cells: {row}");
        };
        let names = tests.split('`').skip(1).step_by(2);
        let names: Vec<_> = names.filter(|name| name.contains(".rs")).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let (file, test) = name.split_once(": ").unwrap_or((name, ""));
            let source = fs::read_to_string(Path::new(ROOT).join(path(file)));
            let source = source.unwrap_or_else(|fault| panic!("{file}: {fault}"));
            let head = match test {
                "" => "#[test]".to_owned(),
                test => format!("fn {test}("),
            };
            assert!(
                source.contains(&head),
                "docs/tokens.md names {name}, which is no test"
            );
        }
    }
}
