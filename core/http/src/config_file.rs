//! A file of settings in TOML: room policies, grants, backends, API keys and allowed origins.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use roomcast_core::{
    Policies, RoomPolicy,
    policy::{StandardGrant, StandardGrants},
};
use roomcast_hooks::{AskSettings, Hook};
use serde::Deserialize;
use toml::Spanned;

use self::text::{LIST, Text, texts};
pub use self::{error::PolicyFileError, settings::FileSetting};
use crate::access::{ApiKey, OriginRule};

mod ask;
mod error;
mod hooks;
mod settings;
mod text;

/// Contents of a file of settings: room policies and grants, keys of the API, origins that may
/// connect, and backends.
///
/// ```
/// use roomcast_http::ConfigFile;
///
/// let file = ConfigFile::from_toml(r#"
/// api_keys = ["a-key", "its-successor"]
/// allow_origins = ["https://*.example.com"]
///
/// [[rooms]]
/// match = "chat:*"
/// "#)?;
/// assert_eq!((file.api_keys.len(), file.allow_origins.len()), (2, 1));
/// assert!(file.policies.of("chat:lobby").is_some());
/// # Ok::<(), roomcast_http::PolicyFileError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFile {
    /// Room policies, and the grants for everybody.
    pub policies: Policies,
    /// Keys of the API, `api_keys`; default none.
    pub api_keys: Vec<ApiKey>,
    /// Browser origins that may connect, `allow_origins`; default none.
    pub allow_origins: Vec<OriginRule>,
    /// Endpoints that are notified of events, a table `[[hooks]]` for each; default none.
    pub hooks: Vec<Hook>,
    /// The backend that is asked who a connection is, and which rooms it may join, the table
    /// `[ask]`; default none.
    pub ask: Option<AskSettings>,
}

/// A file of policies and grants alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // a file is a table: no list can stand for it
struct Rooms {
    #[serde(default)]
    rooms: Vec<Spanned<RoomPolicy>>,
    #[serde(default)]
    grants: Vec<Spanned<StandardGrant>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    api_keys: Vec<Spanned<Text>>,
    allow_origins: Vec<Spanned<Text>>,
    rooms: Vec<Spanned<RoomPolicy>>,
    grants: Vec<Spanned<StandardGrant>>,
    hooks: Vec<Spanned<hooks::HookTable>>,
    ask: Option<Spanned<Box<ask::AskTable>>>,
}

impl ConfigFile {
    /// Reads a file in TOML.
    ///
    /// # Errors
    ///
    /// The first line that must change. It never shows the values in `api_keys` and `keys`.
    pub fn from_toml(text: &str) -> Result<Self, PolicyFileError> {
        let file: File = parse(text)?;
        Ok(Self {
            api_keys: texts(text, "api_keys", file.api_keys)?,
            allow_origins: texts(text, "allow_origins", file.allow_origins)?,
            hooks: hooks::read(text, file.hooks)?,
            ask: file.ask.map(|table| ask::read(text, table)).transpose()?,
            policies: policies(text, file.rooms)?.with_grants(grants(text, file.grants)?),
        })
    }
}

impl ConfigFile {
    /// Reads a file in TOML that may also have settings with these names, as keys above its tables:
    /// `heartbeat_ms = 25000` sets `heartbeat-ms`.
    ///
    /// # Errors
    ///
    /// The first line that must change. It never shows the values in `api_keys` and of settings.
    pub fn with_settings(
        text: &str,
        names: &[&str],
    ) -> Result<(Self, Vec<FileSetting>), PolicyFileError> {
        let (rest, settings) = settings::take(text, names)?;
        let read = Self::from_toml(&rest).map_err(|fault| fault.with_key(text, names))?;
        Ok((read, settings))
    }
}

/// Reads a file in TOML with a table `[[rooms]]` for each policy, and a table `[[grants]]` for each
/// rule that gives rights.
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
///
/// [[grants]]
/// for = "users"               # anyone, users
/// rooms = "chat:*"            # {user} is the name of the user
/// can = ["join", "publish"]   # and presence, history
/// "#)?;
/// assert!(policies.of("chat:lobby").is_some());
/// # Ok::<(), roomcast_http::PolicyFileError>(())
/// ```
///
/// # Errors
///
/// The first line that must change.
pub fn policies_from_toml(text: &str) -> Result<Policies, PolicyFileError> {
    let file: Rooms = parse(text)?;
    Ok(policies(text, file.rooms)?.with_grants(grants(text, file.grants)?))
}

