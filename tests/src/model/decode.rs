//! A second decoder of envelopes, slow and plain, member by member.

use std::fmt;

use roomcast_core::{Payload, wire::PayloadError};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::value::RawValue;

use super::frames::Rejection;
use crate::{Actor, op::json_string};

/// A client frame, as the protocol describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) event: String,
    /// The id as JSON.
    pub(super) id: Option<String>,
    pub(super) room: Option<String>,
    pub(super) echo: Option<bool>,
    /// The payload as JSON.
    pub(super) data: String,
    /// The idempotency key, and the connections that may have sent it before.
    pub(super) once: Option<(String, Vec<(Actor, u32)>)>,
}

/// A frame that is not a valid envelope: the reason, and the members that address the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvelopeError {
    pub(super) refused: Rejection,
    pub(super) event: Option<String>,
    pub(super) id: Option<String>,
    pub(super) room: Option<String>,
}

/// The members of a JSON object in their order, including repeated ones.
#[derive(Debug)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Members {
    /// The value of the first member of this name; `null` counts as absent.
    fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        let value = values.next()?.1.get();
        (value != "null").then_some(value)
    }

    fn repeats(&self, name: &str) -> bool {
        self.0.iter().filter(|(other, _)| other == name).count() > 1
    }
}

const BAD: &str = "bad_envelope";

/// Decodes a frame. `connection` returns the actor and number of a connection id: `None` for a text
/// that is not an id, and `Some(None)` for an id that nobody has.
pub(super) fn decode(
    text: &str,
    connection: impl Fn(&str) -> Option<Option<(Actor, u32)>>,
) -> Result<Envelope, EnvelopeError> {
    let bad = |refused, event, id, room| EnvelopeError {
        refused,
        event,
        id,
        room,
    };
    let Ok(members) = serde_json::from_str::<Members>(text) else {
        return Err(bad(BAD.into(), None, None, None));
    };
    // With a repeated member the intended value is unknown, so nothing of the frame is used.
    let known = [
        "event", "id", "room", "echo", "data", "key", "conn", "from", "offset", "error",
    ];
    if known.iter().any(|name| members.repeats(name)) {
        return Err(bad(BAD.into(), None, None, None));
    }
    let string = |json: &str| serde_json::from_str::<String>(json).ok();
    let event = members.get("event").and_then(string);
    let event = event.filter(|event| (1..=128).contains(&event.len()));
    let id = members.get("id").and_then(|json| match string(json) {
        // Formatted as by the server: the client may have used other escapes.
        Some(id) => (id.len() <= 64).then(|| json_string(&id)),
        None => is_safe_integer(json).then(|| json.into()),
    });
    let room = members.get("room").and_then(string);
    // The first member of a wrong type is reported; a length only if all types are right.
    let (event_max, id_max) = (Rejection::limit(BAD, 128), Rejection::limit(BAD, 64));
    let named = members
        .get("event")
        .is_none_or(|json| string(json).is_some());
    let refused = if !named {
        event_max
    } else if id.is_some() == members.get("id").is_some() {
        BAD.into()
    } else {
        id_max
    };
    let typed = named
        && id.is_some() == members.get("id").is_some()
        && room.is_some() == members.get("room").is_some()
        && matches!(members.get("echo"), None | Some("true" | "false"));
    let Some(event) = event else {
        let refused = if typed { event_max } else { refused };
        return Err(bad(refused, None, id, room));
    };
    if !typed {
        return Err(bad(refused, Some(event), id, room));
    }
    let data = members.get("data").unwrap_or("null");
    if let Err(error) = Payload::parse(data) {
        let refused = match error {
            PayloadError::Depth => Rejection::limit("bad_payload", 64),
            PayloadError::Syntax | PayloadError::Surrogate | _ => "bad_payload".into(),
        };
        return Err(bad(refused, Some(event), id, room));
    }
    let once = match once(&members, connection) {
        Ok(once) => once,
        Err(limit) => {
            let refused = Rejection::limit(BAD, limit);
            return Err(bad(refused, Some(event), id, room));
        }
    };
    Ok(Envelope {
        once,
        event,
        id,
        room,
        echo: members.get("echo").map(|echo| echo == "true"),
        data: data.into(),
    })
}

