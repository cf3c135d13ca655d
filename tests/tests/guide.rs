//! Everything that the comparison with other systems names exists: every story and every test that
//! it names.

use std::{collections::BTreeSet, fs, path::Path};

use crate::applications::APPLICATIONS;

const GUIDE: &str = include_str!("../../docs/compare.md");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Stories and tests that show each row.
fn shown() -> impl Iterator<Item = &'static str> {
    let (_, part) = GUIDE
        .split_once("\n## What they have, and what shows it\n")
        .expect("the table");
    let (part, _) = part.split_once("\n## ").expect("a part behind it");
    let rows = part.lines().filter(|line| line.starts_with("| "));
    let last = |row: &'static str| row.trim_end_matches(" |").rsplit(" | ").next();
    rows.skip(1).filter_map(last).flat_map(names)
}

/// Returns the texts between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_story_of_another_system_is_in_the_guide() {
    let told: BTreeSet<_> = shown().collect();
    let mut missing = Vec::new();
    for application in &APPLICATIONS {
        for trace in application.traces() {
            let mut systems = ["nest_rs_", "toni_", "moost_"].iter();
            let is_theirs = systems.any(|system| trace.name().starts_with(system));
            let name = format!("{}/{}", application.name, trace.name());
            if is_theirs && !told.contains(&*name) {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "not in docs/compare.md: {missing:?}");
}

#[test]
fn what_shows_each_thing_exists() {
    let mut shown_by = 0;
    for name in shown() {
        if let Some((file, test)) = name.split_once(": ") {
            let source = fs::read_to_string(Path::new(ROOT).join(file)).expect(name);
            assert!(source.contains(&format!("fn {test}()")), "{name}");
        } else {
            let path = Path::new(ROOT).join(format!("tests/traces/{name}.trace"));
            assert!(path.exists(), "{name}");
        }
        shown_by += 1;
    }
    assert!(shown_by > 40, "{shown_by}");
}

/// Lines that are neither empty nor a comment: an example is taken in at one look.
#[test]
fn an_example_has_at_most_60_lines_of_code() {
    for example in ["chat", "heartbeat", "notify", "raw", "rooms"] {
        let path = format!("{ROOT}/core/examples/gateways/{example}.rs");
        let text = fs::read_to_string(&path).expect(&path);
        let lines = text.lines().map(str::trim);
        let code = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        let count = code.count();
        assert!(count <= 60, "{example}: {count}");
    }
}

#[test]
fn no_link_of_the_guide_is_dead() {
    let links = GUIDE.split("](").skip(1);
    for link in links.filter_map(|rest| rest.split(')').next()) {
        if let Some(anchor) = link.strip_prefix('#') {
            let has = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -".contains(*c));
                line.starts_with('#') && kept.collect::<String>().replace(' ', "-") == anchor
            };
            assert!(GUIDE.lines().any(has), "#{anchor}");
        } else if !link.starts_with("http") {
            let path = link.split('#').next().unwrap_or_default();
            let path = Path::new(ROOT).join("docs").join(path);
            assert!(path.exists(), "{}", path.display());
        }
    }
}
