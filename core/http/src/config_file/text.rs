//! Texts in a file that may be secrets.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt::Display, str::FromStr};

use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::error::PolicyFileError;

/// The fault of a value that should be a list of texts.
pub(super) const LIST: &str =
    "it must be a list of texts, in quotes and brackets, separated by commas";

/// A text, or another value, which no error may show: it may be a secret.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Text {
    Text(String),
    Other(IgnoredAny),
}

/// Reads each text of a list.
pub(super) fn texts<T>(
    file: &str,
    key: &str,
    texts: Vec<Spanned<Text>>,
) -> Result<Vec<T>, PolicyFileError>
where
    T: FromStr<Err: Display>,
{
    let read = texts.into_iter().map(|text| {
        let at = text.span().start;
        let read = match text.into_inner() {
            Text::Text(text) => text.parse().map_err(|cause: T::Err| cause.to_string()),
            Text::Other(_) => Err(LIST.to_string()),
        };
        read.map_err(|fault| PolicyFileError::new(file, Some(at), format!("`{key}`: {fault}")))
    });
    read.collect()
}
