//! The rules themselves: each finds what breaks it, and leaves good files alone.

use std::collections::BTreeSet;

use super::{RULES, exceptions, tree::Tree};

/// Files with one violation each, and the rule that finds it.
fn planted() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let one = |rule, file, text: &str| (rule, vec![(file, text.to_owned())]);
    let source = |rule, text: &str| one(rule, "core/src/a.rs", text);
    let pair = |a: &str, b: &str| {
        let files = [("core/src/a.rs", a), ("core/src/a/b.rs", b)];
        (
            "import_circle",
            files.map(|(file, text)| (file, text.to_owned())).into(),
        )
    };
    let numbers = 0..17;
    let folder = numbers.map(|number| {
        let file: &str = format!("core/src/file_{number}.rs").leak();
        (file, String::new())
    });
    vec![
        source("file_length", &"// x\n".repeat(501)),
        source(
            "function_length",
            &format!("fn long() {{\n{}}}\n", "    x();\n".repeat(81)),
        ),
        source("doc_opening", "/// What members are told.\nfn told() {}\n"),
        source("doc_opening", "//! When a room ends.\n"),
        source("doc_opening", "x();\n    /// To whom it goes.\n"),
        source("words", "fn knock(shelf: u8) {}\n"),
        source("words", "struct FullShelf;\n"),
        source("words", "fn clear_rare_bits() {}\n"),
        source("words", "enum Fault {}\n"),
        source("words", "/// Frames that were noted down.\n"),
        source("comment_width", &format!("// {}\n", "word ".repeat(25))),
        ("folder_size", folder.collect()),
        // A sibling and a parent, a name through a re-export, a path in code, and a parent that uses
        // what it re-exports.
        pair("use self::b::B;\n", "use super::A;\n"),
        pair("mod b;\nuse b::B;\n", "use crate::a::{c::{self}, A};\n"),
        pair("use self::b::B;\n", "fn f(a: &crate::a::A) {}\n"),
        pair("pub use self::b::B;\nfn f(b: B) {}\n", "use super::A;\n"),
        pair(
            "#[cfg(test)]\nmod tests;\nuse self::b::B;\n",
            "use super::A;\n",
        ),
        pair(
            "#[cfg(test)]\nfn f() {\n    x();\n}\n\nuse self::b::B;\n",
            "use super::A;\n",
        ),
        (
            "import_circle",
            vec![
                (
                    "core/src/lib.rs",
                    "pub use self::a::A;\npub use self::b::B;\n".into(),
                ),
                ("core/src/a.rs", "use crate::B;\n".into()),
                ("core/src/b.rs", "use crate::A;\n".into()),
            ],
        ),
        (
            "settings",
            vec![
                (
                    "core/src/a.rs",
                    "const A: Setting<A> = Setting::number(\n    \"a-ms\",".into(),
                ),
                ("docs/settings.md", "| `--b-ms MS` | 1 |\n".into()),
            ],
        ),
        (
            "settings",
            vec![("docs/settings.md", "| `--b-ms MS` | 1 |\n".into())],
        ),
        one("dead_link", "docs/a.md", "[there](nowhere.md)\n"),
        one(
            "dead_link",
            "docs/a.md",
            "[there](a.md#no-such-heading)\n\n# A heading\n",
        ),
        one("prose_width", "docs/a.md", &"word ".repeat(25)),
        one("changelog", "CHANGELOG.md", "# Changelog\n"),
        one(
            "invariants",
            "docs/invariants.md",
            "| I1 to I47 | all | `a.rs: no_such_test` |\n",
        ),
        one(
            "invariants",
            "docs/invariants.md",
            "| I1 to I46 | all but one | none |\n",
        ),
    ]
}

#[test]
fn each_rule_finds_a_planted_violation() {
    let planted = planted();
    let names: BTreeSet<_> = planted.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(names, RULES.iter().map(|(rule, _)| *rule).collect());
    for (name, files) in planted {
        let mut tree = Tree::default();
        for (file, text) in &files {
            tree.add(file, text);
        }
        let (_, rule) = RULES
            .into_iter()
            .find(|(rule, _)| *rule == name)
            .expect("a rule of that name");
        let violations = rule(&tree);
        assert!(!violations.is_empty(), "{name} does not see {files:?}");
        let is_file = |file: &str| file.ends_with(".rs") || file.ends_with(".md");
        assert!(
            violations.iter().all(|violation| is_file(&violation.file)),
            "{violations:?}"
        );
    }
}

#[test]
fn no_rule_finds_a_violation_in_good_files() {
    let mut tree = Tree::default();
    tree.add(
        "core/src/a.rs",
        "//! Rooms.\n\nmod b;\npub use self::b::B;\n\n/// Histories of all rooms.\n/// Who is there.\nfn f() {\n    x(\"a shelf\"); // of odd things\n}\n\n#[cfg(test)]\nmod tests {\n    use super::b::C;\n\n    fn a_pulse_is_heard_after_a_while() {}\n}\n",
    );
    tree.add("core/src/a/b.rs", "use std::fmt;\n\nuse super::A;\n");
    tree.add(
        "core/src/c.rs",
        "const C: &[Setting<C>] = &[Setting::switch(\"page\", f)];\n",
    );
    tree.add("docs/settings.md", "| `--page on\\|off` | on |\n");
    tree.add(
        "docs/a.md",
        "# A heading\n\n[here](#a-heading) and [there](../core/src/a.rs)\n",
    );
    tree.add("CHANGELOG.md", "## [Unreleased]\n");
    for (name, rule) in RULES {
        let violations = rule(&tree);
        assert!(violations.is_empty(), "{name}: {violations:?}");
    }
}

#[test]
#[should_panic(expected = "needs a reason")]
fn an_exception_for_a_long_file_needs_a_reason() {
    exceptions("words a.rs 3\nfile_length a.rs 1\n");
}
