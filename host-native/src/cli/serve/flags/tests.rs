//! Checks that `docs/settings.md` agrees with the tables of settings.

use std::collections::BTreeMap;

use roomcast::Settings;
use roomcast_http::settings::{ACCESS, LIMITS, Setting};

use super::PROGRAM;

const DOCUMENT: &str = include_str!("../../../../../docs/settings.md");

/// Heading and line of each setting, by its name.
fn document() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let mut heading = "";
    let mut lines = BTreeMap::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        }
        if let Some((name, _)) = line
            .strip_prefix("| `--")
            .and_then(|rest| rest.split_once(['`', ' ']))
        {
            let twice = lines.insert(name, (heading, line));
            assert_eq!(twice, None, "--{name} has two lines in docs/settings.md");
        }
    }
    lines
}

/// Removes the lines of a table's settings from `document`, and collects the right line for each
/// wrong one.
fn compare<T: Default>(
    table: &[Setting<T>],
    document: &mut BTreeMap<&str, (&str, &str)>,
    wrong: &mut Vec<String>,
) {
    for setting in table {
        assert!(!setting.help.is_empty(), "--{}", setting.name);
        let form = setting.form().map(|form| format!(" {form}"));
        let form = form.unwrap_or_default().replace('|', "\\|");
        let range = setting.range();
        let shown = setting.show(&mut T::default());
        let defaults = match &*shown {
            "" => vec!["none".to_owned(), "any".to_owned(), "no".to_owned()],
            word if range.is_some() || word == "on" => vec![shown],
            _ => vec![format!("`{shown}`")],
        };
        let range = range.map(|range| format!(", {}–{}", range.start(), range.end()));
        let range = range.unwrap_or_default();
        let title = setting.group.title();
        let begins =
            |default: &String| format!("| `--{}{form}` | {default}{range} | ", setting.name);
        let found = document.remove(setting.name);
        let is_right = found.is_some_and(|(heading, line)| {
            heading == title
                && defaults
                    .iter()
                    .any(|default| line.starts_with(&begins(default)))
        });
        if !is_right {
            let line = begins(&defaults[0]);
            wrong.push(format!("under `## {title}`: {line}{} |", setting.help));
        }
    }
}

#[test]
fn each_setting_has_its_line() {
    let (mut document, mut wrong) = (document(), Vec::new());
    compare(Settings::TABLE, &mut document, &mut wrong);
    compare(ACCESS, &mut document, &mut wrong);
    compare(LIMITS, &mut document, &mut wrong);
    compare(PROGRAM, &mut document, &mut wrong);
    assert!(
        wrong.is_empty(),
        "docs/settings.md must have:\n{}",
        wrong.join("\n")
    );
    assert!(
        document.is_empty(),
        "docs/settings.md has settings that do not exist: {document:?}"
    );
}
