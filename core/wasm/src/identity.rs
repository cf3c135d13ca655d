//! The identity of a connection, as JavaScript gives it.

use roomcast_core::{
    ConnId, Handshake, Identity, Input, Timestamp,
    policy::{GrantRules, GrantsError},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An identity that the host has verified.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Caller {
    user: Option<Box<str>>,
    /// The rights; absent means every right.
    grants: Option<GrantRules>,
    /// The time at which the identity ends, in milliseconds of the host's clock.
    until_ms: Option<u64>,
    issued_s: Option<u64>,
    meta: Option<Box<RawValue>>,
    rooms: Vec<Box<str>>,
    welcome: bool,
    unidentified: bool,
}

/// An `$auth` and the verified identity of its token, if it is valid.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Authentication {
    conn: ConnId,
    text: String,
    identity: Option<Caller>,
}

impl Caller {
    fn identity(self) -> Result<Identity, GrantsError> {
        let mut identity = Identity::new();
        let grants = self.grants.map(|rules| match self.user.as_deref() {
            Some(user) => rules.all_for_user(user),
            None => Ok(rules.for_user(None)),
        });
        identity.grants = grants.transpose()?;
        identity.user = self.user;
        identity.deadline = self.until_ms.map(Timestamp::from_millis);
        identity.issued_s = self.issued_s;
        identity.meta = self.meta.map(|meta| meta.get().into());
        identity.rooms = self.rooms;
        Ok(identity)
    }

    /// The input by which it connects.
    pub(crate) fn connect(self) -> Result<Input<'static>, GrantsError> {
        let mut handshake = Handshake::new().with_welcome(self.welcome);
        handshake.unidentified = self.unidentified;
        handshake.identity = self.identity()?;
        Ok(Input::Connect(handshake))
    }
}

impl Authentication {
    /// The input that identifies a connection. A token with invalid grants counts as not valid.
    pub(crate) fn input(self) -> Input<'static> {
        let identity = self.identity.and_then(|caller| caller.identity().ok());
        Input::Authenticate {
            conn: self.conn,
            text: self.text.into(),
            identity: identity.map(Box::new),
            // A host that has no keys yet calls this later.
            unavailable: false,
        }
    }
}
