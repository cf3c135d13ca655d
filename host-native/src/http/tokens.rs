//! The token of a client that requests a WebSocket.

use std::rc::Rc;

use roomcast_core::Handshake;
use roomcast_http::{Credentials, Problem, Request, anonymous_identity};

use super::Fields;
use crate::{clock::unix_now, shard::Shard};

/// Adds the identity of the client's token to a handshake. A client without a token is the user of
/// the handshake, or anonymous; or it must send `$auth`.
///
/// Also returns whether there was a token.
///
/// # Errors
///
/// When the token is refused.
pub(super) async fn identify(
    shard: &Rc<Shard>,
    head: &Request<'_, Fields<'_>>,
    handshake: Handshake,
) -> Result<(Handshake, bool), Problem> {
    let shared = &shard.shared;
    let access = shared.access();
    let is_asked = shared.ask.asker().is_some();
    let restricted = access.tokens.is_on() || is_asked || !shard.policies().grants().is_empty();
    let credentials = access.tokens.credentials(head).map_err(Problem::Token)?;
    let named = handshake.identity.user.clone();
    let anonymous = anonymous_identity(restricted);
    let by_token = matches!(credentials, Credentials::Token(_));
    let handshake = match (credentials, named) {
        (Credentials::Token(token), _) => {
            let verified = shared.tokens.verify(&token).await;
            handshake.with_identity(verified.map_err(Problem::Token)?)
        }
        (_, Some(user)) => {
            let mut identity = anonymous;
            identity.user = Some(user);
            identity.issued_s = Some(unix_now().as_secs());
            handshake.with_identity(identity)
        }
        (Credentials::Anonymous, None) => handshake.with_identity(anonymous),
        // An application may still name a user, who has no other rights.
        (Credentials::Unidentified, None) => {
            handshake.with_identity(anonymous).with_unidentified(true)
        }
    };
    Ok((handshake, by_token))
}
