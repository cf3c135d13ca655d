//! The rules themselves: each finds what breaks it, and leaves good files alone.

use std::collections::BTreeSet;

use super::{RULES, exceptions, tree::Tree};

/// A rule, and files that break it.
type Planted = (&'static str, Vec<(String, String)>);

fn plant(rule: &'static str, files: &[(&str, &str)]) -> Planted {
    let files = files.iter();
    let files = files.map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    (rule, files.collect())
}

/// A violation for each rule, of each kind that it knows.
fn planted() -> Vec<Planted> {
    let source = |rule, text: &str| plant(rule, &[("core/src/a.rs", text)]);
    let document = |rule, text: &str| plant(rule, &[("docs/a.md", text)]);
    let invariants = |rows: &str| plant("invariants", &[("docs/invariants.md", rows)]);
    let settings = |source: &str, page: &str| {
        let files = [("core/src/a.rs", source), ("docs/settings.md", page)];
        plant("settings", &files)
    };
    let walk = |hop: &str| {
        let page = format!("## The way of one publish, hop by hop\n\n1. {hop}\n");
        let source = "impl Hub {\n    fn publish(&self) {\n        self.pass();\n    }\n\n    \
                      fn pass(&mut self) {\n        let a = 1;\n        x(a);\n    }\n}\n";
        let files = [
            ("ARCHITECTURE.md", &*page),
            ("core/src/hub/send.rs", source),
        ];
        plant("publish_walk", &files)
    };
    let long = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(81));
    let folder = (0..17).map(|number| (format!("core/src/a{number}.rs"), String::new()));
    let upward = [
        ("core/src/wire/mod.rs", "use crate::hub::Hub;\n"),
        ("core/src/hub.rs", "pub struct Hub;\n"),
    ];
    let setting = "const A: Setting<A> = Setting::number(\n    \"a-ms\",";
    vec![
        source("file_length", &"// x\n".repeat(501)),
        source("function_length", &long),
        source("doc_opening", "/// What members are told.\nfn told() {}\n"),
        source("doc_opening", "//! When a room ends.\n"),
        source("doc_opening", "/// Whoever is told.\nfn told() {}\n"),
        source(
            "doc_opening",
            "/** What members are told. */\nfn told() {}\n",
        ),
        source("doc_opening", "x();\n    /// To whom it goes.\n"),
        source("words", "fn knock(shelf: u8) {}\n"),
        source("words", "struct FullShelf;\n"),
        source("words", "fn clear_rare_bits() {}\n"),
        source("words", "enum Fault {}\n"),
        source("words", "enum JsonFault {}\n"),
        source("words", "/// Frames that were noted down.\n"),
        source("words", "/// Frames that were noted\n/// down.\n"),
        source("comment_width", &format!("// {}\n", "word ".repeat(25))),
        ("folder_size", folder.collect()),
        plant("import_layer", &upward),
        settings(setting, "# Settings\n"),
        settings("", "| `--b-ms MS` | 1 |\n"),
        document("prose_width", &"word ".repeat(25)),
        document("document_words", &"word ".repeat(31_401)),
        plant(
            "document_words",
            &[("core/src/a.md", &*"| ".repeat(31_401))],
        ),
        plant("changelog", &[("CHANGELOG.md", "# Changelog\n")]),
        invariants("| I1 to I47 | all | `a.rs: no_such_test` |\n"),
        invariants("| I1 to I46 | all but one | none: no need |\n"),
        invariants("| I1 to I47 | all | none |\n"),
        walk("`Hub::send`: `hub/send.rs`"),
        walk("`Rooms::publish`: `hub/send.rs`"),
        walk("`Hub::publish`: `hub/sends.rs`"),
        walk(&"`publish`: `hub/send.rs`, ".repeat(37)),
        walk("it goes out"),
        walk("`Hub::publish`: `hub/send.rs`"),
    ]
}

/// Links to what is not there, and tables of contents that lack a page or have it twice.
fn planted_links() -> Vec<Planted> {
    let document = |rule, text: &str| plant(rule, &[("docs/a.md", text)]);
    let summary = |entries: &str| {
        let files = [("docs/a.md", "# A\n"), ("docs/SUMMARY.md", entries)];
        plant("summary", &files)
    };
    vec![
        document("dead_link", "[there](nowhere.md)\n"),
        document(
            "dead_link",
            "[there](a.md#no-such-heading)\n\n# A heading\n",
        ),
        document("dead_link", "[there][1]\n\n[1]: nowhere.md\n"),
        document("dead_link", "<img src=\"nowhere.svg\">\n"),
        document(
            "dead_link",
            "[there](https://github.com/roomcast/roomcast/blob/main/docs/b.md)\n",
        ),
        document("dead_link", "[there](#twice-2)\n\n# Twice\n\n# Twice\n"),
        summary("# Summary\n"),
        summary("[A](a.md)\n[A](a.md)\n"),
    ]
}