/// A key, and connections that may have sent it before.
type Keyed = (String, Vec<(Actor, u32)>);

/// Reads the key and the connections beside it; the error is the limit that one of them exceeds.
fn once(
    members: &Members,
    connection: impl Fn(&str) -> Option<Option<(Actor, u32)>>,
) -> Result<Option<Keyed>, usize> {
    let Some(key) = members.get("key") else {
        return Ok(None);
    };
    let key: String = read(key).map_err(|()| 64_usize)?;
    if key.is_empty() || key.len() > 64 {
        return Err(64);
    }
    let named: Vec<String> = match members.get("conn") {
        None => Vec::new(),
        Some(one) if one.starts_with('"') => vec![read(one).map_err(|()| 16_usize)?],
        Some(some) => read(some).map_err(|()| 16_usize)?,
    };
    if named.len() > 16 {
        return Err(16);
    }
    let named: Option<Vec<_>> = named.iter().map(|id| connection(id)).collect();
    let known = named.ok_or(16_usize)?.into_iter().flatten();
    Ok(Some((key, known.collect())))
}

/// An integer that JavaScript holds exactly, written as one.
fn is_safe_integer(json: &str) -> bool {
    json != "-0"
        && json
            .parse::<i64>()
            .is_ok_and(|id| id.unsigned_abs() < 1 << 53)
}

/// The `data` of a `$join`.
#[derive(Debug, Default)]
pub(super) struct Join {
    pub(super) since: Option<Since>,
    /// JSON.
    pub(super) meta: Option<String>,
}

/// A position that a client has seen.
#[derive(Debug)]
pub(super) struct Since {
    pub(super) epoch: String,
    pub(super) offset: u64,
    /// The actor that had the connection then, when the connection is a known one.
    pub(super) was: Option<(Actor, u32)>,
}

/// Reads the `data` of a `$join`; an error when it has a wrong shape. `connection` is as for
/// [`decode`].
pub(super) fn join(
    data: &str,
    connection: impl Fn(&str) -> Option<Option<(Actor, u32)>>,
) -> Result<Join, ()> {
    let Some(data) = members_of(data, &["since", "meta"])? else {
        return Ok(Join::default());
    };
    let since = match data.get("since") {
        None => None,
        Some(since) => {
            let since = members_of(since, &["epoch", "offset", "conn"])?.ok_or(())?;
            let epoch = since.get("epoch").ok_or(())?;
            let offset = since.get("offset").ok_or(())?;
            let was = match since.get("conn") {
                None | Some("null") => None,
                Some(conn) => connection(&read::<String>(conn)?).ok_or(())?, // stories name one
            };
            Some(Since {
                epoch: read(epoch)?,
                offset: read(offset)?,
                was,
            })
        }
    };
    let meta = data.get("meta").map(Into::into);
    Ok(Join { since, meta })
}

/// Reads the `data` of a `$members`: the cursor to start after, and the limit.
pub(super) fn members(data: &str) -> Result<(Option<String>, usize), ()> {
    let Some(data) = members_of(data, &["after", "limit"])? else {
        return Ok((None, usize::MAX));
    };
    let after = data.get("after").map(read).transpose()?;
    Ok((after, limit(&data)?))
}

/// Reads the `data` of a `$history`: the offsets to start after and to end before, and the limit.
pub(super) fn history(data: &str) -> Result<(Option<u64>, Option<u64>, usize), ()> {
    let Some(data) = members_of(data, &["after", "before", "limit"])? else {
        return Ok((None, None, usize::MAX));
    };
    let offset = |name| data.get(name).map(read).transpose();
    Ok((offset("after")?, offset("before")?, limit(&data)?))
}

fn limit(data: &Members) -> Result<usize, ()> {
    match data.get("limit").map(read::<u64>).transpose()? {
        Some(0) => Err(()),
        limit => Ok(limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        })),
    }
}

/// The members of an object; `None` for null. An error when a known one is repeated.
fn members_of(json: &str, known: &[&str]) -> Result<Option<Members>, ()> {
    if json == "null" {
        return Ok(None);
    }
    let members: Members = read(json)?;
    if known.iter().any(|name| members.repeats(name)) {
        return Err(());
    }
    Ok(Some(members))
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, ()> {
    serde_json::from_str(json).map_err(|_| ())
}
