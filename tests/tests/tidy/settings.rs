//! Settings and their rows in `docs/settings.md`.

use std::collections::BTreeMap;

use super::tree::{Tree, Violation};

const DOCUMENT: &str = "docs/settings.md";

/// Functions that make a setting of its name.
const KINDS: [&str; 6] = ["number", "computed", "switch", "permission", "list", "text"];

/// Settings in a table of the sources without a row in `docs/settings.md`, and rows without one.
///
/// Ranges, defaults and headings are compared where the tables are compiled.
pub(crate) fn settings(tree: &Tree) -> Vec<Violation> {
    let Some(page) = tree.documents.iter().find(|page| page.path == DOCUMENT) else {
        return Vec::new();
    };
    let rows = page.text.lines().enumerate().filter_map(|(number, line)| {
        let row = line.strip_prefix("| `--")?;
        Some((row.split(['`', ' ']).next()?, number))
    });
    let mut rows: BTreeMap<&str, usize> = rows.collect();
    let documented: Vec<&str> = rows.keys().copied().collect();
    let mut violations = Vec::new();
    for source in tree
        .sources
        .iter()
        .filter(|source| source.path.contains("/src/"))
    {
        for (number, name) in names(&source.text) {
            rows.remove(name);
            if !documented.contains(&name) {
                let fix = format!("--{name} has no row in {DOCUMENT}: say what it is");
                violations.push(source.violation(number, fix));
            }
        }
    }
    for (name, number) in rows {
        let fix = format!("--{name} is in no table of settings: remove its row");
        violations.push(page.violation(number, fix));
    }
    violations
}

/// The names of the settings that a source makes, with their lines.
fn names(text: &str) -> Vec<(usize, &str)> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    if !text.contains("Setting<") {
        return Vec::new();
    }
    let mut names = Vec::new();
    for kind in KINDS {
        for (at, call) in text.match_indices(&format!("::{kind}(")) {
            let name = text[at + call.len()..].trim_start().strip_prefix('"');
            let name = name.and_then(|name| name.split_once('"'));
            names.extend(name.map(|(name, _)| (text[..at].matches('\n').count(), name)));
        }
    }
    names
}
