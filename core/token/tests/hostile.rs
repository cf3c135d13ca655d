//! Tokens that must be refused, and the rules that refuse them.

use std::time::Duration;

use roomcast_core::Timestamp;
use roomcast_core::policy::Right;
use roomcast_token::{Key, KeySet, Now, TokenError};

use crate::forge::{
    CLAIMS, ED25519, ED25519_PUB, HEADER, NOW, P256, P256_PUB, RSA_PUB, SECRET, base64, hmac,
    hs256, key, signed, signing, token, verifier, verify,
};

/// Refused tokens, each with its name.
type Cases = Vec<(&'static str, String)>;

/// A token with the sound header, and a claim added to the sound ones.
fn with(members: &str) -> String {
    let claims = format!(r#"{{"sub":"alice","exp":1800000060,{members}}}"#);
    token(HEADER, claims)
}

/// A token with the sound claims, and members added to the header.
fn header(members: &str) -> String {
    token(format!(r#"{{"alg":"HS256",{members}}}"#), CLAIMS)
}

fn of_other_algorithms() -> Cases {
    let unsigned = |alg: &str| format!("{}.", signed(format!(r#"{{"alg":"{alg}"}}"#), CLAIMS));
    let said = |alg: &str| token(format!(r#"{{"alg":"{alg}"}}"#), CLAIMS);
    vec![
        ("none, unsigned", unsigned("none")),
        ("none, signed", said("none")),
        ("none in capitals", unsigned("NONE")),
        ("none in mixed case", unsigned("nOnE")),
        ("no name", said("")),
        ("lower case", said("hs256")),
        ("a space", said("HS256 ")),
        ("a longer hash", said("HS512")),
        ("no algorithm", token("{}", CLAIMS)),
    ]
}

fn of_other_keys() -> Cases {
    let said = |alg: &str| token(format!(r#"{{"alg":"{alg}"}}"#), CLAIMS);
    vec![
        ("another algorithm", said("ES256")),
        ("another algorithm with two names", said("Ed25519")),
    ]
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

fn with_bad_headers() -> Cases {
    let long = format!(r#""kid":"{}""#, "k".repeat(257));
    vec![
        ("a number", token(r#"{"alg":256}"#, CLAIMS)),
        ("a list", token(r#"{"alg":["HS256"]}"#, CLAIMS)),
        ("its own key", header(r#""jwk":{"kty":"oct","k":"AAAA"}"#)),
        ("a URL of keys", header(r#""jku":"https://evil.example/""#)),
        (
            "a URL of a certificate",
            header(r#""x5u":"https://evil.example/""#),
        ),
        (
            "critical extensions",
            header(r#""crit":["b64"],"b64":false"#),
        ),
        ("no critical extension", header(r#""crit":[]"#)),
        ("a null URL", header(r#""jku":null"#)),
        ("a key that is a number", header(r#""kid":1"#)),
        ("a key that is null", header(r#""kid":null"#)),
        ("a long key", header(&long)),
    ]
}

fn malformed() -> Cases {
    let sound = token(HEADER, CLAIMS);
    let (parts, signature) = sound.rsplit_once('.').expect("parts");
    let (head, claims) = parts.split_once('.').expect("parts");
    // 32 bytes leave two bits in the last character, which must be zero.
    let (start, last) = signature.split_at(signature.len() - 1);
    let twin = char::from(last.as_bytes()[0] + 1);
    let long = format!(r#""x":"{}""#, "x".repeat(6100));
    vec![
        ("nothing", String::new()),
        ("a word", "token".into()),
        ("two parts", parts.into()),
        ("four parts", format!("{sound}.{signature}")),
        ("five parts", format!("{sound}.{signature}.{signature}")),
        ("empty parts", "..".into()),
        ("over 8 KiB", with(&long)),
        ("a megabyte", "a".repeat(1 << 20)),
        ("padding", format!("{sound}=")),
        (
            "padding in the header",
            format!("{head}=.{claims}.{signature}"),
        ),
        ("plain base64", format!("{parts}.+/{}", &signature[2..])),
        ("a line break", format!("{sound}\n")),
        ("a space", format!(" {sound}")),
        ("a prefix", format!("Bearer {sound}")),
        ("a letter beyond ASCII", format!("{sound}\u{e9}")),
        ("a NUL", format!("{sound}\0")),
        ("a second spelling", format!("{parts}.{start}{twin}")),
    ]
}

fn with_bad_json() -> Cases {
    let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(3000), "]".repeat(3000));
    let twice = r#"{"alg":"none","alg":"HS256"}"#;
    let escaped = r#"{"alg":"HS256","\u0061lg":"none"}"#;
    vec![
        ("a header that is a list", token("[]", CLAIMS)),
        ("a header that is a string", token(r#""HS256""#, CLAIMS)),
        ("a header that is no JSON", token("alg=HS256", CLAIMS)),
        (
            "a header with more behind it",
            token(format!("{HEADER}{{}}"), CLAIMS),
        ),
        ("an empty header", token("", CLAIMS)),
        ("two algorithms", token(twice, CLAIMS)),
        ("two algorithms, one escaped", token(escaped, CLAIMS)),
        ("claims that are a list", token(HEADER, "[]")),
        ("claims that are no JSON", token(HEADER, "sub=alice")),
        (
            "claims that are no text",
            token(HEADER, b"{\"sub\":\"\xff\"}"),
        ),
        ("claims that are empty", token(HEADER, "")),
        ("claims that are deep", token(HEADER, nested)),
        ("a claim twice", with(r#""exp":1900000000"#)),
        ("a claim twice, escaped", with(r#""e\u0078p":1900000000"#)),
        (
            "a claim twice, inside",
            with(r#""meta":{"a":[{"b":1,"b":2}]}"#),
        ),
        ("a number beyond all", with(r#""nbf":1e999"#)),
        ("half a character", with(r#""meta":"\ud800""#)),
    ]
}

fn with_bad_signatures() -> Cases {
    let sound = token(HEADER, CLAIMS);
    let (parts, signature) = sound.rsplit_once('.').expect("parts");
    let other = signed(HEADER, r#"{"sub":"root","exp":1800000060}"#);
    let by = |secret: &str| format!("{parts}.{}", base64(hmac(secret, parts)));
    vec![
        ("none", format!("{parts}.")),
        ("half of one", format!("{parts}.{}", &signature[..20])),
        ("a longer one", format!("{sound}AAAA")),
        ("zeros", format!("{parts}.{}", base64([0; 32]))),
        ("that of other claims", format!("{other}.{signature}")),
        ("that of another secret", by("other")),
        ("that of an empty secret", by("")),
    ]
}

fn with_bad_times() -> Cases {
    let exp = |exp: &str| token(HEADER, format!(r#"{{"sub":"alice","exp":{exp}}}"#));
    vec![
        ("no end", token(HEADER, r#"{"sub":"alice"}"#)),
        ("a null end", exp("null")),
        ("an end that is a string", exp(r#""1800000060""#)),
        ("an end that is a list", exp("[1800000060]")),
        ("an end that is true", exp("true")),
        ("an end before time", exp("-1")),
        ("an end in milliseconds", exp("1800000060000")),
        ("an end that never comes", exp("1e300")),
        ("a beginning that is a string", with(r#""nbf":"0""#)),
        ("a beginning that is null", with(r#""nbf":null"#)),
        ("made at a string", with(r#""iat":"0""#)),
    ]
}

fn with_bad_claims() -> Cases {
    let sub = |sub: &str| token(HEADER, format!(r#"{{"exp":1800000060,"sub":{sub}}}"#));
    let long = format!(r#""{}""#, "x".repeat(201));
    vec![
        ("no user", token(HEADER, r#"{"exp":1800000060}"#)),
        ("an empty user", sub(r#""""#)),
        ("a user that is a number", sub("1")),
        ("a user of 201 bytes", sub(&long)),
        ("a user with a line break", sub(r#""a\nb""#)),
        ("an issuer that is a list", with(r#""iss":["me"]"#)),
        ("an audience that is a number", with(r#""aud":1"#)),
        ("an audience that is an object", with(r#""aud":{"a":"b"}"#)),
        ("rooms that are a string", with(r#""rooms":"a""#)),
        ("rooms that are numbers", with(r#""rooms":[1]"#)),
    ]
}

fn with_bad_grants() -> Cases {
    let rule = r#"{"rooms":"a","can":["join"]}"#;
    let many = format!(r#""grants":[{}]"#, vec![rule; 33].join(","));
    let long = format!(r#""grants":[{{"rooms":"{}","can":[]}}]"#, "x".repeat(257));
    let star = r#"{"sub":"*","exp":1800000060,"grants":[{"rooms":"u:{user}","can":["join"]}]}"#;
    vec![
        ("33 rules", with(&many)),
        ("a long pattern", with(&long)),
        (
            "nothing known",
            with(r#""grants":[{"rooms":"a","can":["rule"]}]"#),
        ),
        (
            "a condition",
            with(r#""grants":[{"rooms":"a","can":[],"if":1}]"#),
        ),
        ("null", with(r#""grants":null"#)),
        ("for a user who is every user", token(HEADER, star)),
    ]
}

#[test]
fn hostile_tokens_are_refused_for_their_cause() {
    let verifier = verifier([hs256()]);
    let exp = |exp: u64| token(HEADER, format!(r#"{{"sub":"alice","exp":{exp}}}"#));
    let mut count = 0;
    for (label, cases) in [
        ("algorithm", of_other_algorithms()),
        ("unknown_key", of_other_keys()),
        ("header", with_bad_headers()),
        ("malformed", malformed()),
        ("malformed", with_bad_json()),
        ("signature", with_bad_signatures()),
        ("claims", with_bad_times()),
        ("claims", with_bad_claims()),
        ("grants", with_bad_grants()),
        (
            "expired",
            vec![
                ("long ago", exp(0)),
                ("as clocks may differ", exp(1_799_999_990)),
            ],
        ),
        (
            "not_yet",
            vec![("later than clocks may differ", with(r#""nbf":1800000011"#))],
        ),
        (
            "audience",
            vec![("that nobody set", with(r#""aud":"roomcast""#))],
        ),
    ] {
        count += cases.len();
        for (name, token) in cases {
            let error = match verify(&verifier, &token) {
                Ok(claims) => panic!("{label}, {name}: accepted, {claims:?}"),
                Err(error) => error,
            };
            assert_eq!(error.label(), label, "{name}: {error}");
            let text = format!("{error} {error:?}");
            let tells = |part: &str| part.len() > 8 && text.contains(part);
            assert!(!token.split('.').any(tells), "{name}: {text}");
            assert!(text.len() < 1000, "{name}: {} bytes", text.len());
        }
    }
    assert!(count > 90, "{count} cases");
}

/// Old attacks on one algorithm by means of another.
#[test]
fn the_algorithm_is_that_of_the_key() {
    let public = [P256_PUB, ED25519_PUB, RSA_PUB];
    let keys = if cfg!(feature = "rs256") { 3 } else { 2 };
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
    let others = ["ES256", "EdDSA", "RS256"];
    for said in &others[..keys] {
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
