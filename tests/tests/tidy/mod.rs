//! The house rules, held against the tree: each fault is told with its file, its line and the fix.
//!
//! `exceptions.txt` counts the faults that each file still has. A file may have fewer, never more:
//! then the count is to be lowered (`ROOMCAST_BLESS=1` does it). A file that is not listed has
//! none.

mod imports;
mod prose;
mod source;
mod tree;

use std::{collections::BTreeMap, env, fmt::Write as _, fs};

use self::tree::{Fault, Source, Tree};

/// A rule: its name in `exceptions.txt`, and how it looks at the tree.
type Rule = (&'static str, fn(&Tree) -> Vec<Fault>);

const RULES: [Rule; 11] = [
    ("file_length", |tree| each(tree, source::file_length)),
    ("function_length", |tree| {
        each(tree, source::function_length)
    }),
    ("doc_opening", |tree| each(tree, source::doc_opening)),
    ("words", |tree| each(tree, source::words)),
    ("comment_width", |tree| each(tree, source::comment_width)),
    ("folder_size", source::folder_size),
    ("import_circle", imports::circles),
    ("dead_link", prose::dead_links),
    ("prose_width", prose::width),
    ("changelog", prose::changelog),
    ("invariants", prose::invariants),
];

fn each(tree: &Tree, rule: fn(&Source) -> Vec<Fault>) -> Vec<Fault> {
    tree.sources.iter().flat_map(rule).collect()
}

/// How many faults of which rule each file has.
type Counts = BTreeMap<(String, String), usize>;

fn exceptions() -> Counts {
    let text = include_str!("exceptions.txt");
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (rule, file, count) = (words.next(), words.next(), words.next());
            let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
            let (rule, file) = rule.zip(file).unwrap_or_else(|| panic!("{line}"));
            ((rule.to_owned(), file.to_owned()), count)
        })
        .collect()
}

#[test]
fn the_tree_keeps_the_house_rules() {
    let tree = Tree::read();
    let mut found: BTreeMap<(String, String), Vec<Fault>> = BTreeMap::new();
    for (name, rule) in RULES {
        for fault in rule(&tree) {
            let key = (name.to_owned(), fault.file.clone());
            found.entry(key).or_default().push(fault);
        }
    }
    let counts: Counts = found
        .iter()
        .map(|(key, faults)| (key.clone(), faults.len()))
        .collect();
    if env::var_os("ROOMCAST_BLESS").is_some() {
        return bless(&counts);
    }
    let allowed = exceptions();
    let mut told = String::new();
    for (key, faults) in &found {
        if faults.len() > allowed.get(key).copied().unwrap_or(0) {
            for fault in faults {
                let _ = writeln!(told, "{}: {fault}", key.0);
            }
        }
    }
    for (key, &allowed) in &allowed {
        let count = counts.get(key).copied().unwrap_or(0);
        if count < allowed {
            let (rule, file) = key;
            let _ = writeln!(
                told,
                "exceptions.txt: {rule} {file} has {count} faults, not {allowed}: lower the count"
            );
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

/// Writes the counts of the tree as it is, where they are lower than before.
fn bless(counts: &Counts) {
    let allowed = exceptions();
    let first_time = allowed.is_empty();
    let mut text = String::from(
        "# Faults that files still have: rule, file, number. A number may only become lower.\n",
    );
    for ((rule, file), &count) in counts {
        let key = (rule.clone(), file.clone());
        let count = if first_time {
            count
        } else {
            count.min(allowed.get(&key).copied().unwrap_or(0))
        };
        if count > 0 {
            let _ = writeln!(text, "{rule} {file} {count}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tidy/exceptions.txt");
    fs::write(path, text).expect("exceptions.txt can be written");
}

/// Each rule finds what breaks it: a tree with one planted fault of each kind.
#[test]
fn each_rule_finds_a_planted_fault() {
    let planted = [
        ("file_length", "core/src/a.rs", "// x\n".repeat(501)),
        (
            "function_length",
            "core/src/a.rs",
            format!("fn long() {{\n{}}}\n", "    x();\n".repeat(81)),
        ),
        (
            "doc_opening",
            "core/src/a.rs",
            "/// What members are told.\nfn told() {}\n".into(),
        ),
        ("words", "core/src/a.rs", "fn knock(shelf: u8) {}\n".into()),
        (
            "comment_width",
            "core/src/a.rs",
            format!("// {}\n", "word ".repeat(25)),
        ),
        (
            "import_circle",
            "core/src/a.rs",
            "use crate::b::B;\n".into(),
        ),
        ("dead_link", "docs/a.md", "[there](nowhere.md)\n".into()),
        (
            "dead_link",
            "docs/a.md",
            "[there](a.md#no-such-heading)\n\n# A heading\n".into(),
        ),
        ("prose_width", "docs/a.md", "word ".repeat(25)),
        ("changelog", "CHANGELOG.md", "# Changelog\n".into()),
        (
            "invariants",
            "docs/invariants.md",
            "| I1 to I47 | all | `a.rs: no_such_test` |\n".into(),
        ),
        (
            "invariants",
            "docs/invariants.md",
            "| I1 to I46 | all but one | none |\n".into(),
        ),
    ];
    for (name, file, text) in planted {
        let (_, rule) = RULES
            .into_iter()
            .find(|(rule, _)| *rule == name)
            .expect("a rule of that name");
        let mut tree = Tree::default();
        tree.add(file, &text);
        if name == "import_circle" {
            tree.add("core/src/b.rs", "use super::a::A;\n");
        }
        let faults = rule(&tree);
        assert!(!faults.is_empty(), "{name} does not see {text}");
        assert!(
            faults
                .iter()
                .all(|fault| fault.file.ends_with(".rs") || fault.file.ends_with(".md")),
            "{faults:?}"
        );
    }
    let mut tree = Tree::default();
    for number in 0..17 {
        tree.add(&format!("core/src/file_{number}.rs"), "");
    }
    assert_eq!(source::folder_size(&tree).len(), 1);
}

/// The rules leave good files alone.
#[test]
fn no_rule_finds_a_fault_in_good_files() {
    let mut tree = Tree::default();
    tree.add(
        "core/src/a.rs",
        "//! Rooms.\n\nuse crate::b::B;\n\n/// Histories of all rooms.\n/// Who is there.\nfn f() {\n    x();\n}\n",
    );
    tree.add("core/src/b.rs", "use std::fmt;\n");
    tree.add(
        "docs/a.md",
        "# A heading\n\n[here](#a-heading) and [there](../core/src/a.rs)\n",
    );
    tree.add("CHANGELOG.md", "## [Unreleased]\n");
    for (name, rule) in RULES {
        let faults = rule(&tree);
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
}
