//! The house rules, held against the tree: each violation is told with its file, its line and the
//! fix.
//!
//! `exceptions.txt` counts the violations that each file still has. A file may have fewer, never
//! more: then the count is to be lowered (`ROOMCAST_BLESS=1` does it). A file that is not listed
//! has none. Each needs a reason behind its count.

mod imports;
mod planted;
mod prose;
mod scripts;
mod settings;
mod source;
mod tree;
mod walk;
mod words;

use std::{collections::BTreeMap, env, fmt::Write as _, fs};

use self::tree::{Source, Tree, Violation};

/// A rule: its name in `exceptions.txt`, and how it looks at the tree.
type Rule = (&'static str, fn(&Tree) -> Vec<Violation>);

const RULES: [Rule; 19] = [
    ("file_length", |tree| each(tree, source::file_length)),
    ("function_length", |tree| {
        each(tree, source::function_length)
    }),
    ("doc_opening", |tree| each(tree, source::doc_opening)),
    ("words", |tree| each(tree, words::words)),
    ("script_doc_opening", |tree| {
        each_script(tree, scripts::doc_opening)
    }),
    ("script_length", |tree| {
        each_script(tree, source::file_length)
    }),
    ("script_words", |tree| each_script(tree, scripts::words)),
    ("comment_width", |tree| each(tree, source::comment_width)),
    ("folder_size", source::folder_size),
    ("import_circle", imports::circles),
    ("import_layer", imports::layers),
    ("settings", settings::settings),
    ("dead_link", prose::dead_links),
    ("summary", prose::summary),
    ("prose_width", prose::width),
    ("document_words", prose::total_words),
    ("changelog", prose::changelog),
    ("invariants", prose::invariants),
    ("publish_walk", walk::publish_walk),
];

fn each(tree: &Tree, rule: fn(&Source) -> Vec<Violation>) -> Vec<Violation> {
    tree.sources.iter().flat_map(rule).collect()
}

fn each_script(tree: &Tree, rule: fn(&Source) -> Vec<Violation>) -> Vec<Violation> {
    tree.scripts.iter().flat_map(rule).collect()
}

/// The violations of a rule that a file may have, by rule and file, and the reason.
type Exceptions = BTreeMap<(String, String), (usize, String)>;

fn exceptions(text: &str) -> Exceptions {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (rule, file, count, reason) = (word(), word(), word(), word());
            let count = count.parse().unwrap_or_else(|_| panic!("no count: {line}"));
            assert!(
                !reason.is_empty(),
                "an exception needs a reason behind its count: {line}"
            );
            ((rule, file), (count, reason))
        })
        .collect()
}

#[test]
fn the_tree_keeps_the_house_rules() {
    let tree = Tree::read();
    let allowed = exceptions(include_str!("exceptions.txt"));
    let mut found: BTreeMap<(String, String), Vec<Violation>> = BTreeMap::new();
    for (name, rule) in RULES {
        for violation in rule(&tree) {
            let key = (name.to_owned(), violation.file.clone());
            found.entry(key).or_default().push(violation);
        }
    }
    if env::var_os("ROOMCAST_BLESS").is_some() {
        return bless(&found, &allowed);
    }
    let mut told = String::new();
    for (key, violations) in &found {
        if violations.len() > allowed.get(key).map_or(0, |(count, _)| *count) {
            for violation in violations {
                let _ = writeln!(told, "{}: {violation}", key.0);
            }
        }
    }
    for (key, (allowed, _)) in &allowed {
        let count = found.get(key).map_or(0, Vec::len);
        if count < *allowed {
            let (rule, file) = key;
            let _ = writeln!(
                told,
                "exceptions.txt: {rule} {file} has {count} violations, not {allowed}: lower the count"
            );
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

/// Writes the counts of the tree as it is, where they are lower than before.
fn bless(found: &BTreeMap<(String, String), Vec<Violation>>, allowed: &Exceptions) {
    let mut text = String::from(
        "# Violations that files still have: rule, file, number, reason. A number may only become lower.\n",
    );
    for (key, (allowed, reason)) in allowed {
        let count = found.get(key).map_or(0, Vec::len).min(*allowed);
        if count > 0 {
            let (rule, file) = key;
            let _ = writeln!(text, "{rule} {file} {count} {reason}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tidy/exceptions.txt");
    fs::write(path, text).expect("exceptions.txt can be written");
}
