//! The table of hostile tokens, sent to a host on every way in.

#[path = "../../../core/token/tests/hostile_tokens/mod.rs"]
mod hostile_tokens;

use roomcast_core::Timestamp;
use roomcast_token::{Key, KeySet, Now, TokenError, Verifier};

use self::hostile_tokens::groups;
pub(crate) use self::hostile_tokens::{AUDIENCE, Group, ISSUER};
use super::{OFFER, ask, auth, ends, text, unix_s, ways};
use crate::{
    peer::{Peer, Said},
    process::child::Process,
};

/// Bytes of a token that a host may read in the head of a request, or refuse with 431; and of one
/// that each reads in a message. More become neither a request nor a message.
const HEAD_BYTES_MAX: usize = 12 << 10;
const MESSAGE_BYTES_MAX: usize = 60 << 10;

/// Sends the whole table to hosts that are started with the settings of each group. A host is its
/// address, and a function that waits for the next line of the log about a refused token.
pub(crate) fn refuse_on_every_way<F: FnMut() -> String>(start: impl Fn(&Group) -> (String, F)) {
    let mut sent = 0;
    for group in groups(unix_s(), true) {
        let verifier = verifier(&group);
        let (authority, mut logged) = start(&group);
        for token in &group.sound {
            for way in Way::ALL {
                let mut peer = way.send(&authority, "sound", token).expect("short");
                let known = text(&mut peer);
                assert!(known.contains(r#""user":"alice""#), "{way:?}: {known}");
            }
        }
        for (number, case) in group.hostile.iter().enumerate() {
            let (name, token) = (case.name, &*case.token);
            let error = refused(&verifier, token);
            assert_eq!(error.label(), case.label, "{name}");
            let cause = without_numbers(&error.to_string());
            for way in Way::ALL.into_iter().filter(|way| way.carries(token)) {
                // A host may tell of a cause once for each namespace.
                let namespace = format!("n{number}-{way:?}");
                let Some(mut peer) = way.send(&authority, &namespace, token) else {
                    continue;
                };
                let told = text(&mut peer);
                let is_told = told.contains(r#""code":"unauthorized""#);
                assert!(
                    is_told && !without_numbers(&told).contains(&cause),
                    "{name}: {told}"
                );
                if way == Way::Message {
                    ends(&mut peer, 4401);
                } else {
                    assert_eq!(peer.next(), Said::Close(4401), "{name}");
                }
                let line = logged();
                assert!(
                    without_numbers(&line).contains(&cause),
                    "{name}, {way:?}: {line}"
                );
                let tells = |part: &str| part.len() > 8 && line.contains(part);
                assert!(!token.split('.').any(tells), "{name}: {line}");
                sent += 1;
            }
        }
    }
    assert!(sent > 450, "{sent} tokens were sent");
}

/// A way in of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Authorization,
    Subprotocol,
    Query,
    Message,
}

impl Way {
    pub(super) const ALL: [Self; 4] = [
        Self::Authorization,
        Self::Subprotocol,
        Self::Query,
        Self::Message,
    ];

    /// True when a token arrives as it is. Fields have no control characters, and no spaces around
    /// their values.
    fn carries(self, token: &str) -> bool {
        let is_of_a_field =
            !token.is_empty() && token.trim() == token && !token.contains(char::is_control);
        match self {
            Self::Authorization | Self::Subprotocol => {
                is_of_a_field && token.len() <= HEAD_BYTES_MAX
            }
            Self::Query => token.len() <= HEAD_BYTES_MAX,
            Self::Message => token.len() <= MESSAGE_BYTES_MAX,
        }
    }

    /// Sends it: the client, which has a WebSocket, unless the head of the request was too long.
    pub(super) fn send(self, authority: &str, namespace: &str, token: &str) -> Option<Peer> {
        let (query, fields) = match self {
            Self::Message => (String::new(), vec![OFFER.to_owned()]),
            Self::Authorization | Self::Subprotocol | Self::Query => {
                let [authorization, subprotocol, query] = ways(token);
                match self {
                    Self::Authorization => authorization,
                    Self::Subprotocol => subprotocol,
                    Self::Query | Self::Message => query,
                }
            }
        };
        let separator = if query.is_empty() { '?' } else { '&' };
        let path = format!("/{namespace}{query}{separator}refuse=close");
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let (mut peer, head) = ask(authority, &path, &fields);
        if head.starts_with("HTTP/1.1 431") && token.len() > 7 << 10 {
            return None;
        }
        assert!(
            head.starts_with("HTTP/1.1 101"),
            "{self:?}, {token:?}: {head}"
        );
        if self == Self::Message {
            let welcome = text(&mut peer);
            assert!(welcome.contains("$welcome"), "{welcome}");
            let token = serde_json::to_string(token).expect("JSON");
            peer.say(&auth("TOKEN").replace(r#""TOKEN""#, &token));
        }
        Some(peer)
    }
}

fn verifier(group: &Group) -> Verifier {
    let keys = group
        .keys
        .iter()
        .map(|text| Key::parse(text).expect("a key"));
    let verifier = Verifier::new(keys).expect("few keys");
    if group.has_conditions {
        verifier.with_issuer(ISSUER).with_audience(AUDIENCE)
    } else {
        verifier
    }
}

/// The cause for which the verifier refuses a token.
fn refused(verifier: &Verifier, token: &str) -> TokenError {
    let now = Now {
        unix_s: unix_s(),
        time: Timestamp::ZERO,
    };
    let verified = verifier.verify(token, &KeySet::default(), now);
    verified.map(drop).expect_err("a hostile one")
}

/// A text without its numbers: seconds pass while the table is sent.
fn without_numbers(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit(), "")
}

#[test]
fn hostile_tokens_are_refused_on_every_way_in_for_their_cause() {
    refuse_on_every_way(|group| {
        let keys = group.keys.iter().map(|key| format!("--token-key={key}"));
        let mut flags: Vec<_> = keys.chain(["--log=debug".into()]).collect();
        if group.has_conditions {
            flags.push(format!("--token-issuer={ISSUER}"));
            flags.push(format!("--token-audience={AUDIENCE}"));
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut server = Process::start(&flags);
        let authority = server.authority.clone();
        (authority, move || server.logged("refused a token reason"))
    });
}
