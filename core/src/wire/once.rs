//! Idempotency keys of clients, and the earlier connections that a client names.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{conn_id::ConnId, error::EnvelopeError, head::KEY_BYTES_MAX, head::PREVIOUS_CONNS_MAX};

/// Connections that a client says it was before: none, one or some.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Option<OneOrSome>")]
pub(crate) struct PreviousConns(pub(crate) Vec<ConnId>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSome {
    One(ConnId),
    Some(Vec<ConnId>),
}

impl TryFrom<Option<OneOrSome>> for PreviousConns {
    type Error = &'static str;

    fn try_from(conns: Option<OneOrSome>) -> Result<Self, &'static str> {
        match conns {
            None => Ok(Self::default()),
            Some(OneOrSome::One(conn)) => Ok(Self([conn].into())),
            Some(OneOrSome::Some(conns)) if conns.len() <= PREVIOUS_CONNS_MAX => Ok(Self(conns)),
            Some(OneOrSome::Some(_)) => Err("too many connections"),
        }
    }
}

/// The members `key` and `conn` of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once<'a> {
    /// The idempotency key: 1 to 64 bytes.
    pub(crate) key: Cow<'a, str>,
    /// Connections of the client under which it sent the message before.
    pub(crate) conns: PreviousConns,
}

impl<'a> Once<'a> {
    /// Reads both members. Most messages have neither: this stays out of their way.
    #[cold]
    #[inline(never)]
    pub(crate) fn read(
        key: &'a RawValue,
        conn: Option<&'a RawValue>,
    ) -> Result<Box<Self>, EnvelopeError> {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
        let Ok(Key(key)) = serde_json::from_str(key.get()) else {
            return Err(EnvelopeError::Key);
        };
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(EnvelopeError::Key);
        }
        let conns = match conn {
            None => PreviousConns::default(),
            Some(conn) => serde_json::from_str(conn.get()).map_err(|_| EnvelopeError::Conn)?,
        };
        Ok(Box::new(Self { key, conns }))
    }
}
