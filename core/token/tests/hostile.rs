//! Tokens that must be refused, and the rules that refuse them.

use std::time::Duration;

use roomcast_core::Timestamp;
use roomcast_token::{Action, Key, KeySet, Now, TokenError};

use crate::forge::{
    CLAIMS, ED25519, ED25519_PUB, HEADER, NOW, P256, P256_PUB, RSA_PUB, SECRET, base64, hmac,
    hs256, key, signed, signing, token, verifier, verify,
};

/// Refused tokens, each with the short name of its cause.
type Cases = Vec<(&'static str, String, &'static str)>;

/// A token with the sound header, and claims of which one member is replaced or added.
fn with(members: &str) -> String {
    token(
        HEADER,
        format!(r#"{{"sub":"alice","exp":1800000060,{members}}}"#),
    )
}

/// A token with the sound claims, and members added to the header.
fn header(members: &str) -> String {
    token(format!(r#"{{"alg":"HS256",{members}}}"#), CLAIMS)
}

fn headers() -> Cases {
    let unsigned = |alg: &str| format!("{}.", signed(format!(r#"{{"alg":"{alg}"}}"#), CLAIMS));
    let said = |alg: &str| token(format!(r#"{{"alg":"{alg}"}}"#), CLAIMS);
    vec![
        ("none, unsigned", unsigned("none"), "algorithm"),
        ("none, signed", said("none"), "algorithm"),
        ("none in capitals", unsigned("NONE"), "algorithm"),
        ("none in mixed case", unsigned("nOnE"), "algorithm"),
        ("no name", said(""), "algorithm"),
        ("lower case", said("hs256"), "algorithm"),
        ("a space", said("HS256 "), "algorithm"),
        ("a longer hash", said("HS512"), "algorithm"),
        ("no algorithm", token("{}", CLAIMS), "algorithm"),
        ("a number", token(r#"{"alg":256}"#, CLAIMS), "header"),
        ("a list", token(r#"{"alg":["HS256"]}"#, CLAIMS), "header"),
        ("another algorithm", said("ES256"), "unknown_key"),
        ("RSA", said("RS256"), "unknown_key"),
        (
            "two algorithms",
            token(r#"{"alg":"none","alg":"HS256"}"#, CLAIMS),
            "malformed",
        ),
        (
            "an escaped second",
            token(r#"{"alg":"HS256","\u0061lg":"none"}"#, CLAIMS),
            "malformed",
        ),
        (
            "its own key",
            header(r#""jwk":{"kty":"oct","k":"AAAA"}"#),
            "header",
        ),
        (
            "a URL of keys",
            header(r#""jku":"https://evil.example/jwks""#),
            "header",
        ),
        (
            "a URL of certificates",
            header(r#""x5u":"https://evil.example/crt""#),
            "header",
        ),
        (
            "critical extensions",
            header(r#""crit":["b64"],"b64":false"#),
            "header",
        ),
        ("no critical extension", header(r#""crit":[]"#), "header"),
        ("a null URL", header(r#""jku":null"#), "header"),
        ("a key that is a number", header(r#""kid":1"#), "header"),
        ("a key that is null", header(r#""kid":null"#), "header"),
        (
            "a long key",
            header(&format!(r#""kid":"{}""#, "k".repeat(257))),
            "header",
        ),
        ("a header that is a list", token("[]", CLAIMS), "malformed"),
        (
            "a header that is a string",
            token(r#""HS256""#, CLAIMS),
            "malformed",
        ),
        (
            "a header that is no JSON",
            token("alg=HS256", CLAIMS),
            "malformed",
        ),
        (
            "a header with more behind it",
            token(r#"{"alg":"HS256"}{}"#, CLAIMS),
            "malformed",
        ),
        ("an empty header", token("", CLAIMS), "malformed"),
    ]
}

fn forms() -> Cases {
    let sound = token(HEADER, CLAIMS);
    let (parts, signature) = sound.rsplit_once('.').expect("parts");
    let (head, claims) = parts.split_once('.').expect("parts");
    let other = signed(HEADER, r#"{"sub":"root","exp":1800000060}"#);
    // 32 bytes leave four bits in the last character, which must be zero.
    let last = signature.as_bytes()[signature.len() - 1];
    let twin = char::from(if last == b'g' { b'h' } else { last + 1 });
    let twin = format!("{parts}.{}{twin}", &signature[..signature.len() - 1]);
    let long = token(
        HEADER,
        format!(
            r#"{{"sub":"a","exp":1800000060,"x":"{}"}}"#,
            "x".repeat(6100)
        ),
    );
    let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(3000), "]".repeat(3000));
    vec![
        ("nothing", String::new(), "malformed"),
        ("a word", "token".into(), "malformed"),
        ("two parts", parts.into(), "malformed"),
        ("four parts", format!("{sound}.{signature}"), "malformed"),
        (
            "five parts",
            format!("{sound}.{signature}.{signature}"),
            "malformed",
        ),
        ("empty parts", "..".into(), "malformed"),
        ("over 8 KiB", long, "malformed"),
        ("a megabyte", "a".repeat(1 << 20), "malformed"),
        ("padding", format!("{sound}="), "malformed"),
        (
            "padding in the header",
            format!("{head}=.{claims}.{signature}"),
            "malformed",
        ),
        (
            "the alphabet of plain base64",
            format!("{parts}.+/{}", &signature[2..]),
            "malformed",
        ),
        ("a line break", format!("{sound}\n"), "malformed"),
        ("a space", format!(" {sound}"), "malformed"),
        ("a prefix", format!("Bearer {sound}"), "malformed"),
        (
            "a letter beyond ASCII",
            format!("{sound}\u{e9}"),
            "malformed",
        ),
        ("a NUL", format!("{sound}\0"), "malformed"),
        ("a second spelling of the signature", twin, "malformed"),
        ("no signature", format!("{parts}."), "signature"),
        (
            "half a signature",
            format!("{parts}.{}", &signature[..20]),
            "signature",
        ),
        ("a longer signature", format!("{sound}AAAA"), "signature"),
        (
            "a signature of zeros",
            format!("{parts}.{}", base64([0; 32])),
            "signature",
        ),
        ("other claims", format!("{other}.{signature}"), "signature"),
        (
            "another secret",
            format!("{parts}.{}", base64(hmac("other", parts))),
            "signature",
        ),
        (
            "an empty secret",
            format!("{parts}.{}", base64(hmac("", parts))),
            "signature",
        ),
        ("claims that are a list", token(HEADER, "[]"), "malformed"),
        (
            "claims that are no JSON",
            token(HEADER, "sub=alice"),
            "malformed",
        ),
        (
            "claims that are no text",
            token(HEADER, b"{\"sub\":\"\xff\"}"),
            "malformed",
        ),
        ("claims that are empty", token(HEADER, ""), "malformed"),
        ("claims that are deep", token(HEADER, nested), "malformed"),
        ("a claim twice", with(r#""exp":1900000000"#), "malformed"),
        (
            "a claim twice, escaped",
            with(r#""e\u0078p":1900000000"#),
            "malformed",
        ),
        (
            "a claim twice, deep inside",
            with(r#""meta":{"a":[{"b":1,"b":2}]}"#),
            "malformed",
        ),
    ]
}

fn claims() -> Cases {
    let exp = |exp: &str| token(HEADER, format!(r#"{{"sub":"alice","exp":{exp}}}"#));
    let sub = |sub: &str| token(HEADER, format!(r#"{{"exp":1800000060,"sub":{sub}}}"#));
    let rule = r#"{"rooms":"a","can":["join"]}"#;
    let rules = format!(r#""grants":[{}]"#, vec![rule; 33].join(","));
    let long = format!(r#""grants":[{{"rooms":"{}","can":[]}}]"#, "x".repeat(257));
    let star = r#"{"sub":"*","exp":1800000060,"grants":[{"rooms":"u:{user}","can":["join"]}]}"#;
    vec![
        ("no end", token(HEADER, r#"{"sub":"alice"}"#), "claims"),
        ("a null end", exp("null"), "claims"),
        ("an end that is a string", exp(r#""1800000060""#), "claims"),
        ("an end that is a list", exp("[1800000060]"), "claims"),
        ("an end that is true", exp("true"), "claims"),
        ("an end before time", exp("-1"), "claims"),
        ("an end in milliseconds", exp("1800000060000"), "claims"),
        ("an end that never comes", exp("1e300"), "claims"),
        ("an end beyond all numbers", exp("1e999"), "malformed"),
        ("ended long ago", exp("0"), "expired"),
        (
            "ended as long ago as clocks may differ",
            exp("1799999990"),
            "expired",
        ),
        (
            "begins later than clocks may differ",
            with(r#""nbf":1800000011"#),
            "not_yet",
        ),
        (
            "a beginning that is a string",
            with(r#""nbf":"0""#),
            "claims",
        ),
        ("a beginning that is null", with(r#""nbf":null"#), "claims"),
        (
            "made at a time that is a string",
            with(r#""iat":"0""#),
            "claims",
        ),
        ("no user", token(HEADER, r#"{"exp":1800000060}"#), "claims"),
        ("an empty user", sub(r#""""#), "claims"),
        ("a user that is a number", sub("1"), "claims"),
        (
            "a user of 201 bytes",
            sub(&format!(r#""{}""#, "x".repeat(201))),
            "claims",
        ),
        ("a user with a line break", sub(r#""a\nb""#), "claims"),
        (
            "a user with half a character",
            sub(r#""\ud800""#),
            "malformed",
        ),
        (
            "an issuer that is a list",
            with(r#""iss":["me"]"#),
            "claims",
        ),
        ("an audience that is a number", with(r#""aud":1"#), "claims"),
        (
            "an audience that is an object",
            with(r#""aud":{"a":"b"}"#),
            "claims",
        ),
        (
            "an audience that nobody set",
            with(r#""aud":"roomcast""#),
            "audience",
        ),
        ("rooms that are a string", with(r#""rooms":"a""#), "claims"),
        ("rooms that are numbers", with(r#""rooms":[1]"#), "claims"),
        ("33 grants", with(&rules), "grants"),
        ("a long pattern", with(&long), "grants"),
        (
            "a grant of nothing known",
            with(r#""grants":[{"rooms":"a","can":["rule"]}]"#),
            "grants",
        ),
        (
            "a grant with a condition",
            with(r#""grants":[{"rooms":"a","can":[],"if":1}]"#),
            "grants",
        ),
        ("grants that are null", with(r#""grants":null"#), "grants"),
        ("a user who is every user", token(HEADER, star), "grants"),
    ]
}

#[test]
fn hostile_tokens_are_refused_for_their_cause() {
    let verifier = verifier([hs256()]);
    let cases = [headers(), forms(), claims()].concat();
    for (name, token, label) in &cases {
        match verify(&verifier, token) {
            Ok(claims) => panic!("{name}: accepted, {claims:?}"),
            Err(error) => {
                assert_eq!(error.label(), *label, "{name}: {error}");
                let text = format!("{error} {error:?}");
                let tells = |part: &str| part.len() > 8 && text.contains(part);
                assert!(!token.split('.').any(tells), "{name}: {text}");
                assert!(text.len() < 1000, "{name}: {} bytes", text.len());
            }
        }
    }
    assert!(cases.len() > 90, "{} cases", cases.len());
}

/// Old attacks on one algorithm by means of another.
#[test]
fn the_algorithm_is_that_of_the_key() {
    let public = [P256_PUB, ED25519_PUB, RSA_PUB];
    let keys = if cfg!(feature = "rsa") { 3 } else { 2 };
    let verifier = verifier(public[..keys].iter().map(|text| key(text)));
    for text in public {
        for secret in [text, text.trim()] {
            let parts = signed(HEADER, CLAIMS);
            let token = format!("{parts}.{}", base64(hmac(secret, &parts)));
            let refused = verify(&verifier, &token).map(drop);
            assert!(
                matches!(refused, Err(TokenError::NoKey { .. })),
                "{refused:?}"
            );
        }
    }
    let jwk = format!(r#"{{"kty":"oct","kid":"k","k":"{}"}}"#, base64(SECRET));
    let verifier = crate::forge::verifier([key(&jwk)]);
    for said in ["ES256", "EdDSA", "RS256"] {
        let refused = verify(
            &verifier,
            &token(format!(r#"{{"alg":"{said}","kid":"k"}}"#), CLAIMS),
        );
        let refused = refused.map(drop);
        assert!(
            matches!(refused, Err(TokenError::OtherAlgorithm { .. })),
            "{refused:?}"
        );
    }
    assert!(verify(&verifier, &header(r#""kid":"k""#)).is_ok());
    assert!(verify(&verifier, &token(HEADER, CLAIMS)).is_ok());
}

#[test]
fn elliptic_signatures_have_one_form() {
    let verifier = verifier([key(P256_PUB), key(ED25519_PUB)]);
    for text in [P256, ED25519] {
        let sound = signing(text).sign_json(CLAIMS);
        assert!(verify(&verifier, &sound).is_ok());
        let (parts, _) = sound.rsplit_once('.').expect("parts");
        let one = [[0; 31].as_slice(), &[1]].concat();
        for forged in [
            vec![0; 64],                 // r = s = 0: once accepted by Java
            [one.clone(), one].concat(), // r = s = 1
            vec![0xff; 64],              // over the order
            vec![],
            vec![0; 63],
            vec![0; 65],
            [&[0x30, 0x06, 0x02, 0x01, 1, 0x02, 0x01, 1][..], &[0; 56]].concat(), // DER
        ] {
            let token = format!("{parts}.{}", base64(&forged));
            let refused = verify(&verifier, &token).map(drop);
            assert_eq!(refused, Err(TokenError::Signature), "{forged:?}");
        }
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
    assert!(claims.grants.allow(Action::Join, "u:alice:1"));
    assert!(!claims.grants.allow(Action::Publish, "u:alice:1"));
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
    // A monotonic clock at its end.
    let time = Timestamp::from_millis(u64::MAX);
    let claims = verifier.verify(&token, &KeySet::default(), Now { time, ..NOW });
    assert_eq!(claims.map(|claims| claims.deadline), Ok(time));
}

#[test]
fn issuer_and_audience_must_fit_when_configured() {
    let verifier = verifier([hs256()]).with_issuer("me").with_audience("rooms");
    for (claims, label) in [
        (r#""iss":"me","aud":"rooms""#, "ok"),
        (r#""iss":"me","aud":["other","rooms"]"#, "ok"),
        (r#""aud":"rooms""#, "claims"),
        (r#""iss":"me""#, "claims"),
        (r#""iss":null,"aud":"rooms""#, "claims"),
        (r#""iss":"Me","aud":"rooms""#, "issuer"),
        (r#""iss":"me ","aud":"rooms""#, "issuer"),
        (r#""iss":["me"],"aud":"rooms""#, "claims"),
        (r#""iss":"me","aud":"Rooms""#, "audience"),
        (r#""iss":"me","aud":[]"#, "audience"),
        (r#""iss":"me","aud":["other"]"#, "audience"),
        (r#""iss":"me","aud":["rooms",1]"#, "claims"),
        (r#""iss":"me","aud":null"#, "claims"),
        (r#""iss":"me","aud":{"0":"rooms"}"#, "claims"),
    ] {
        let found = verify(&verifier, &with(claims)).map(drop);
        let found = found.as_ref().map_or_else(TokenError::label, |()| "ok");
        assert_eq!(found, label, "{claims}");
    }
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
