//! Tokens: as with a host, the core gets the verified identity.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

use roomcast_core::{Applied, Gateway, Input, wire::AuthRequest};

use super::{Core, unexpected};
use crate::{Actor, Answer, driver::DriverError, op::Claim};

impl<G: Gateway> Core<G> {
    /// The same, where clients that connect without a user must show a token first.
    #[must_use]
    pub const fn with_tokens(mut self, tokens: bool) -> Self {
        self.tokens = tokens;
        self
    }

    pub(super) fn authenticate(&mut self, actor: &Actor, claim: &Claim) -> Result<(), DriverError> {
        let Some((namespace, conn)) = self.live_conn(actor) else {
            return Ok(());
        };
        let (now, hub) = (self.now, self.hub(&namespace));
        let identity = hub.and_then(|hub| claim.identity(now, hub.unix_time(now)));
        let text = Claim::text("a token");
        let request = AuthRequest::find(&text).map(|request| request.rest);
        let input = Input::Authenticate {
            conn,
            text: request.unwrap_or_default().into(),
            identity: identity.map(Box::new),
            unavailable: false,
        };
        match self.call(&namespace, input)? {
            Applied::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn withdraw(&mut self, namespace: &str, user: &str) -> Result<Answer, DriverError> {
        self.open(namespace);
        let (now, hub) = (self.now, self.hub(namespace));
        let unix_ms = hub.map_or(0, |hub| hub.unix_time(now).as_millis());
        let withdraw = Input::Withdraw {
            user: user.into(),
            not_before_s: unix_ms / 1000 + 1,
        };
        match self.call(namespace, withdraw)? {
            Applied::Withdrawn(ended) => Ok(Answer::ok(format!(r#"{{"disconnected":{ended}}}"#))),
            other => Err(unexpected(&other)),
        }
    }
}
