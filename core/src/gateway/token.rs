//! The names of answers that come later.

use crate::wire::conn_id::ConnId;

/// Names an answer that is still to come; see [`Context::later`](crate::Context::later).
///
/// It names one answer to one connection and never another, as long as the
/// [`App`](crate::App) lives. Answers that are under way do not survive sleep: whoever works on
/// them would be gone as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    pub(super) conn: ConnId,
    pub(super) number: u64,
}

// One for each answer that is under way, in several indexes.
const _: () = assert!(size_of::<Token>() <= 16);

impl Token {
    /// The connection that waits for the answer.
    pub const fn conn(self) -> ConnId {
        self.conn
    }
}

/// Tokens in a journal; see [`Outcome`](crate::Outcome) for why not in general.
pub(crate) mod wire {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{ConnId, Token};

    pub(crate) fn serialize<S: Serializer>(token: &Token, to: S) -> Result<S::Ok, S::Error> {
        (token.conn, token.number).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Token, D::Error> {
        let (conn, number) = <(ConnId, u64)>::deserialize(from)?;
        Ok(Token { conn, number })
    }
}
