//! The table `[ask]` of a file: the backend that is asked for decisions.

use alloc::{boxed::Box, format, string::String, string::ToString, vec::Vec};
use core::time::Duration;

use roomcast_hooks::{AskEvent, AskSettings, AskSettingsError};
use serde::Deserialize;
use toml::Spanned;

use super::{
    error::PolicyFileError,
    text::{Text, texts},
};

/// The table `[ask]`.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "`ask` to be keys and values, such as `url = \"https://example.com/ask\"`"
)]
pub(super) struct AskTable {
    url: Spanned<Text>,
    on: Vec<AskEvent>,
    #[serde(default)]
    timeout_ms: Option<Spanned<u64>>,
    #[serde(default)]
    headers: Vec<Spanned<Text>>,
    keys: Vec<Spanned<Text>>,
    #[serde(default)]
    with_token: bool,
}

/// Reads the table `[ask]` of a file.
pub(super) fn read(
    text: &str,
    table: Spanned<Box<AskTable>>,
) -> Result<AskSettings, PolicyFileError> {
    let begin = table.span().start;
    let AskTable {
        url,
        on,
        timeout_ms,
        headers,
        keys,
        with_token,
    } = *table.into_inner();
    let at = url.span().start;
    let url = match url.into_inner() {
        Text::Text(url) => url.parse().map_err(|fault| format!("`url`: {fault}")),
        Text::Other(_) => Err(String::from("`url`: it must be a text in quotes")),
    };
    let url = url.map_err(|fault| PolicyFileError::new(text, Some(at), fault))?;
    let names = texts(text, "headers", headers)?;
    let keys = texts(text, "keys", keys)?;
    let fault =
        |at| move |fault: AskSettingsError| PolicyFileError::new(text, Some(at), fault.to_string());
    let settings = AskSettings::new(url, on.into_iter().collect(), keys);
    let settings = settings.and_then(|it| it.with_headers(names));
    let mut settings = settings.map_err(fault(begin))?;
    if let Some(timeout_ms) = timeout_ms {
        let at = timeout_ms.span().start;
        let timeout = Duration::from_millis(timeout_ms.into_inner());
        settings = settings.with_timeout(timeout).map_err(fault(at))?;
    }
    settings.with_token = with_token;
    Ok(settings)
}
