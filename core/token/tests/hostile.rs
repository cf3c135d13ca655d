//! Tokens that must be refused, and the rules that refuse them.

use std::time::Duration;

use roomcast_core::Timestamp;
use roomcast_core::policy::Right;
use roomcast_token::{Key, KeySet, Now, TokenError};

use crate::{
    forge::{
        CLAIMS, HEADER, NOW, P256, P256_PUB, RSA_PUB, SECRET, base64, hs256, key, signing, token,
        verifier, verify,
    },
    hostile_tokens::{AUDIENCE, ISSUER, groups},
};

/// A token with the sound header, and a claim added to the sound ones.
fn with(members: &str) -> String {
    let claims = format!(r#"{{"sub":"alice","exp":1800000060,{members}}}"#);
    token(HEADER, claims)
}

/// A token with the sound claims, and members added to the header.
fn header(members: &str) -> String {
    token(format!(r#"{{"alg":"HS256",{members}}}"#), CLAIMS)
}

#[test]
fn hostile_tokens_are_refused_for_their_cause() {
    for group in groups(NOW.unix_s, cfg!(feature = "rs256")) {
        let mut verifier = verifier(group.keys.iter().map(|text| key(text)));
        if group.has_conditions {
            verifier = verifier.with_issuer(ISSUER).with_audience(AUDIENCE);
        }
        for token in group.sound {
            assert_eq!(verify(&verifier, &token).map(drop), Ok(()), "{token}");
        }
        for case in group.hostile {
            let (label, name) = (case.label, case.name);
            let error = match verify(&verifier, &case.token) {
                Ok(claims) => panic!("{label}, {name}: accepted, {claims:?}"),
                Err(error) => error,
            };
            assert_eq!(error.label(), label, "{name}: {error}");
            let text = format!("{error} {error:?}");
            let tells = |part: &str| part.len() > 8 && text.contains(part);
            assert!(!case.token.split('.').any(tells), "{name}: {text}");
            assert!(text.len() < 1000, "{name}: {} bytes", text.len());
        }
    }
}

#[test]
fn an_algorithm_that_is_left_out_is_named_with_its_feature() {
    let refused = verify(&verifier([hs256()]), &token(r#"{"alg":"RS256"}"#, CLAIMS));
    let refused = refused.expect_err("no key").to_string();
    if cfg!(feature = "rs256") {
        assert!(refused.contains("none for RS256"), "{refused}");
    } else {
        assert!(refused.contains("feature `rs256`"), "{refused}");
        let key = Key::parse(RSA_PUB).expect_err("left out").to_string();
        assert!(key.contains("feature `rs256`"), "{key}");
    }
}

#[test]
fn sound_claims_are_read() {
    let claims = r#"{"sub":"alice","exp":1800000060.9,"nbf":1800000010,"iat":1799999999,"jti":"x",
        "grants":[{"rooms":"u:{user}:*","can":["join"]}],"meta":{"name":"A\u00e9"},
        "rooms":["u:alice:1","é"],"other":[{"a":null}]}"#;
    let claims = verify(&verifier([hs256()]), &token(HEADER, claims)).expect("sound");
    assert_eq!(&*claims.user, "alice");
    assert_eq!(claims.deadline, NOW.time + Duration::from_secs(70));
    assert_eq!(claims.issued_s, Some(1_799_999_999));
    assert!(claims.grants.allow(Right::Join, "u:alice:1"));
    assert!(!claims.grants.allow(Right::Publish, "u:alice:1"));
    let meta = claims.meta.as_ref().map(|meta| meta.get());
    assert_eq!(meta, Some(r#"{"name":"A\u00e9"}"#));
    assert_eq!(
        claims.rooms.iter().map(|room| &**room).collect::<Vec<_>>(),
        ["u:alice:1", "é"]
    );

    let bare = verify(&verifier([hs256()]), &token(HEADER, CLAIMS)).expect("sound");
    assert!(bare.meta.is_none() && bare.rooms.is_empty() && bare.issued_s.is_none());
    assert_eq!(bare.grants.iter().count(), 0, "no rights without grants");
}

#[test]
fn a_token_is_valid_until_its_deadline() {
    let verifier = verifier([hs256()]);
    let token = token(HEADER, CLAIMS);
    for (unix_s, left) in [
        (1_800_000_060, Some(10)),
        (1_800_000_069, Some(1)),
        (1_800_000_070, None),
        (u64::MAX, None),
        (0, Some(1_800_000_070)),
    ] {
        let now = Now { unix_s, ..NOW };
        let deadline = verifier.verify(&token, &KeySet::default(), now);
        let left = left.map(|left| now.time + Duration::from_secs(left));
        assert_eq!(
            deadline.ok().map(|claims| claims.deadline),
            left,
            "at {unix_s}"
        );
    }
    for (ahead_s, taken) in [(10, true), (11, false)] {
        let begins = with(&format!(r#""nbf":{}"#, NOW.unix_s + ahead_s));
        assert_eq!(verify(&verifier, &begins).is_ok(), taken, "{ahead_s}");
    }
    // A monotonic clock at its end.
    let time = Timestamp::from_millis(u64::MAX);
    let claims = verifier.verify(&token, &KeySet::default(), Now { time, ..NOW });
    assert_eq!(claims.map(|claims| claims.deadline), Ok(time));
}

#[test]
fn several_keys_serve_at_once() {
    let other = format!("hs256:{}", "x".repeat(32));
    let named = |id: &str, secret: &str| {
        key(&format!(
            r#"{{"kty":"oct","kid":"{id}","k":"{}"}}"#,
            base64(secret)
        ))
    };
    let several = verifier([key(&other), hs256(), key(P256_PUB)]);
    assert!(verify(&several, &token(HEADER, CLAIMS)).is_ok());
    assert!(verify(&several, &signing(P256).sign_json(CLAIMS)).is_ok());
    assert!(
        verify(&several, &header(r#""kid":"of nobody""#)).is_ok(),
        "keys without ids"
    );

    let named = verifier([named("a", SECRET), named("b", &"x".repeat(40))]);
    assert!(verify(&named, &header(r#""kid":"a""#)).is_ok());
    let refused = verify(&named, &header(r#""kid":"b""#)).map(drop);
    assert_eq!(refused, Err(TokenError::Signature));
    for unknown in ["c", "../../../dev/null", "' UNION SELECT 'a' --", ""] {
        let refused = verify(&named, &header(&format!(r#""kid":"{unknown}""#))).map(drop);
        assert!(matches!(refused, Err(TokenError::UnknownKey { kid }) if &*kid == unknown));
    }
    assert!(Key::parse(&other).is_ok_and(|key| !format!("{key:?}").contains("xx")));
}
