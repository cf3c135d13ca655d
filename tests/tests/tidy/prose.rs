//! Rules about documents.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Source, Tree, Violation};

const COLUMNS_MAX: usize = 100;

/// Words of all documents together, tables of figures included: some two hours of reading. A
/// tutorial and the pages about many nodes and applications that wait are 4,000 of them: nobody
/// reads all three.
const WORDS_MAX: usize = 31_400;

/// Links to files and headings that are not there.
pub(crate) fn dead_links(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for document in &tree.documents {
        for (number, line) in outside_code(&document.text) {
            for target in targets(line) {
                if let Some(fix) = dead(tree, document, target) {
                    violations.push(document.violation(number, fix));
                }
            }
        }
    }
    violations
}

/// The lines that are not in a block of code.
fn outside_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The targets of links in a line: `[text](target)`, `[text]: target`, and those of HTML.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let ends = [("](", ')'), ("]: ", ' '), ("src=\"", '"'), ("href=\"", '"')];
    ends.into_iter().flat_map(move |(start, end)| {
        // A definition is alone on its line.
        let is_there = start != "]: " || line.starts_with('[');
        let rest = line.split(start).skip(1).filter(move |_| is_there);
        rest.filter_map(move |rest| rest.split(end).next())
    })
}

/// The repository on the web: packages link to it, since they hold no other documents.
const REPOSITORY: &str = "https://github.com/roomcast/roomcast/";

fn dead(tree: &Tree, document: &Source, target: &str) -> Option<String> {
    let of_repository = target
        .strip_prefix(REPOSITORY)
        .and_then(|rest| rest.split_once("/main/"))
        .filter(|(kind, _)| matches!(*kind, "blob" | "tree"));
    let (folder, target) = match of_repository {
        Some((_, path)) => ("", path),
        None => {
            let folder = document.path.rsplit_once('/');
            (folder.map_or("", |(folder, _)| folder), target)
        }
    };
    // Paths of items are for rustdoc, which looks for them by itself.
    if target.contains("::") || target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() {
        document.path.clone()
    } else {
        joined(folder, file)
    };
    if !tree.has(&path) {
        return Some(format!("a link to {path}, which is not there"));
    }
    if heading.is_empty() {
        return None;
    }
    let other = tree.documents.iter().find(|other| other.path == path)?;
    let found = anchors(&other.text).any(|anchor| anchor == heading);
    (!found).then(|| format!("a link to #{heading}, a heading that {path} has not"))
}

/// The anchors of all headings: the second of one text has a number.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = outside_code(text).filter(|(_, line)| line.starts_with('#'));
    headings.map(move |(_, line)| {
        let anchor = anchor(line);
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        match *count {
            1 => anchor,
            count => format!("{anchor}-{}", count - 1),
        }
    })
}

/// The table of contents of the site.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Pages in `docs` that the table of contents has not, or has twice.
pub(crate) fn summary(tree: &Tree) -> Vec<Violation> {
    let find = |path: &str| tree.documents.iter().find(|document| document.path == path);
    let Some(summary) = find(SUMMARY) else {
        return Vec::new();
    };
    let listed: Vec<_> = summary.text.lines().flat_map(targets).collect();
    let pages = tree.documents.iter().filter_map(|document| {
        let page = document.path.strip_prefix("docs/")?;
        (page != "SUMMARY.md").then_some(page)
    });
    let counts = pages.map(|page| {
        let entries = listed.iter().filter(|target| **target == page);
        (page, entries.count())
    });
    let wrong = counts.filter(|(_, count)| *count != 1);
    let fixes = wrong.map(|(page, count)| {
        let fix = format!("{count} entries for {page}: the site shows it once");
        summary.violation(0, fix)
    });
    fixes.collect()
}

fn joined(folder: &str, file: &str) -> String {
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in file.split('/') {
        match name {
            ".." => {
                names.pop();
            }
            "." | "" => {}
            name => names.push(name),
        }
    }
    names.join("/")
}

