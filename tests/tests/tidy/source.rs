//! Rules about single source files.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Fault, Source, Tree};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 80;
const COLUMNS_MAX: usize = 100;
const FOLDER_ENTRIES_MAX: usize = 16;

pub(crate) fn file_length(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let fix = format!("{lines} lines, over {FILE_LINES_MAX}: this is two nouns, give each a file");
    vec![source.fault(0, fix)]
}

/// Functions, from their `fn` to the brace in the same column.
pub(crate) fn function_length(source: &Source) -> Vec<Fault> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut faults = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !is_function(line.trim_start()) {
            continue;
        }
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == end);
        let length = length.unwrap_or(0) + 1;
        if length > FUNCTION_LINES_MAX {
            let fix = format!("a function of {length} lines, over {FUNCTION_LINES_MAX}: split it");
            faults.push(source.fault(start, fix));
        }
    }
    faults
}

fn is_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| {
        ["fn", "async", "const", "unsafe", "extern"].contains(word) || word.starts_with("pub")
    });
    words.last() == Some("fn")
}

/// Words that a documentation comment must not begin with.
const OPENINGS: [&str; 8] = [
    "What", "Who", "Whose", "Whom", "One", "And", "Those", "Whether",
];

pub(crate) fn doc_opening(source: &Source) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut previous = "";
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        let comment = |line: &str| line.starts_with("///") || line.starts_with("//!");
        if comment(line) && !comment(previous) {
            let first = line[3..].split_whitespace().next().unwrap_or_default();
            if OPENINGS.contains(&first) {
                let fix = format!(
                    "documentation opens with {first:?}: begin with a noun phrase or a verb"
                );
                faults.push(source.fault(number, fix));
            }
        }
        previous = line;
    }
    faults
}

/// Names that a stranger has to guess, and the field's words for them.
const WORDS: [(&str, &str); 17] = [
    ("desk", "namespace context"),
    ("parked", "pending reads"),
    ("pulse", "heartbeat"),
    ("shelf", "histories"),
    ("attendance", "presence notices"),
    ("knock", "upgrade request"),
    ("denial", "rejection or refusal"),
    ("farewell", "rejection or refusal"),
    ("places", "permits"),
    ("ebb", "trim"),
    ("pays", "check_rate"),
    ("turn_away", "refuse_rate"),
    ("give_back", "load_history"),
    ("formerly", "previous_conns"),
    ("abroad", "remote"),
    ("told_of_users", "notify_presence"),
    ("rarities", "durable_command"),
];

/// Names in code and names of files; comments may use any word.
pub(crate) fn words(source: &Source) -> Vec<Fault> {
    if source.path.starts_with("tests/tests/tidy/") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        let names: BTreeSet<String> = names.map(snake_case).collect();
        for (word, field) in WORDS {
            if names.contains(word) {
                let fix = format!("the name {word:?}: the field says {field}");
                faults.push(source.fault(number, fix));
            }
        }
    }
    faults
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

pub(crate) fn comment_width(source: &Source) -> Vec<Fault> {
    let lines = source.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| {
        let is_comment = line.trim_start().starts_with("//");
        is_comment && line.chars().count() > COLUMNS_MAX && !line.contains("://") && !is_row(line)
    });
    wide.map(|(number, _)| source.fault(number, "a comment over 100 columns: wrap it"))
        .collect()
}

/// True for a row of a table, which cannot be wrapped.
fn is_row(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!']);
    text.trim_start().starts_with('|')
}

/// Source folders with more entries than one can take in.
pub(crate) fn folder_size(tree: &Tree) -> Vec<Fault> {
    let mut folders: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in tree.sources.iter().filter(|s| s.path.contains("src/")) {
        let mut path = &*source.path;
        while let Some((folder, name)) = path.rsplit_once('/') {
            // A module's folder and its file are one entry.
            folders
                .entry(folder)
                .or_default()
                .insert(name.trim_end_matches(".rs"));
            path = folder;
        }
    }
    let large = folders
        .into_iter()
        .filter(|(folder, names)| folder.contains("src") && names.len() > FOLDER_ENTRIES_MAX);
    large
        .map(|(folder, names)| Fault {
            file: format!("{folder}/mod.rs"),
            line: 1,
            fix: format!(
                "{} entries in {folder}, over {FOLDER_ENTRIES_MAX}: group them in folders",
                names.len()
            ),
        })
        .collect()
}