/// A way of a publish that enters a file twice.
fn planted_walk() -> Planted {
    plant(
        "publish_walk",
        &[
            (
                "ARCHITECTURE.md",
                "## The way of one publish, hop by hop\n\n1. `Hub::a`, `Room::b`, `Hub::c`: \
                 `hub/send.rs`, `room/rooms.rs`\n",
            ),
            (
                "core/src/hub/send.rs",
                "impl Hub {\n    fn a(&self) {\n    }\n\n    fn c(&self) {\n    }\n}\n",
            ),
            (
                "core/src/room/rooms.rs",
                "impl Room {\n    fn b(&self) {\n    }\n}\n",
            ),
        ],
    )
}

/// Violations in comments of each kind that scripts have.
fn planted_scripts() -> Vec<Planted> {
    let opening = |file, text| plant("script_doc_opening", &[(file, text)]);
    let words = |file, text| plant("script_words", &[(file, text)]);
    let length = |file| plant("script_length", &[(file, &*"x\n".repeat(501))]);
    vec![
        opening("client/src/a.ts", "/** What went wrong. */\n"),
        opening(
            "client/src/a.d.ts",
            "  /**\n   * Those who are there.\n   */\n",
        ),
        opening("tests/a.mjs", "// How many are there.\n\nx();\n"),
        opening("tests/a.mjs", "#!/usr/bin/env node\n// One of many.\n"),
        opening("tests/a.py", "def f():\n    \"\"\"Whether it ends.\"\"\"\n"),
        opening("tests/a.py", "\"\"\"\nWhat it is.\n\"\"\"\n"),
        words("client/src/a.tsx", "/** A row of the ledger. */\n"),
        words("client/src/a.ts", "/**\n * Rows.\n * A ledger.\n */\n"),
        words("tests/a.mjs", "x(); // on the shelf\n"),
        words("tests/a.mjs", "// Rows that were noted\n// down.\n"),
        words(
            "tests/a.py",
            "def f():\n    \"\"\"Rows.\n\n    Of a ledger.\n    \"\"\"\n",
        ),
        words("tests/a.py", "# on the shelf\n"),
        length("tests/a.py"),
        length("core/http/page/a.html"),
        length("host-worker/shim/a.js"),
    ]
}

/// Circles of a file and its child, and one through the root.
fn planted_circles() -> Vec<Planted> {
    let of_two = |a: &str, b: &str| {
        let files = [("core/src/a.rs", a), ("core/src/a/b.rs", b)];
        plant("import_circle", &files)
    };
    let root = "pub use self::a::A;\npub use self::b::B;\n";
    let of_three = [
        ("core/src/lib.rs", root),
        ("core/src/a.rs", "use crate::B;\n"),
        ("core/src/b.rs", "use crate::A;\n"),
    ];
    let test = "#[cfg(test)]\nfn f() {\n    x();\n}\n\n";
    vec![
        of_two("use self::b::B;\n", "use super::A;\n"),
        of_two("mod b;\nuse b::B;\n", "use crate::a::{c::{self}, A};\n"),
        of_two("use self::b::B;\n", "fn f(a: &crate::a::A) {}\n"),
        of_two("pub use self::b::B;\nfn f(b: B) {}\n", "use super::A;\n"),
        of_two(
            "#[cfg(test)]\nmod tests;\nuse self::b::B;\n",
            "use super::A;\n",
        ),
        of_two(&format!("{test}use self::b::B;\n"), "use super::A;\n"),
        plant("import_circle", &of_three),
    ]
}

#[test]
fn each_rule_finds_a_planted_violation() {
    let planted = [
        planted(),
        planted_scripts(),
        planted_links(),
        planted_circles(),
        vec![planted_walk()],
    ]
    .concat();
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
        let is_file = |file: &str| tree.has(file) || file.ends_with(".rs") || file.ends_with(".md");
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
        "# A heading\n\n[here](#a-heading) and [there](../core/src/a.rs)\n\n# A heading\n\n\
         [again](https://github.com/roomcast/roomcast/blob/main/docs/a.md#a-heading-1)\n",
    );
    tree.add("docs/SUMMARY.md", "[A](a.md)\n[Settings](settings.md)\n");
    tree.add("CHANGELOG.md", "## [Unreleased]\n");
    tree.add(
        "ARCHITECTURE.md",
        "## The way of one publish, hop by hop\n\n1. `a::f`, `f`: `a.rs`\n",
    );
    tree.add(
        "client/src/a.ts",
        "/** A name. */\nconst shelf = \"http://a.example/shelf\";\n// What follows is plain.\n",
    );
    tree.add(
        "tests/a.py",
        "\"\"\"Rows of a table.\"\"\"\n\nTEXT = \"\"\"\nWhat is on the shelf\n\"\"\"\n# What follows is plain.\nshelf = \"#shelf\"\n",
    );
    for (name, rule) in RULES {
        let violations = rule(&tree);
        assert!(violations.is_empty(), "{name}: {violations:?}");
    }
}

#[test]
#[should_panic(expected = "needs a reason")]
fn an_exception_needs_a_reason() {
    exceptions("file_length a.rs 1 of one table\nwords a.rs 3\n");
}
