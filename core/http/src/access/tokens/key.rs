//! Keys of tokens in settings.

use alloc::{boxed::Box, string::String, string::ToString, vec::Vec};
use core::{fmt, str::FromStr};

use roomcast_token::{Key, KeyError};
use sha2::{Digest, Sha256};

/// The fault of a key whose file was not read.
pub(super) const UNREAD: &str = "names a file, which is not read here: give hs256:SECRET, or the \
                                 text of a PEM or JWK";

/// A key of tokens as a setting gives it: `hs256:SECRET`, the text of a PEM or a JWK, or the name
/// of a file that contains a key. It never appears in logs.
#[derive(Clone)]
pub struct TokenKey {
    /// The digest of the text, by which two keys are compared.
    digest: [u8; 32],
    file: Option<Box<str>>,
    /// The key; `None` when it is in a file that was not read.
    key: Option<Key>,
}

impl TokenKey {
    /// The name of the file that the key is in.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The key, once its file is read.
    pub(super) const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The same key setting with the text of its file.
    ///
    /// # Errors
    ///
    /// When the text is not a key.
    pub(super) fn with_text(&self, text: &str) -> Result<Self, KeyError> {
        Ok(Self {
            digest: digest(text),
            file: self.file.clone(),
            key: Some(Key::parse(text)?),
        })
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

impl FromStr for TokenKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let is_key = text.starts_with("hs256:") || text.starts_with('{') || text.starts_with("---");
        let is_file = !is_key && !text.is_empty() && !text.contains(char::is_control);
        if is_file {
            return Ok(Self {
                digest: digest(text),
                file: Some(text.into()),
                key: None,
            });
        }
        Ok(Self {
            digest: digest(text),
            file: None,
            key: Some(Key::parse(text)?),
        })
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.digest, &self.file) == (&other.digest, &other.file)
    }
}

impl Eq for TokenKey {}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

/// Reads a list of keys, separated by commas outside JSON.
pub(crate) fn keys(text: &str) -> Result<Vec<TokenKey>, String> {
    let entries = entries(text).into_iter().map(str::trim);
    entries
        .map(|entry| entry.parse().map_err(|fault: KeyError| fault.to_string()))
        .collect()
}

fn entries(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut begin) = (0_usize, false, false, 0);
    let mut entries = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' if depth > 0 => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                entries.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    entries.push(&text[begin..]);
    entries
}
