//! Tokens, and the keys by which they are verified.

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use roomcast_core::{Timestamp, policy::Right, wire::AuthRequest};
use roomcast_token::{
    Algorithm, Claims, Jwks, Key, KeySet, NewToken, Now, SigningKey, TokenError, Unverified,
    Verifier, limits,
};
use serde_json::Value;
use sha2::Sha256;

const SECRET: &str = "a secret of at least thirty-two bytes";
const NOW: Now = Now {
    unix_s: 1_800_000_000,
    time: Timestamp::from_millis(5_000),
};

/// Takes a text as a token, as a key, as a published set of keys and as the token of an `$auth`.
/// Two lines are the header and the claims of a token, which is signed with the right secret.
///
/// # Panics
///
/// If a token is accepted that nobody signed or that breaks a rule; if the claims returned differ
/// from its own; if an error reveals a secret or has several lines; if a key cannot verify its own
/// signature.
pub fn token(data: &[u8]) {
    check_published(data);
    let text = String::from_utf8_lossy(data);
    check_token(&text);
    if let Some((header, claims)) = text.split_once('\n') {
        check_token(&signed(header, claims));
    }
    check_key(&text);
    check_auth(&text);
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    Base64UrlUnpadded::encode_string(bytes.as_ref())
}

/// The signature of the two parts of a token.
fn signature(parts: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    base64(mac.chain_update(parts).finalize().into_bytes())
}

fn signed(header: &str, claims: &str) -> String {
    let parts = format!("{}.{}", base64(header), base64(claims));
    format!("{parts}.{}", signature(&parts))
}

fn check_token(token: &str) {
    let key = Key::parse(&format!("hs256:{SECRET}")).expect("a key");
    let verifier = Verifier::new([key]).expect("one key");
    let read = Unverified::read(token);
    match verifier.verify(token, &KeySet::default(), NOW) {
        Ok(claims) => {
            let (parts, given) = token.rsplit_once('.').expect("three parts");
            assert_eq!(given, signature(parts), "accepted without a signature");
            let read = read.expect("a token that is accepted can be read");
            let header: Value = serde_json::from_str(&read.header).expect("JSON");
            assert_eq!(header["alg"], "HS256", "another algorithm is accepted");
            for member in ["crit", "jku", "jwk", "x5u"] {
                assert!(header.get(member).is_none(), "{member} is accepted");
            }
            let said = serde_json::from_str(&read.claims).expect("JSON");
            check_claims(&claims, &said);
        }
        Err(error) => check_error(&error),
    }
}

/// Checks the returned claims against those in the token.
fn check_claims(claims: &Claims, said: &Value) {
    assert_eq!(said["sub"], *claims.user);
    let expires = said["exp"].as_f64().expect("an end");
    #[expect(clippy::cast_precision_loss, reason = "seconds of some thousand years")]
    let latest = (NOW.unix_s - limits::LEEWAY_S) as f64;
    assert!(expires >= latest, "an expired token is accepted");
    assert!(
        claims.deadline > NOW.time,
        "the connection would be expired"
    );
    assert!(said.get("aud").is_none(), "made for somebody else");
    let rules = said["grants"].as_array().map_or(0, Vec::len);
    assert_eq!(claims.grants.iter().count(), rules);
    let rights = [Right::Join, Right::Publish, Right::Presence, Right::History];
    for rule in claims.grants.iter() {
        let room = rule.rooms.as_str();
        for right in rights.into_iter().filter(|right| rule.can.has(*right)) {
            let allows = room.contains('*') || claims.grants.allow(right, room);
            assert!(allows, "{right:?} in {room:?}");
        }
    }
    let elsewhere = claims.grants.allow(Right::Join, "a room of nobody");
    assert!(!elsewhere || said["grants"].to_string().contains(['*', ' ']));
}

fn check_error(error: &TokenError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(!text.contains(SECRET), "{text:?}");
    assert!(!error.label().is_empty());
}

/// Takes a text as a key that verifies, and as one that signs.
fn check_key(text: &str) {
    let shown = match Key::parse(text) {
        Ok(key) => {
            let shown = format!("{key:?}");
            Verifier::new([key]).expect("a key alone is neither twice there nor too many");
            shown
        }
        Err(error) => error.to_string(),
    };
    if let Some(secret) = text.strip_prefix("hs256:")
        && secret.len() >= 16
    {
        assert!(!shown.contains(secret), "a secret is told: {shown}");
    }
    if let Ok(key) = SigningKey::parse(text) {
        let made = NewToken::new("ann", NOW.unix_s, NOW.unix_s + 60);
        key.sign(&made).expect("a key verifies what it signs");
    }
}

fn check_published(data: &[u8]) {
    let read = KeySet::read(data);
    let mut jwks = Jwks::default();
    let received = jwks.received(NOW.time, 200, data);
    assert_eq!(received.is_ok(), read.is_ok());
    if let Ok(keys) = &read {
        assert!(keys.keys().all(|key| key.algorithm() != Algorithm::Hs256));
        assert!(keys.keys().filter_map(Key::id).all(|kid| keys.has(kid)));
        let before = keys.keys().count();
        let failed = jwks.received(NOW.time, 500, b"").is_err();
        assert!(failed && jwks.keys().keys().count() == before, "keys went");
    }
}

/// Checks that the rest of an `$auth` does not contain the token.
fn check_auth(text: &str) {
    if let Some(request) = AuthRequest::find(text) {
        let rest: Result<Value, _> = serde_json::from_str(&request.rest);
        assert!(request.rest.is_empty() || rest.is_ok_and(|rest| rest.get("data").is_none()));
    }
    let token = Value::from(text);
    let frame = format!(r#"{{"event":"$auth","data":{{"token":{token}}}}}"#);
    let request = AuthRequest::find(&frame).expect("an $auth");
    assert_eq!(request.token.as_deref(), Some(text));
    assert_eq!(request.rest, r#"{"event":"$auth"}"#);
}