/// Converts the policies of a file.
fn policies(text: &str, rooms: Vec<Spanned<RoomPolicy>>) -> Result<Policies, PolicyFileError> {
    let lines: Vec<_> = rooms.iter().map(|room| room.span().start).collect();
    Policies::new(rooms.into_iter().map(Spanned::into_inner))
        .map_err(|fault| PolicyFileError::new(text, lines.get(fault.index()).copied(), fault))
}

/// Converts the grants of a file.
fn grants(
    text: &str,
    grants: Vec<Spanned<StandardGrant>>,
) -> Result<StandardGrants, PolicyFileError> {
    let too_many = grants.get(StandardGrants::MAX);
    let at = too_many.map(|grant| grant.span().start);
    let grants: Vec<_> = grants.into_iter().map(Spanned::into_inner).collect();
    StandardGrants::try_from(grants).map_err(|fault| PolicyFileError::new(text, at, fault))
}

/// Reads TOML.
fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, PolicyFileError> {
    toml::from_str(text).map_err(|fault| {
        let at = fault.span().map(|span| span.start);
        PolicyFileError::new(text, at, told(text, at, fault.message()))
    })
}

/// The parser's message, completed with the key and the fix if it lacks them.
fn told(text: &str, at: Option<usize>, message: &str) -> String {
    let at = at.filter(|&at| text.is_char_boundary(at));
    let value = at.map_or("", |at| &text[at..]);
    let key = at.and_then(|at| key_of(text, at));
    let list = key.or_else(|| at.map(|at| key_at(text, at)));
    let list = list.and_then(|key| key.split('.').next());
    if let Some(list) = list.filter(|key| LISTS.contains(key) && message.contains("invalid type")) {
        return format!("`{list}`: {LIST}");
    }
    // The parser presents a date as a table with one private key.
    let is_date = value.starts_with(|first: char| first.is_ascii_digit());
    if !is_date && message.ends_with("invalid type: map, expected a sequence") {
        let (table, each) = match list {
            Some("grants") => ("grants", "rule"),
            Some("hooks") => ("hooks", "endpoint"),
            _ => ("rooms", "policy"),
        };
        return format!(
            "write `[[{table}]]` in place of `[{table}]`: there is one such table for each {each}"
        );
    }
    if message.contains("duplicate key") {
        let twice = at.map(|at| key_at(text, at)).filter(|key| is_known(key));
        let key = twice.map_or_else(|| error::A_KEY.to_string(), |key| format!("`{key}`"));
        return format!("{key} is there twice: say it once");
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

/// Keys whose values are lists of texts. Errors never show a wrong value: it may be a secret.
const LISTS: [&str; 6] = [
    "api_keys",
    "allow_origins",
    "keys",
    "events",
    "on",
    "headers",
];

/// Keys that a file may have. Any other word may be a misplaced secret, and errors do not show it.
const KEYS: &str = "api_keys allow_origins rooms match history messages bytes age_s presence \
    presence_grace_s publish echo members overflow grants for can hooks tell events keys ask \
    url on timeout_ms headers with_token";

fn is_known(key: &str) -> bool {
    let is_key = |part| KEYS.split(' ').any(|key| key == part);
    key.split('.').all(is_key)
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The key at a position of the text.
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

/// The key whose value is at a position: the key right before it, or the key of its line.
fn key_of(text: &str, at: usize) -> Option<&str> {
    let before = text[..at].trim_end();
    let right_before = before.strip_suffix('=').map(|before| {
        let before = before.trim_end();
        &before[before.trim_end_matches(is_of_a_key).len()..]
    });
    let line = &text[text[..at].rfind('\n').map_or(0, |end| end + 1)..];
    let line = line.lines().next().unwrap_or_default();
    let of_line = line.split_once('=').map(|(key, _)| key.trim());
    let mut keys = right_before.into_iter().chain(of_line);
    keys.find(|key| is_known(key))
}

#[cfg(test)]
mod tests;
