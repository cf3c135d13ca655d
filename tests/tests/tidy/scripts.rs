//! Rules about comments in TypeScript, JavaScript and Python.

use std::collections::BTreeSet;

use super::{
    source,
    tree::{Source, Violation},
    words,
};

/// A line of a comment.
struct Line<'a> {
    number: usize,
    text: &'a str,
    /// The line begins documentation.
    opens: bool,
}

pub(crate) fn doc_opening(source: &Source) -> Vec<Violation> {
    let lines = comments(source).into_iter().filter(|line| line.opens);
    lines
        .filter_map(|line| source::bad_opening(source, line.number, line.text))
        .collect()
}

/// Odd words in comments. Names are left to their language.
pub(crate) fn words(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut above = (0, "");
    for line in comments(source) {
        let text_above = if above.0 + 1 == line.number {
            above.1
        } else {
            ""
        };
        let found: BTreeSet<_> = words::in_lines(text_above, line.text).into_iter().collect();
        let found = found.into_iter();
        violations.extend(found.map(|word| words::fix(source, line.number, word)));
        above = (line.number, line.text.trim_start_matches(['*', ' ']));
    }
    violations
}

fn comments(source: &Source) -> Vec<Line<'_>> {
    if source.path.ends_with(".html") {
        // Its comments are those of three languages.
        return Vec::new();
    }
    let (mark, starts, end) = if source.path.ends_with(".py") {
        ("#", ["\"\"\"", "\"\"\""], "\"\"\"")
    } else {
        ("//", ["/**", "/*"], "*/")
    };
    let mut lines = Vec::new();
    let mut block = Block::None;
    // The first comment of a file describes it.
    let mut is_head = true;
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#!") {
            continue;
        }
        let start = starts.into_iter().find(|start| line.starts_with(start));
        let is_inside = block != Block::None;
        let (text, opens) = match start.filter(|_| !is_inside) {
            Some(start) => (&line[start.len()..], start != "/*"),
            None if is_inside => (line, block == Block::Opens),
            None => match line.strip_prefix(mark) {
                Some(text) => (text, is_head),
                None => (behind(line, mark), false),
            },
        };
        is_head = is_head && line.is_empty();
        let is_text = block == Block::Text;
        let is_block = is_inside || start.is_some();
        let over = text.split_once(end).filter(|_| is_block);
        let text = over.map_or(text, |(text, _)| text);
        let text = text.trim_start_matches('*').trim();
        // A line without text leaves the opening to the next.
        block = match (is_block && over.is_none(), opens && text.is_empty()) {
            (false, _) if !is_block && mark == "#" && line.matches(end).count() % 2 == 1 => {
                Block::Text
            }
            (false, _) => Block::None,
            (true, _) if is_text => Block::Text,
            (true, true) => Block::Opens,
            (true, false) => Block::Goes,
        };
        if !text.is_empty() && !is_text {
            lines.push(Line {
                number,
                text,
                opens,
            });
        }
    }
    lines
}

/// The comment behind code. Its mark stands between spaces, as it seldom does in a text.
fn behind<'a>(line: &'a str, mark: &str) -> &'a str {
    let comment = line.split_once(&*format!(" {mark} "));
    comment.map_or("", |(_, text)| text)
}

/// The state of a comment or a text of more than one line.
#[derive(PartialEq)]
enum Block {
    None,
    /// A comment whose first text is on the next line.
    Opens,
    Goes,
    /// A text of Python that is no comment.
    Text,
}
