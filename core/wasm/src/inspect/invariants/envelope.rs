//! Messages of clients and of the server, with the members that the invariants need.

use std::borrow::Cow;

use roomcast_core::ConnId;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

/// A message of a client.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) room: Option<Cow<'a, str>>,
    pub(super) echo: Option<bool>,
    #[serde(borrow)]
    pub(super) key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

/// A message of the server.
#[derive(Debug, Deserialize)]
pub(super) struct Reply<'a> {
    #[serde(borrow)]
    pub(super) event: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) room: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) offset: Option<u64>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) error: Option<IgnoredAny>,
}

impl Reply<'_> {
    /// True for a message that a client or a backend published.
    pub(super) fn is_push(&self) -> bool {
        self.id.is_none() && self.error.is_none() && !self.event.starts_with('$')
    }

    /// The payload as `T`; `None` when it has another form.
    pub(super) fn payload<'b, T: Deserialize<'b>>(&'b self) -> Option<T> {
        serde_json::from_str(self.data?.get()).ok()
    }
}

/// A payload as it is sent: an absent one is `null`.
pub(super) fn text_of(data: Option<&RawValue>) -> &str {
    data.map_or("null", RawValue::get)
}

/// The payload of an answered `$join`.
#[derive(Debug, Deserialize)]
pub(super) struct Joined {
    pub(super) epoch: String,
    pub(super) offset: u64,
    pub(super) already: bool,
    #[serde(default)]
    pub(super) recovered: bool,
    #[serde(default)]
    pub(super) missed: usize,
}

/// The payload of an answered publish.
#[derive(Debug, Deserialize)]
pub(super) struct Reached {
    pub(super) reached: usize,
}

/// The payload of `$joined` and `$left`.
#[derive(Debug, Deserialize)]
pub(super) struct Who {
    user: String,
    #[serde(default)]
    conn: String,
}

impl Who {
    /// A name that distinguishes users, and connections without a user.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.user, self.conn)
    }
}

/// The position that a `$join` recovers from.
#[derive(Debug, Default)]
pub(super) struct Since {
    pub(super) offset: u64,
    /// Earlier connections of the client.
    pub(super) conns: Vec<ConnId>,
}

impl Since {
    /// The position in the payload of a `$join`, if it has one.
    pub(super) fn of(data: &RawValue) -> Option<Self> {
        #[derive(Deserialize)]
        struct Data {
            since: Position,
        }
        #[derive(Deserialize)]
        struct Position {
            offset: u64,
            #[serde(default)]
            conn: Conns,
        }
        #[derive(Deserialize, Default)]
        #[serde(untagged)]
        enum Conns {
            One(String),
            Many(Vec<String>),
            #[default]
            None,
        }
        let Data { since } = serde_json::from_str(data.get()).ok()?;
        let conns = match since.conn {
            Conns::One(conn) => vec![conn],
            Conns::Many(conns) => conns,
            Conns::None => Vec::new(),
        };
        Some(Self {
            offset: since.offset,
            conns: conns.iter().filter_map(|conn| conn.parse().ok()).collect(),
        })
    }
}

/// The id of a request, normalized: the same however its characters are escaped.
pub(super) fn id(raw: &RawValue) -> String {
    let text = raw.get();
    if !text.contains('\\') {
        return text.to_owned();
    }
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    value.map_or_else(|_| text.to_owned(), |value| value.to_string())
}
