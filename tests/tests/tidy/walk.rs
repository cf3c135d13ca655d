//! The way of one publish, as `ARCHITECTURE.md` lists it: functions that are there, and not too
//! many.

use super::tree::{Source, Tree, Violation};

const HEADING: &str = "## The way of one publish, hop by hop";

/// Functions that a publish enters at most: a longer way is to be shortened, not listed.
const FUNCTIONS_MAX: usize = 36;

/// Folders that files of the section are in.
const FOLDERS: [&str; 2] = ["host-native/src", "core/src"];

/// Functions of the section that are in none of its files, and files that are not there.
pub(crate) fn publish_walk(tree: &Tree) -> Vec<Violation> {
    let page = |document: &&Source| document.path == "ARCHITECTURE.md";
    let Some(page) = tree.documents.iter().find(page) else {
        return Vec::new();
    };
    let names = names(&page.text);
    let (paths, functions): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|(_, name)| is_path(name));
    let mut violations = Vec::new();
    if functions.is_empty() || functions.len() > FUNCTIONS_MAX {
        let fix = format!(
            "{:?} lists {} functions, and at most {FUNCTIONS_MAX}: shorten the way",
            HEADING,
            functions.len()
        );
        violations.push(page.violation(0, fix));
    }
    let mut sources = Vec::new();
    for (line, path) in paths {
        let found = tree.sources.iter().filter(|source| is_at(source, path));
        let before = sources.len();
        sources.extend(found);
        if sources.len() == before {
            violations.push(page.violation(line, format!("no file {path}")));
        }
    }
    for (line, name) in functions {
        if !sources.iter().any(|source| has_function(source, name)) {
            let fix = format!("no function {name} in the files of this section");
            violations.push(page.violation(line, fix));
        }
    }
    violations
}

/// The names between backticks in the numbered items of the section, with their lines.
fn names(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate();
    let section = lines
        .skip_while(|(_, line)| *line != HEADING)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .skip_while(|(_, line)| !line.starts_with("1. "));
    let names = section.flat_map(|(number, line)| {
        let names = line.split('`').skip(1).step_by(2);
        names.map(move |name| (number, name))
    });
    // `$auth` is a word of the protocol.
    names.filter(|(_, name)| !name.starts_with('$')).collect()
}

fn is_path(name: &str) -> bool {
    name.ends_with(".rs") || name.ends_with('/')
}

fn is_at(source: &Source, path: &str) -> bool {
    FOLDERS.iter().any(|folder| {
        let below = source.path.strip_prefix(folder);
        let below = below.and_then(|below| below.strip_prefix('/'));
        below.is_some_and(|below| {
            below == path
                || path.ends_with('/') && below.starts_with(path)
                || !path.contains('/') && below.ends_with(&format!("/{path}"))
        })
    })
}

/// True when the source defines the function, on the named type if there is one.
fn has_function(source: &Source, name: &str) -> bool {
    let (owner, function) = name.rsplit_once("::").unwrap_or(("", name));
    let defines = ["(", "<"]
        .iter()
        .any(|end| source.text.contains(&format!("fn {function}{end}")));
    let is_of = |line: &str| line.starts_with("impl") && line.contains(owner);
    // A module is named in lower case.
    let is_module = owner.starts_with(char::is_lowercase);
    defines && (owner.is_empty() || is_module || source.text.lines().any(is_of))
}
