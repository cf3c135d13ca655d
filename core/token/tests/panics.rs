//! No input panics, and no change of a token is accepted.

use proptest::prelude::*;
use roomcast_core::{Timestamp, policy::GrantRules};
use roomcast_token::{Jwks, Key, KeySet, Now, SigningKey};

use crate::forge::{
    CLAIMS, ED25519, HEADER, NOW, P256, P256_PUB, RSA_PUB, SECRET, hs256, signing, token, verifier,
    verify,
};

/// JSON that looks like parts of tokens and keys.
fn json() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just(r#""HS256""#.to_owned()),
        Just(r#""a""#.to_owned()),
        Just("1e400".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[\\PC]{0,20}".prop_map(|text| format!("{text:?}")),
    ];
    word.prop_recursive(3, 20, 5, |inner| {
        let key = "alg|kid|exp|sub|nbf|iat|iss|aud|grants|rooms|can|meta|kty|crv|x|y|n|e|k|d|keys";
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key:?}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|list| format!("{{{}}}", list.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_a_token_or_an_error(text in "\\PC{0,200}|[A-Za-z0-9_.-]{0,200}") {
        let _ = verify(&verifier([hs256()]), &text);
    }

    #[test]
    fn any_signed_parts_are_a_token_or_an_error(header in json(), claims in json(), unix_s: u64, ms: u64) {
        let now = Now { unix_s, time: Timestamp::from_millis(ms) };
        let verifier = verifier([hs256()]).with_issuer("a").with_audience("b");
        for (header, claims) in [(&*header, &*claims), (HEADER, &claims), (&header, CLAIMS)] {
            let _ = verifier.verify(&token(header, claims), &KeySet::default(), now);
        }
    }

    #[test]
    fn any_bytes_are_claims_or_an_error(claims: Vec<u8>) {
        let _ = verify(&verifier([hs256()]), &token(HEADER, claims));
    }

    #[test]
    fn any_text_is_a_key_or_an_error(text in "\\PC{0,200}", json in json()) {
        for text in [&*text, &json, &format!("hs256:{text}")] {
            let _ = Key::parse(text).map_err(|error| error.to_string());
            let _ = SigningKey::parse(text).map_err(|error| error.to_string());
        }
        let _ = KeySet::read(json.as_bytes()).map_err(|error| error.to_string());
        let _ = GrantRules::from_json(&json).map(|rules| rules.for_user(Some(&text)));
    }

    #[test]
    fn a_damaged_pem_is_a_key_or_an_error(at in 0usize..500, byte in 0u8..128) {
        for text in [P256_PUB, RSA_PUB, P256, ED25519] {
            let mut bytes = text.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let text = String::from_utf8(bytes).expect("ASCII");
            let _ = (Key::parse(&text), SigningKey::parse(&text));
        }
    }

    /// Each token has one spelling: any change of one byte is refused.
    #[test]
    fn a_changed_token_is_refused(at in 0usize..400, byte in 0u8..128) {
        let secret = format!("hs256:{SECRET}");
        for key in [P256, ED25519, &secret] {
            let key = signing(key);
            let mut bytes = key.sign_json(CLAIMS).into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let changed = String::from_utf8(bytes).expect("ASCII");
            prop_assert!(verify(&verifier([key.key()]), &changed).is_err());
        }
    }

    /// For all that a host tells, in any order: two fetches never begin within 30 s.
    #[test]
    fn fetches_stay_apart(steps in prop::collection::vec((0u64..40_000, 0u8..5, 0u8..4), 1..200)) {
        let mut jwks = Jwks::default();
        let (mut now, mut last) = (NOW.time, None::<Timestamp>);
        for (ms, step, kid) in steps {
            now = Timestamp::from_millis(now.as_millis() + ms);
            match step {
                0 => jwks.failed(now),
                1 => drop(jwks.received(now, 200, b"{}").map(drop)),
                _ => drop(jwks.missing(now, &kid.to_string())),
            }
            if jwks.poll(now) == roomcast_token::Poll::Fetch {
                let since = last.map(|last| now.saturating_since(last).as_secs());
                prop_assert!(since.is_none_or(|seconds| seconds >= 30), "{since:?}");
                last = Some(now);
            }
        }
    }
}
