//! Actors: the clients of a story.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The name of a connection in a story: `alice`.
///
/// An actor may connect again after it left; the name then means the new connection. In JSON an
/// actor stands for its connection id and is written `"<alice>"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(Box<str>);

impl Actor {
    /// An actor with this name: lower-case letters, digits and `_`, beginning with a letter, and
    /// none of `server`, `time`, `limits` and `rooms`, which begin other lines of a trace.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when a trace can have an actor of this name.
    pub fn is_name(name: &str) -> bool {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && !["server", "time", "limits", "rooms"].contains(&name)
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    }
}

impl From<&str> for Actor {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("<{self}>"))
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.strip_prefix('<')
            .and_then(|rest| rest.strip_suffix('>'))
            .filter(|name| Self::is_name(name))
            .map(Self::new)
            .ok_or_else(|| D::Error::custom("a connection is written as \"<alice>\""))
    }
}
