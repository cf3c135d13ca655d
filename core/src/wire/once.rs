//! Idempotency keys of clients, and the earlier connections that a client names.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{conn_id::ConnId, error::EnvelopeError, head::KEY_BYTES_MAX, head::PREVIOUS_CONNS_MAX};

/// The previous connections that a client names: none, one or some. Readers check with
/// [`are_few`](Self::are_few) that there are not more than a client may name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<OneOrSome>")]
pub(crate) struct PreviousConns(pub(crate) Vec<ConnId>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrSome {
    One(ConnId),
    Some(Vec<ConnId>),
}

impl From<Option<OneOrSome>> for PreviousConns {
    fn from(conns: Option<OneOrSome>) -> Self {
        match conns {
            None => Self::default(),
            Some(OneOrSome::One(conn)) => Self([conn].into()),
            Some(OneOrSome::Some(conns)) => Self(conns),
        }
    }
}

impl PreviousConns {
    /// True when they are no more than a client may name.
    pub(crate) const fn are_few(&self) -> bool {
        self.0.len() <= PREVIOUS_CONNS_MAX
    }
}

/// The members `key` and `conn` of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Once<'a> {
    /// The idempotency key: 1 to 64 bytes.
    pub(crate) key: Cow<'a, str>,
    /// Earlier connections of the client that may have sent the message.
    pub(crate) conns: PreviousConns,
}

impl<'a> Once<'a> {
    /// Reads both members, off the path of most messages, which have neither.
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
        if !conns.are_few() {
            return Err(EnvelopeError::Conn);
        }
        Ok(Box::new(Self { key, conns }))
    }
}
