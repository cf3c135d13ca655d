//! Tokens over the sockets of the real server: all ways in, and what never reaches a log or a
//! journal.

mod auth;
mod causes;
mod command;
pub(crate) mod hostile;
pub(crate) mod jwks;
mod libraries;
mod page;
mod privacy;
mod reload;
mod ways;
pub(crate) mod withdrawal;

use std::time::SystemTime;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use roomcast_core::policy::GrantRules;
use roomcast_token::{NewToken, SigningKey};

use crate::{
    peer::{Peer, Said},
    process::child::Process,
};

pub(crate) const KEY: &str = "hs256:a secret of at least thirty-two bytes";
pub(crate) const OTHER_KEY: &str = "hs256:another secret of thirty-two bytes or more";
/// The private key of RFC 8037, with an id.
pub(crate) const PRIVATE: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"first","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// Its public half, as it is published.
pub(crate) const PUBLIC: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"first","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const GRANTS: &str = r#"[{"rooms":"chat:*","can":["join","publish"]}]"#;

fn unix_s() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.expect("after 1970").as_secs()
}

/// A token of a user, made ten seconds ago, that ends in so many seconds, which may be past.
pub(crate) fn token_for(key: &str, user: &str, left_s: i64) -> String {
    token_made_at(unix_s() - 10, key, user, left_s)
}

/// The same, made at another time.
fn token_made_at(issued_s: u64, key: &str, user: &str, left_s: i64) -> String {
    let rules = GrantRules::from_json(GRANTS).expect("grants");
    let end_s = unix_s().saturating_add_signed(left_s);
    let mut token = NewToken::new(user, issued_s, end_s);
    token.grants = Some(&rules);
    let key = SigningKey::parse(key).expect("a key");
    let claims = serde_json::to_string(&token).expect("JSON");
    key.sign_json(&claims)
}

pub(crate) fn token(user: &str) -> String {
    token_for(KEY, user, 3600)
}

/// A server that verifies tokens with a secret.
fn serve(flags: &[&str]) -> Process {
    Process::start(&[&["--token-key", KEY], flags].concat())
}

/// Asks for a WebSocket, with a query and further fields; gives the head of the answer.
pub(crate) fn ask(authority: &str, query: &str, fields: &[&str]) -> (Peer, String) {
    let mut peer = Peer::silent(authority);
    let mut request = format!(
        "GET /ws{query} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    peer.write(request.as_bytes());
    let head = peer.head();
    (peer, head)
}

pub(crate) const OFFER: &str = "Sec-WebSocket-Protocol: roomcast.v1";

/// The query and the fields of a request that bring a token: in `Authorization`, as a subprotocol,
/// and in the query.
pub(crate) fn ways(token: &str) -> [(String, Vec<String>); 3] {
    let offer = OFFER.to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    let listed = format!("Sec-WebSocket-Protocol: bearer.{token}, roomcast.v1");
    let encoded = utf8_percent_encode(token, NON_ALPHANUMERIC);
    [
        (String::new(), vec![offer.clone(), bearer]),
        (String::new(), vec![listed]),
        (format!("?token={encoded}"), vec![offer]),
    ]
}

/// Connects without a token, and reads `$welcome`.
pub(crate) fn unidentified(authority: &str) -> (Peer, String) {
    let (mut peer, head) = ask(authority, "", &[OFFER]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let welcome = text(&mut peer);
    assert!(welcome.contains(r#""event":"$welcome""#), "{welcome}");
    (peer, welcome)
}

/// The next message.
pub(crate) fn text(peer: &mut Peer) -> String {
    let said = peer.next();
    let Said::Text(text) = said else {
        panic!("no message: {said:?}");
    };
    text
}

/// Reads the goodbye and the close behind it.
#[track_caller]
pub(crate) fn ends(peer: &mut Peer, code: u16) {
    let bye = text(peer);
    assert!(
        bye.contains(&format!(r#""$bye","data":{{"code":{code}"#)),
        "{bye}"
    );
    assert_eq!(peer.next(), Said::Close(code));
}

pub(crate) fn auth(token: &str) -> String {
    format!(r#"{{"event":"$auth","id":"a","data":{{"token":"{token}"}}}}"#)
}

pub(crate) const JOIN: &str = r#"{"event":"$join","id":"j","room":"chat:a"}"#;
