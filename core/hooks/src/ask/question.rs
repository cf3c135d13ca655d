//! Questions to a backend.

use alloc::{borrow::Cow, collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A question to a backend. Equal questions have the same answer: they share a request.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Question<'a> {
    /// A client connects: the backend is asked for its identity.
    Connect {
        /// The namespace.
        namespace: Cow<'a, str>,
        /// The user that a token or a trusted proxy names.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Cow<'a, str>>,
        /// The header fields of the request that the settings select, with lower-case names.
        #[serde(serialize_with = "as_map")]
        headers: Vec<(String, String)>,
    },
    /// A connection joins a room: the backend is asked for its rights there.
    Join {
        /// The namespace.
        namespace: Cow<'a, str>,
        /// The user of the connection.
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<Cow<'a, str>>,
        /// The room.
        room: Cow<'a, str>,
    },
}

/// Serializes fields as one object: values of the same name are joined as in HTTP.
fn as_map<S: Serializer>(fields: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = BTreeMap::<&str, String>::new();
    for (name, value) in fields {
        let joined = map.entry(name).or_default();
        if !joined.is_empty() {
            joined.push_str(if name == "cookie" { "; " } else { ", " });
        }
        joined.push_str(value);
    }
    serializer.collect_map(map)
}

impl Question<'_> {
    /// The question in JSON, the body of its request.
    pub fn to_json(&self) -> String {
        // Texts always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The user that the question names.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Connect { user, .. } | Self::Join { user, .. } => user.as_deref(),
        }
    }
}

/// Omits header fields, which may be secrets.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect { .. } => "Connect(..)",
            Self::Join { .. } => "Join(..)",
        })
    }
}

/// The hash of a question, so that the cache has no secrets of clients in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn of(json: &str) -> Self {
        Self(Sha256::digest(json.as_bytes()).into())
    }
}
