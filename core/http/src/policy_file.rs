//! Policies as a TOML file, with the lines of what is wrong.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use roomcast_core::{Policies, RoomPolicy};
use serde::Deserialize;
use toml::Spanned;

/// A file of policies that cannot be used. Prints the line, the key and what to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFileError {
    line: Option<usize>,
    fault: String,
}

impl PolicyFileError {
    pub(crate) fn new(text: &str, at: Option<usize>, fault: impl ToString) -> Self {
        let before = at.and_then(|at| text.get(..at));
        Self {
            line: before.map(|before| before.matches('\n').count() + 1),
            fault: fault.to_string(),
        }
    }

    /// The line, from 1; `None` when the fault is in no single one.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The fault, and what to change.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}

impl fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.fault),
            None => f.write_str(&self.fault),
        }
    }
}

impl core::error::Error for PolicyFileError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // a file is a table: no list can stand for it
struct File {
    #[serde(default)]
    rooms: Vec<Spanned<RoomPolicy>>,
}

/// Reads a file in TOML: one table `[[rooms]]` for each policy.
///
/// ```
/// use roomcast_http::policies_from_toml;
///
/// let policies = policies_from_toml(r#"
/// [[rooms]]
/// match = "chat:*"            # first match wins; "*" is any run of characters
/// history.messages = 300
/// history.bytes = 1048576
/// history.age_s = 300
/// presence = "members"        # off, counts, members
/// presence_grace_s = 5
/// publish = true
/// echo = false
/// members = 10000
/// overflow = "close"          # close, drop-oldest, latest
/// "#)?;
/// assert!(policies.of("chat:lobby").is_some());
/// # Ok::<(), roomcast_http::PolicyFileError>(())
/// ```
///
/// # Errors
///
/// The first line that must change.
pub fn policies_from_toml(text: &str) -> Result<Policies, PolicyFileError> {
    let file: File = parse(text)?;
    from_spanned(text, file.rooms)
}

/// Policies that stand in this text.
pub(crate) fn from_spanned(
    text: &str,
    rooms: Vec<Spanned<RoomPolicy>>,
) -> Result<Policies, PolicyFileError> {
    let lines: Vec<_> = rooms.iter().map(|room| room.span().start).collect();
    Policies::new(rooms.into_iter().map(Spanned::into_inner))
        .map_err(|fault| PolicyFileError::new(text, lines.get(fault.index()).copied(), fault))
}

/// Reads TOML.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, PolicyFileError> {
    toml::from_str(text).map_err(|fault| {
        let at = fault.span().map(|span| span.start);
        PolicyFileError::new(text, at, told(text, at, fault.message()))
    })
}

/// The parser's message, with the key and the fix where it has none.
fn told(text: &str, at: Option<usize>, message: &str) -> String {
    let at = at.filter(|&at| text.is_char_boundary(at));
    let value = at.map_or("", |at| &text[at..]);
    let key = at.and_then(|at| key_of(text, at));
    let list = key.or_else(|| at.map(|at| key_at(text, at)));
    let list = list.and_then(|key| key.split('.').next());
    let list = list.filter(|key| LISTS.contains(key) && message.contains("invalid type"));
    if let Some(list) = list {
        return format!("`{list}`: {LIST}");
    }
    // A date is a table to the parser, of one key with a name of its own.
    let is_date = value.starts_with(|first: char| first.is_ascii_digit());
    if !is_date && message.ends_with("invalid type: map, expected a sequence") {
        return "write `[[rooms]]` in place of `[rooms]`: there is one such table for each policy"
            .to_string();
    }
    if message.contains("duplicate key") {
        let twice = at.map(|at| key_at(text, at)).filter(|key| is_known(key));
        return match twice {
            Some(key) => format!("`{key}` is there twice: say it once"),
            None => "a key is there twice: say it once".to_string(),
        };
    }
    if message.starts_with("string values must be quoted") {
        let key = key.map_or_else(String::new, |key| format!("`{key}`: "));
        return format!("{key}a text stands in quotes, a number, true and false without");
    }
    let kind = if is_date { "date or time" } else { "table" };
    let message = message.replace("invalid type: map", &format!("invalid type: {kind}"));
    let within_history = message.contains("expected one of `messages`");
    if message.contains("`$__toml_private_datetime`") {
        let expected = if within_history {
            "`history` to be keys of it, such as `history.messages = 300`"
        } else {
            "each of `rooms` to be keys and values, such as `match = \"chat:*\"`"
        };
        return format!("invalid type: {kind}, expected {expected}");
    }
    if within_history {
        return message.replace(" `", " `history.");
    }
    match key {
        // All but `rooms` itself name their key.
        Some(key) if !message.contains('`') || message.ends_with("expected a sequence") => {
            format!("`{key}`: {message}")
        }
        _ => message,
    }
}