/// The anchor that a heading has on the web.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Lines of prose that are too wide; tables and links cannot be wrapped.
pub(crate) fn width(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for document in &tree.documents {
        for (number, line) in outside_code(&document.text) {
            let fixed = line.starts_with('|') || line.contains("](") || line.contains("://");
            if !fixed && line.chars().count() > COLUMNS_MAX {
                violations.push(document.violation(number, "a line over 100 columns: wrap it"));
            }
        }
    }
    violations
}

/// More words in all documents than a stranger reads, as `wc -w` counts them: with code, bars of
/// tables and dashes of lists.
pub(crate) fn total_words(tree: &Tree) -> Vec<Violation> {
    let documents = tree.documents.iter();
    let count = |text: &str| text.split_whitespace().count();
    let mut counts: Vec<_> = documents
        .map(|document| (count(&document.text), document))
        .collect();
    counts.sort_by_key(|(words, _)| std::cmp::Reverse(*words));
    let total: usize = counts.iter().map(|(words, _)| words).sum();
    let Some((_, largest)) = counts.first().filter(|_| total > WORDS_MAX) else {
        return Vec::new();
    };
    let names = counts.iter().take(5);
    let names = names.map(|(words, document)| format!("{} ({words})", document.path));
    let fix = format!(
        "{total} words in all documents, and the limit is {WORDS_MAX}: say each fact in one place, \
         link to it from the others, and leave out what a table or an example shows. The largest: {}",
        names.collect::<Vec<_>>().join(", ")
    );
    vec![largest.violation(0, fix)]
}

/// A changelog without the version.
pub(crate) fn changelog(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let find = |path: &str| tree.documents.iter().find(|document| document.path == path);
    if let Some(changelog) = find("CHANGELOG.md")
        && !changelog.text.contains("## [Unreleased]")
        && !changelog
            .text
            .contains(concat!("## [", env!("CARGO_PKG_VERSION"), "]"))
    {
        let fix = "no entry for this version, and none that is unreleased";
        violations.push(changelog.violation(0, fix));
    }
    violations
}

/// The largest number of an invariant.
const INVARIANTS: usize = 47;

/// Invariants without a row in `docs/invariants.md`, and rows whose test is not there: a row has a
/// test, or `none: ` and the reason.
pub(crate) fn invariants(tree: &Tree) -> Vec<Violation> {
    let path = "docs/invariants.md";
    let Some(page) = tree.documents.iter().find(|document| document.path == path) else {
        return Vec::new();
    };
    let mut violations = Vec::new();
    let mut listed = BTreeSet::new();
    for (number, line) in page.text.lines().enumerate() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, ids, _, tests, _] = cells[..] else {
            continue;
        };
        let ids = numbers(ids);
        if !ids.is_empty() && !tests.contains('`') && !tests.starts_with("none: ") {
            let fix = "a row without a test: name it, or write `none: ` and the reason";
            violations.push(page.violation(number, fix));
        }
        listed.extend(ids);
        for name in tests.split('`').skip(1).step_by(2) {
            let Some((file, test)) = name.split_once(": ") else {
                violations.push(page.violation(number, format!("{name}: write `file.rs: test`")));
                continue;
            };
            let is_test = |source: &&Source| {
                let below = format!("tests/tests/{file}");
                (source.path == below || source.path == file)
                    && source.text.contains(&format!("fn {test}("))
            };
            if !tree.sources.iter().any(|source| is_test(&source)) {
                violations.push(page.violation(number, format!("no test {test} in {file}")));
            }
        }
    }
    let missing = (1..=INVARIANTS).filter(|number| !listed.contains(number));
    violations.extend(missing.map(|number| page.violation(0, format!("I{number} has no row"))));
    violations
}

/// The numbers of a cell such as `I10, I11` or `I40 to I42`.
fn numbers(ids: &str) -> Vec<usize> {
    let number = |id: &str| id.trim().strip_prefix('I').and_then(|id| id.parse().ok());
    if let Some((first, last)) = ids.split_once(" to ") {
        let ends = number(first).zip(number(last));
        return ends.map_or_else(Vec::new, |(first, last)| (first..=last).collect());
    }
    ids.split(',').filter_map(number).collect()
}
