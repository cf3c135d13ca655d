use alloc::format;

use super::*;
use crate::{
    problem::Reason,
    request::{Request, tests::get},
};

const SECRET: &str = "hs256:a secret of at least thirty-two bytes";
const PUBLIC: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"a,{b","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn on() -> Tokens {
    Tokens {
        keys: keys(SECRET).expect("a key"),
        ..Tokens::default()
    }
}

#[test]
fn keys_are_secrets_texts_and_files() {
    let read = keys(&format!("{SECRET}, {PUBLIC} ,/run/key.pem")).expect("three keys");
    assert_eq!(read.len(), 3);
    let files: Vec<_> = read.iter().map(TokenKey::file).collect();
    assert_eq!(files, [None, None, Some("/run/key.pem")]);
    assert_eq!(read[0].clone(), read[0]);
    assert_ne!(read[0], read[1]);
    for bad in ["", "hs256:short", "{}", "-----BEGIN", "a,,b"] {
        assert!(keys(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn no_text_of_a_key_is_printed() {
    let mut tokens = on();
    tokens
        .keys
        .extend(keys("s3cret-without-a-prefix").expect("a file"));
    let shown = format!("{tokens:?}");
    assert!(
        !shown.contains("thirty-two") && !shown.contains("s3cret"),
        "{shown}"
    );
    let fault = tokens
        .read_files(|_| Err("no such file"))
        .expect_err("no file");
    let said = fault.to_string();
    assert!(said.contains("key 2") && said.contains("hs256:"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn files_are_read_again_and_a_broken_one_is_told_of() {
    let mut tokens = on();
    tokens.keys = keys("key.jwk").expect("a file");
    assert!(tokens.check().is_ok() && tokens.verifier().is_err());
    let before = tokens.clone();
    tokens
        .read_files(|_| Ok::<_, &str>(PUBLIC.into()))
        .expect("a key");
    assert!(tokens.verifier().is_ok() && tokens != before);
    let good = tokens.clone();
    let broken = tokens.read_files(|_| Ok::<_, &str>("nothing".into()));
    assert!(broken.is_err());
    assert_eq!(tokens, good);
}

#[test]
fn anonymous_is_off_once_there_is_a_key() {
    assert!(Tokens::default().lets_anonymous_in() && !Tokens::default().is_on());
    assert!(!on().lets_anonymous_in());
    let mut open = on();
    open.anonymous = Some(true);
    assert!(open.lets_anonymous_in() && open.is_on());
    let closed = Tokens {
        anonymous: Some(false),
        ..Tokens::default()
    };
    assert!(closed.is_on() && !closed.lets_anonymous_in());
    let issuer = Tokens {
        issuer: Some("me".into()),
        ..Tokens::default()
    };
    assert!(issuer.check().is_err());
}

#[test]
fn grants_for_anyone_are_warned_of_where_anonymous_clients_are_refused() {
    let grants = |text: &str| serde_json::from_str(text).expect("grants");
    let news = grants(
        r#"[{"for":"users","rooms":"org:a*","can":["join"]},
            {"for":"anyone","rooms":"news","can":["join"]}]"#,
    );
    let warnings = on().grant_warnings(&news);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("org:a*"), "{warnings:?}");
    let begin = r#"the rule for "news" is for "anyone", and clients without a token are refused"#;
    assert!(warnings[1].starts_with(begin), "{warnings:?}");
    assert_eq!(Tokens::default().grant_warnings(&news).len(), 1);
    let users = grants(r#"[{"for":"users","rooms":"news","can":["join"]}]"#);
    assert!(on().grant_warnings(&users).is_empty());
}

#[test]
fn keys_are_refreshed_no_more_often_than_they_are_fetched() {
    let mut tokens = on();
    tokens.jwks_pace.refresh = tokens.jwks_pace.interval;
    assert_eq!(tokens.check(), Ok(()));
    tokens.jwks_pace.interval += core::time::Duration::from_millis(1);
    let fault = tokens.check().expect_err("too often").to_string();
    assert!(
        fault.starts_with("ROOMCAST_JWKS_REFRESH_MS must be at least"),
        "{fault}"
    );
}

#[test]
fn a_token_has_three_ways_in_and_two_tokens_are_refused() {
    let bearer = ("authorization", "bEARER a.b.c");
    let offered = ("sec-websocket-protocol", "roomcast.v1, bearer.a.b.c");
    let token = Ok(Credentials::Token("a.b.c".into()));
    let unidentified = Ok(Credentials::Unidentified);
    let several = Err(TokenRefusal::Several);
    for (headers, query, expected) in [
        (&[][..], "", &unidentified),
        (&[bearer], "", &token),
        (&[offered], "", &token),
        (&[], "x=1&token=a.b.c", &token),
        (&[], "token=a%2Eb.c", &token),
        (&[bearer, offered], "token=a.b.c", &token),
        (&[bearer], "token=a.b.d", &several),
        (&[offered], "token=", &several),
        (&[], "token=a&token=b", &several),
        (&[bearer, ("authorization", "Bearer x")], "", &several),
        (&[("authorization", "Basic eDp5")], "", &unidentified),
        (
            &[("sec-websocket-protocol", "roomcast.v1")],
            "",
            &unidentified,
        ),
    ] {
        let request = Request {
            query,
            ..get("/ws", headers)
        };
        assert_eq!(on().credentials(&request), *expected, "{headers:?} {query}");
        let off = Tokens::default().credentials(&request);
        assert_eq!(off, Ok(Credentials::Anonymous), "{headers:?} {query}");
    }
    let shown = format!("{token:?}");
    assert!(!shown.contains("a.b.c"), "{shown}");
}

#[test]
fn each_cause_has_a_reason_of_its_own() {
    use roomcast_token::TokenError;
    let of = |error| TokenRefusal::Invalid(error).reason();
    assert_eq!(of(TokenError::Shape), Reason::TokenMalformed);
    assert_eq!(of(TokenError::Signature), Reason::TokenSignature);
    assert_eq!(of(TokenError::Expired { ago_s: 1 }), Reason::TokenExpired);
    assert_eq!(of(TokenError::AudienceUnset), Reason::TokenAudience);
}
