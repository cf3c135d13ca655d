//! Rules about single source files.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Source, Tree, Violation};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 80;
const COLUMNS_MAX: usize = 100;
const FOLDER_ENTRIES_MAX: usize = 16;

pub(crate) fn file_length(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let fix = format!("{lines} lines, over {FILE_LINES_MAX}: this is two nouns, give each a file");
    vec![source.violation(0, fix)]
}

/// Functions, from their `fn` to the brace in the same column.
pub(crate) fn function_length(source: &Source) -> Vec<Violation> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut violations = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !is_function(line.trim_start()) {
            continue;
        }
        let mut ends = lines[start..].iter().filter_map(|line| line.chars().last());
        // A declaration has no body.
        if ends.find(|end| ['{', '}', ';'].contains(end)) == Some(';') {
            continue;
        }
        let end = format!("{}}}", " ".repeat(indent));
        let length = lines[start..].iter().position(|line| *line == end);
        let length = length.unwrap_or(0) + 1;
        if length > FUNCTION_LINES_MAX {
            let fix = format!("a function of {length} lines, over {FUNCTION_LINES_MAX}: split it");
            violations.push(source.violation(start, fix));
        }
    }
    violations
}

fn is_function(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| {
        ["fn", "async", "const", "unsafe", "extern"].contains(word) || word.starts_with("pub")
    });
    words.last() == Some("fn")
}

/// Words that a documentation comment must not begin with.
const OPENINGS: [&str; 22] = [
    "What",
    "Who",
    "Whose",
    "Whom",
    "Which",
    "How",
    "When",
    "Where",
    "Whether",
    "One",
    "It",
    "They",
    "Those",
    "And",
    "Of",
    "As",
    "To",
    "Whoever",
    "Whatever",
    "Whichever",
    "Whenever",
    "Wherever",
];

pub(crate) fn doc_opening(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut previous = "";
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim_start();
        let starts = ["///", "//!", "/**", "/*!"];
        let comment = |line: &str| starts.iter().any(|start| line.starts_with(start));
        if comment(line) && !comment(previous) {
            violations.extend(bad_opening(source, number, &line[3..]));
        }
        previous = line;
    }
    violations
}

/// A violation when documentation with this first line opens badly.
pub(super) fn bad_opening(source: &Source, number: usize, text: &str) -> Option<Violation> {
    let first = text.split_whitespace().next()?;
    OPENINGS.contains(&first).then(|| {
        let fix = format!("documentation opens with {first:?}: begin with a noun phrase or a verb");
        source.violation(number, fix)
    })
}

pub(crate) fn comment_width(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().enumerate();
    let wide = lines.filter(|(_, line)| {
        let is_comment = line.trim_start().starts_with("//");
        is_comment && line.chars().count() > COLUMNS_MAX && !line.contains("://") && !is_row(line)
    });
    wide.map(|(number, _)| source.violation(number, "a comment over 100 columns: wrap it"))
        .collect()
}

/// True for a row of a table, which cannot be wrapped.
fn is_row(line: &str) -> bool {
    let text = line.trim_start().trim_start_matches(['/', '!']);
    text.trim_start().starts_with('|')
}

/// Source folders with more entries than one can take in.
pub(crate) fn folder_size(tree: &Tree) -> Vec<Violation> {
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
        .map(|(folder, names)| Violation {
            file: format!("{folder}/mod.rs"),
            line: 1,
            fix: format!(
                "{} entries in {folder}, over {FOLDER_ENTRIES_MAX}: group them in folders",
                names.len()
            ),
        })
        .collect()
}
