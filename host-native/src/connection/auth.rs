//! The verb `$auth`: the host verifies the token, and passes the message on without it.

use std::{pin::Pin, rc::Rc};

use roomcast_core::{CloseCode, ConnId, Frame, Hub, Identity, Input, Timestamp, wire::AuthRequest};
use roomcast_http::TokenRefusal;

use super::place::Place;
use crate::shard::{Home, Shard};

/// An `$auth` message whose token is being verified, and the client's messages behind it.
pub(super) struct Held {
    pub(super) verified: Pin<Box<dyn Future<Output = Verified>>>,
    /// The message without its token.
    pub(super) rest: String,
    /// The messages behind it, at most those of one read: nothing is read meanwhile.
    pub(super) behind: Vec<OwnedFrame>,
    /// The close frame that followed.
    pub(super) closed: Option<(Option<CloseCode>, Box<[u8]>)>,
}

/// The identity of a valid token, or `None`. `unavailable` is set when the token could not be
/// verified for now.
#[derive(Default)]
pub(super) struct Verified {
    pub(super) identity: Option<Box<Identity>>,
    pub(super) unavailable: bool,
}

/// A waiting message.
pub(super) enum OwnedFrame {
    Text(String),
    Binary(Vec<u8>),
}

impl From<Frame<'_>> for OwnedFrame {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Text(text) => Self::Text(text.to_owned()),
            Frame::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

impl OwnedFrame {
    pub(super) fn as_frame(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

/// Passes a message of a connection to its namespace, unless a rate of its user refuses it. An
/// `$auth` message goes on without its token; it is returned if the token must still be verified.
#[inline]
pub(super) fn pass_on(
    shard: &Rc<Shard>,
    home: &Home,
    conn: ConnId,
    frame: Frame<'_>,
    place: &mut Place,
) -> Option<Box<Held>> {
    if place.is_over() {
        // Messages after the refusal that closes the connection are ignored.
        return None;
    }
    if place.permit.meter().is_some() && !place.let_through(shard, home, conn, frame) {
        return None;
    }
    if shard.shared.tokens.looks()
        && !place.raw
        && let Frame::Text(text) = frame
        && let Some(request) = AuthRequest::find(text)
    {
        return authenticate(shard, home, conn, request, place);
    }
    let hidden = match frame {
        Frame::Text(text) if place.unidentified => AuthRequest::hide_token(text),
        Frame::Text(_) | Frame::Binary(_) => None,
    };
    // Only raw gateways read binary messages. Here a binary message is refused whatever it
    // contains, and it may contain a token.
    let frame = match (&hidden, frame) {
        (Some(text), _) => Frame::Text(text),
        (None, Frame::Binary(_)) if !place.raw && shard.shared.tokens.looks() => Frame::Binary(b""),
        (None, frame) => frame,
    };
    home.input(shard, Input::message(conn, frame));
    None
}

#[cold]
#[inline(never)]
fn authenticate(
    shard: &Rc<Shard>,
    home: &Home,
    conn: ConnId,
    request: AuthRequest<'_>,
    place: &mut Place,
) -> Option<Box<Held>> {
    let AuthRequest { token, rest, .. } = request;
    let gate = &shard.shared.tokens;
    if !gate.is_on() {
        home.input(shard, Input::message(conn, Frame::Text(&rest)));
        return None;
    }
    let Some(token) = token else {
        shard.egress.tell_token(&TokenRefusal::Missing);
        input(shard, home, conn, rest, Verified::default());
        return None;
    };
    let (bytes, now) = (rest.len(), shard.now());
    // Verification costs work, so the rate is checked first.
    let has_rate = move |hub: &Hub, now: Timestamp| hub.has_rate(now, conn, bytes);
    let has_rate_here = home.ask_here(|hub| has_rate(hub, now));
    if has_rate_here == Some(false) {
        input(shard, home, conn, rest, Verified::default());
        return None;
    }
    if has_rate_here.is_some()
        && let Some(checked) = gate.check(&token)
    {
        let verified = taken(shard, checked);
        if place.admit(shard, home, conn, &rest, verified.identity.as_deref()) {
            input(shard, home, conn, rest, verified);
        }
        return None;
    }
    let (here, token) = (shard.clone(), token.into_owned());
    let (index, name) = (home.shard(shard), home.namespace().clone());
    let verified = Box::pin(async move {
        if has_rate_here.is_none() {
            let ask = move |home: &Rc<Shard>| {
                let namespace = home.namespace(&name);
                namespace.is_some_and(|it| it.ask(|hub| has_rate(hub, home.now())))
            };
            if here.on_shard(index, ask).await != Some(true) {
                return Verified::default();
            }
        }
        let checked = here.shared.tokens.verify(&token).await;
        taken(&here, checked)
    });
    Some(Box::new(Held {
        verified,
        rest,
        behind: Vec::new(),
        closed: None,
    }))
}

/// Converts the result of a verification. The cause of a failure is counted and logged, and the
/// client does not see it.
fn taken(shard: &Shard, checked: Result<Identity, TokenRefusal>) -> Verified {
    match checked {
        Ok(identity) => Verified {
            identity: Some(Box::new(identity)),
            unavailable: false,
        },
        Err(refusal) => {
            shard.egress.tell_token(&refusal);
            Verified {
                identity: None,
                unavailable: refusal == TokenRefusal::Unavailable,
            }
        }
    }
}

/// Passes the message to the hub, with the verified identity, if any.
pub(super) fn input(shard: &Shard, home: &Home, conn: ConnId, rest: String, verified: Verified) {
    let Verified {
        identity,
        unavailable,
    } = verified;
    home.input(
        shard,
        Input::Authenticate {
            conn,
            text: rest.into(),
            identity,
            unavailable,
        },
    );
}