/// Keys of lists of texts. Of another value of theirs no error says what it is: it may be a secret.
const LISTS: [&str; 2] = ["api_keys", "allow_origins"];
/// The fault of such a value.
pub(crate) const LIST: &str =
    "it must be a list of texts, in quotes and brackets, separated by commas";

/// Keys that a file may have. Any other word in it may be a secret in the wrong place, and is not
/// told.
const KEYS: [&str; 14] = [
    "api_keys",
    "allow_origins",
    "rooms",
    "match",
    "history",
    "messages",
    "bytes",
    "age_s",
    "presence",
    "presence_grace_s",
    "publish",
    "echo",
    "members",
    "overflow",
];

fn is_known(key: &str) -> bool {
    key.split('.').all(|part| KEYS.contains(&part))
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The key that stands at a place.
fn key_at(text: &str, at: usize) -> &str {
    let (before, behind) = text.split_at(at);
    let begin = before.trim_end_matches(is_of_a_key).len();
    // A header of a table has its key in brackets.
    let brackets = behind.len() - behind.trim_start_matches('[').len();
    let begin = if brackets > 0 { at + brackets } else { begin };
    let key = &text[begin..];
    let end = key.find(|c| !is_of_a_key(c)).unwrap_or(key.len());
    &key[..end]
}

/// The key whose value a place is in: the one right before it, or that of its line.
fn key_of(text: &str, at: usize) -> Option<&str> {
    let before = text[..at].trim_end();
    let right_before = before.strip_suffix('=').map(|before| {
        let before = before.trim_end();
        &before[before.trim_end_matches(is_of_a_key).len()..]
    });
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let of_line = line.split_once('=').map(|(key, _)| key.trim());
    let mut keys = right_before.into_iter().chain(of_line);
    keys.find(|key| is_known(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_with_its_line_and_its_fix() {
        for (text, line, fault) in [
            ("[[rooms]]\nmatch = \"a\"\nmtach = 1\n", 3, "`mtach`"),
            ("[[room]]\nmatch = \"a\"\n", 1, "expected `rooms`"),
            (
                "[[rooms]]\nhistory.messages = 1\n",
                1,
                "missing field `match`",
            ),
            ("\n[[rooms]]\nmatch = \"\"\n", 3, "1 to 256 bytes"),
            (
                "[[rooms]]\nmatch = \"a\"\n\nhistory.messages = 0\n",
                4,
                "`history.messages` must be 1 to 100000",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory.age = 5\n",
                3,
                "unknown field `history.age`, expected one of `history.messages`, `history.bytes`, \
                 `history.age_s`",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory.Messages = 5\n",
                3,
                "unknown field `history.Messages`, expected one of `history.messages`",
            ),
            (
                "rooms = [{ match = \"a\", history = { a = 1 } }]\n",
                1,
                "unknown field `history.a`",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = 1979-05-27\n",
                3,
                "invalid type: date or time, expected `history` to be keys of it",
            ),
            (
                "rooms = [{ match = \"a\", history = 07:32:00 }]\n",
                1,
                "invalid type: date or time, expected `history` to be keys of it",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\npresence = 1979-05-27\n",
                3,
                "invalid type: date or time, expected `presence` to be \"off\"",
            ),
            (
                "[[rooms]]\nmatch = 1979-05-27T07:32:00Z\n",
                2,
                "invalid type: date or time, expected `match` to be a text",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nmembers = {}\n",
                3,
                "invalid type: table, expected `members` to be a whole number",
            ),
            (
                "rooms = 1979-05-27\n",
                1,
                "`rooms`: invalid type: date or time, expected a sequence",
            ),
            (
                "rooms = [1979-05-27]\n",
                1,
                "invalid type: date or time, expected each of `rooms` to be keys and values",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\npresence = members\n",
                3,
                "`presence`: a text stands in quotes",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory.messages =\n",
                3,
                "`history.messages`: a text stands in quotes, a number",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = { messages = 1, messages = 2 }\n",
                3,
                "`messages` is there twice",
            ),
            (
                "rooms = [{ match = \"a\", match = \"b\" }]\n",
                1,
                "`match` is there twice",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\n[rooms.history]\nmessages = 1\nmessages = 2\n",
                5,
                "`messages` is there twice",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory.messages = 1\n[rooms.history]\nbytes = 1\n",
                4,
                "is there twice",
            ),
            (
                "rooms = 1\n[[rooms]]\nmatch = \"a\"\n",
                2,
                "`rooms` is there twice",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = 1\nhistory.messages = 2\n",
                4,
                "`history.messages`: cannot extend",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\npresence = \"all\"\n",
                3,
                "`presence` must be \"off\", \"counts\" or \"members\"",
            ),
            (
                "rooms = [{ match = \"a\", overflow = \"drop\" }]\n",
                1,
                "`overflow` must be \"close\", \"drop-oldest\" or \"latest\"",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\npresence = [\"members\"]\n",
                3,
                "invalid type: sequence, expected `presence` to be \"off\"",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = []\n",
                3,
                "invalid type: sequence, expected `history` to be keys of it",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = [5, 1000, 60, 1]\n",
                3,
                "invalid type: sequence, expected `history` to be keys of it",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = {}\n",
                3,
                "`history` is empty: give it `history.messages`",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\n[rooms.history]\n",
                3,
                "`history` is empty: give it `history.messages`",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\n\n[rooms.history]\n# messages = 9\n",
                4,
                "`history` is empty: give it `history.messages`",
            ),
            (
                "rooms = [{ match = \"a\", history = {} }]\n",
                1,
                "`history` is empty: give it `history.messages`",
            ),
            (
                "rooms = [[\"a*\"]]\n",
                1,
                "expected each of `rooms` to be keys and values, such as `match = \"chat:*\"`",
            ),
            ("rooms = 5\n", 1, "`rooms`: invalid type: integer `5`"),
            (
                "[[rooms]]\nmatch = [\"a\"]\n",
                2,
                "invalid type: sequence, expected `match` to be a text",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\npublish = \"yes\"\n",
                3,
                "invalid type: string \"yes\", expected `publish` to be true or false, without quotes",
            ),
            (
                "[[rooms]]\nmatch = \"*\"\n[[rooms]]\nmatch = \"a\"\n",
                3,
                "never reached",
            ),
            ("[[rooms]]\nmatch = \"a\n", 2, ""),
            ("\n[rooms]\nmatch = \"a\"\n", 2, "write `[[rooms]]`"),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory = true\n",
                3,
                "invalid type: boolean `true`, expected `history` to be keys of it",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nhistory.messages = 300.0\n",
                3,
                "invalid type: floating point `300.0`, expected `history.messages` to be a whole \
                 number from 1 to 100000",
            ),
            (
                "[[rooms]]\nmatch = \"a\"\nmembers = 1\nmembers = 2\n",
                4,
                "`members` is there twice",
            ),
        ] {
            let said = policies_from_toml(text).expect_err(text);
            assert_eq!(said.line(), Some(line), "{text}: {said}");
            assert!(said.fault().contains(fault), "{text}: {said}");
        }
    }

    #[test]
    fn an_empty_file_has_no_policies() {
        assert_eq!(policies_from_toml("# none\n"), Ok(Policies::default()));
    }
}
