//! The tables `[[hooks]]` of a file: endpoints that are notified of events.

use alloc::{format, string::String, string::ToString, vec::Vec};

use roomcast_core::policy::{EventKind, Pattern};
use roomcast_hooks::{Hook, limits::HOOKS_MAX};
use serde::Deserialize;
use toml::Spanned;

use super::{
    error::PolicyFileError,
    text::{Text, texts},
};

/// A table `[[hooks]]`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "each of `hooks` to be keys and values, such as `tell = \"https://example.com\"`"
)]
pub(super) struct HookTable {
    tell: Spanned<Text>,
    events: Vec<EventKind>,
    #[serde(default)]
    rooms: Option<Pattern>,
    keys: Vec<Spanned<Text>>,
}

/// Reads the tables `[[hooks]]` of a file.
pub(super) fn read(
    text: &str,
    tables: Vec<Spanned<HookTable>>,
) -> Result<Vec<Hook>, PolicyFileError> {
    if let Some(table) = tables.get(HOOKS_MAX) {
        let fault = format!("there are at most {HOOKS_MAX} tables `[[hooks]]`");
        return Err(PolicyFileError::new(text, Some(table.span().start), fault));
    }
    tables.into_iter().map(|table| hook(text, table)).collect()
}

fn hook(text: &str, table: Spanned<HookTable>) -> Result<Hook, PolicyFileError> {
    let begin = table.span().start;
    let HookTable {
        tell,
        events,
        rooms,
        keys,
    } = table.into_inner();
    let at = tell.span().start;
    let url = match tell.into_inner() {
        Text::Text(url) => url.parse().map_err(|fault| format!("`tell`: {fault}")),
        Text::Other(_) => Err(String::from("`tell`: it must be a text in quotes")),
    };
    let url = url.map_err(|fault| PolicyFileError::new(text, Some(at), fault))?;
    let keys = texts(text, "keys", keys)?;
    let any = "*".parse();
    let rooms = rooms.map_or(any, Ok);
    let rooms = rooms.map_err(|fault| PolicyFileError::new(text, Some(begin), fault))?;
    let hook = Hook::new(url, events, rooms, keys);
    hook.map_err(|fault| PolicyFileError::new(text, Some(begin), fault.to_string()))
}
