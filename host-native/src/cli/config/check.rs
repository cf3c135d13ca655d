//! A check that finds all errors of a file, not only the first.

use std::{collections::BTreeSet, fmt, ops::Range};

/// The largest number of errors that are reported for one file.
const ERRORS_MAX: usize = 20;

/// An error in a file, and what to change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileError {
    /// The line, from 1; `None` when the error is not in a single line.
    pub(crate) line: Option<usize>,
    pub(crate) text: String,
}

impl FileError {
    /// The error with the name of its file before it.
    pub(crate) fn of<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            f.write_str(file)?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {}", self.text)
        })
    }
}

/// Reads a text. After each error, the faulty statement is left out and the rest is read again.
///
/// Returns the final result, if any, and the errors in the order in which they were found.
pub(super) fn read_all<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, FileError>,
) -> (Option<T>, Vec<FileError>) {
    let mut lines: Vec<&str> = text.lines().collect();
    let (mut errors, mut shortened) = (Vec::new(), BTreeSet::new());
    loop {
        let error = match read(&lines.join("\n")) {
            Ok(read) => return (Some(read), errors),
            Err(error) => error,
        };
        let at = error.line.map_or(usize::MAX, |line| line - 1);
        let is_empty = |lines: &[&str]| lines.iter().all(|line| line.is_empty());
        if errors.len() == ERRORS_MAX || at >= lines.len() {
            errors.push(error);
            return (None, errors);
        }
        let (table, mut out) = (table_of(&lines, at), statement_of(&lines, at));
        // A table may now lack a statement that was left out: that is not an error of the file.
        let is_of_ours = is_header(lines[at]) && shortened.contains(&table.start);
        if is_of_ours || is_header(lines[at]) || is_empty(&lines[out.clone()]) {
            out = table.clone();
        }
        let is_done = is_empty(&lines[out.clone()]);
        shortened.insert(table.start);
        lines[out].fill("");
        if !is_of_ours {
            errors.push(error);
        }
        if is_done {
            return (None, errors);
        }
    }
}

/// True for the header of a table, such as `[[rooms]]`.
fn is_header(line: &str) -> bool {
    line.trim_start().starts_with('[') && line.trim_end().ends_with(']') && !line.contains('"')
}

/// True for the first line of a statement, `key = value`.
fn is_start(line: &str) -> bool {
    let is_of_a_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    let key = line.split_once('=').map(|(key, _)| key.trim());
    key.is_some_and(|key| !key.is_empty() && key.chars().all(is_of_a_key))
}

/// The lines of the table that a line is in, with its header.
fn table_of(lines: &[&str], at: usize) -> Range<usize> {
    let header = lines[..=at].iter().rposition(|line| is_header(line));
    let behind = lines[at + 1..].iter().position(|line| is_header(line));
    header.unwrap_or(0)..behind.map_or(lines.len(), |behind| at + 1 + behind)
}

/// The lines of the statement that a line is in.
fn statement_of(lines: &[&str], at: usize) -> Range<usize> {
    let table = table_of(lines, at);
    let first = lines[table.start..=at]
        .iter()
        .rposition(|line| is_start(line));
    let first = first.map_or(at, |first| table.start + first);
    let behind = lines[at + 1..table.end].iter();
    let behind = behind.take_while(|line| !is_start(line) && !line.is_empty());
    first..at + 1 + behind.count()
}

/// The line of the table with this name and number, both from 1; `None` if the table is written in
/// another form.
pub(super) fn line_of_table(text: &str, name: &str, number: usize) -> Option<usize> {
    let header = format!("[[{name}]]");
    let lines = text.lines().enumerate();
    let mut headers = lines.filter(|(_, line)| line.trim_start().starts_with(&header));
    headers
        .nth(number.checked_sub(1)?)
        .map(|(line, _)| line + 1)
}

#[cfg(test)]
mod tests {
    use roomcast_http::ConfigFile;

    use super::*;

    fn errors(text: &str) -> Vec<(usize, String)> {
        let read = |text: &str| {
            let read = ConfigFile::with_settings(text, &["threads"]);
            read.map_err(|error| FileError {
                line: error.line(),
                text: error.fault().to_owned(),
            })
        };
        let errors = read_all(text, read).1.into_iter();
        errors
            .map(|error| (error.line.unwrap_or(0), error.text))
            .collect()
    }

    #[test]
    fn each_error_is_told_once_with_its_line() {
        let text = "threds = 2\n\
            zebra = 1\n\
            api_keys = [\n  \"a,b\",\n]\n\
            [[rooms]]\n\
            match = \"a\"\n\
            mtach = 1\n\
            presence = \"some\"\n\
            [[rooms]]\n\
            history.messages = 5\n\
            [[grants]]\n\
            for = \"users\"\n\
            rooms = \"x\"\n\
            can = [\n  \"join\",\n  \"publsh\",\n]\n\
            [[rooms]]\n\
            match = \"b\"\n";
        let found = errors(text);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 4, 8, 9, 10, 17], "{found:#?}");
    }

    #[test]
    fn a_table_that_lacks_what_was_left_out_is_no_error() {
        let found = errors("[[rooms]]\nmatch = 5\n");
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].0, 2);
    }

    #[test]
    fn errors_end() {
        let text = "nonsense\n".repeat(50);
        assert!(errors(&text).len() <= ERRORS_MAX + 1);
        let text: String = (0..50).map(|number| format!("k{number} = 1\n")).collect();
        assert_eq!(errors(&text).len(), ERRORS_MAX + 1);
        assert!(errors("").is_empty());
    }

    #[test]
    fn tables_are_found_by_their_number() {
        let text = "[[rooms]]\n[[grants]]\n\n[[rooms]]\n";
        assert_eq!(line_of_table(text, "rooms", 2), Some(4));
        assert_eq!(line_of_table(text, "grants", 2), None);
    }
}
