//! Settings in a file, besides its policies and grants.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use toml::de::{DeTable, DeValue};

use super::error::PolicyFileError;

/// A setting in a file: a key above its tables, such as `heartbeat_ms = 25000`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileSetting {
    /// The name, as of the flag: `heartbeat-ms`.
    pub name: String,
    /// The value, as it would be written for the flag.
    pub text: String,
    /// The line, from 1.
    pub line: usize,
}

impl FileSetting {
    /// The key in the file: `heartbeat_ms`.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// Removes the settings with these names from a file. Blanks take their place in the remaining
/// text, so that its lines keep their numbers. A file that is not TOML is left as it is.
pub(super) fn take(
    text: &str,
    names: &[&str],
) -> Result<(String, Vec<FileSetting>), PolicyFileError> {
    let (mut left, mut settings) = (text.to_owned(), Vec::new());
    let Ok(table) = DeTable::parse(text) else {
        return Ok((left, settings));
    };
    for (key, value) in table.get_ref() {
        // Only this spelling counts: with another one a setting could be given twice.
        let mut names = names.iter();
        let Some(name) = names.find(|name| name.replace('-', "_") == **key.get_ref()) else {
            continue;
        };
        let (begin, end) = (key.span().start, value.span().end);
        let value = text_of(value.get_ref());
        let value = value.ok_or_else(|| {
            let fault = format!(
                "`{}`: it must be a text in quotes, a whole number, true, false, or a list of texts",
                key.get_ref()
            );
            PolicyFileError::new(text, Some(begin), fault)
        })?;
        let blank = |c: char| {
            if c == '\n' {
                "\n".into()
            } else {
                " ".repeat(c.len_utf8())
            }
        };
        let blanks: String = text[begin..end].chars().map(blank).collect();
        left.replace_range(begin..end, &blanks);
        let line = text[..begin].matches('\n').count() + 1;
        settings.push(FileSetting {
            name: (*name).to_owned(),
            text: value,
            line,
        });
    }
    settings.sort_by_key(|setting| setting.line);
    Ok((left, settings))
}

/// A value as it would be written for a flag; `None` for a value that no flag can have.
#[allow(clippy::wildcard_enum_match_arm)] // no other kind of value is one of a flag
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => {
            let digits = number.as_str().replace('_', "");
            Some(digits)
        }
        DeValue::Boolean(is_on) => Some(if *is_on { "on" } else { "off" }.to_owned()),
        DeValue::Array(list) => {
            let texts = list.iter().map(|entry| match entry.get_ref() {
                DeValue::String(text) => Some(text.clone().into_owned()),
                _ => None,
            });
            let texts: Option<Vec<String>> = texts.collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}
