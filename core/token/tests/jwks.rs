//! Published keys: when they are fetched, and what becomes of them.

use std::time::Duration;

use roomcast_core::Timestamp;
use roomcast_token::{
    FetchError, FetchPace, JsonError, Jwks, KeyError, KeySet, KeySetError, Missing, Poll,
};

use crate::forge::{CLAIMS, NOW, P256, SECRET, base64, signing, verifier, verify};

const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

/// A set with keys of these ids.
fn set(ids: &[&str]) -> Vec<u8> {
    let keys: Vec<String> = ids
        .iter()
        .map(|id| jwk(&format!(r#","kid":"{id}""#)))
        .collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes()
}

fn jwk(members: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{members}}}"#)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn ids(jwks: &Jwks) -> Vec<&str> {
    jwks.keys().keys().filter_map(|key| key.id()).collect()
}

/// Fetched at the second 100.
fn fetched(ids: &[&str]) -> Jwks {
    let mut jwks = Jwks::default();
    assert_eq!(jwks.poll(at(100)), Poll::Fetch);
    assert!(jwks.received(at(100), 200, &set(ids)).is_ok());
    jwks
}

#[test]
fn a_thousand_unknown_ids_are_one_fetch() {
    let mut jwks = fetched(&["a"]);
    let mut fetches = 0;
    for number in 0..1000 {
        let now = at(130) + Duration::from_millis(number);
        assert_eq!(
            jwks.missing(now, &format!("unknown {number}")),
            Missing::Wait
        );
        fetches += u64::from(jwks.poll(now) == Poll::Fetch);
    }
    assert_eq!(fetches, 1);
    assert!(jwks.received(at(131), 200, &set(&["a"])).is_ok());
    for number in 0..1000 {
        let kid = format!("unknown {number}");
        assert_eq!(jwks.missing(at(132), &kid), Missing::Unknown);
        assert_eq!(jwks.poll(at(132)), Poll::WaitUntil(at(131 + 3600)));
    }
    assert_eq!(ids(&jwks), ["a"], "no miss drives a key out");
}

#[test]
fn fetches_begin_thirty_seconds_apart_whatever_comes() {
    let mut jwks = fetched(&["a"]);
    let mut fetches = Vec::new();
    for second in 100..400 {
        // Another id each time, of which no answer knows.
        let _ = jwks.missing(at(second), &format!("{second}"));
        if jwks.poll(at(second)) == Poll::Fetch {
            fetches.push(second);
            if second % 2 == 0 {
                assert!(jwks.received(at(second), 200, &set(&["a"])).is_ok());
            } else {
                jwks.failed(at(second));
            }
        }
    }
    assert!(
        fetches.windows(2).all(|pair| pair[1] - pair[0] >= 30),
        "{fetches:?}"
    );
    assert!(fetches.len() <= 10, "{fetches:?}");
}

#[test]
fn a_new_key_is_found_at_its_first_token() {
    let mut jwks = fetched(&["a"]);
    assert_eq!(jwks.missing(at(150), "b"), Missing::Wait);
    assert_eq!(jwks.poll(at(150)), Poll::Fetch);
    assert_eq!(
        jwks.missing(at(150), "b"),
        Missing::Wait,
        "of the fetch that runs"
    );
    assert_eq!(
        jwks.poll(at(150)),
        Poll::WaitUntil(at(151)),
        "single flight"
    );
    assert_eq!(ids(&jwks), ["a"], "known keys serve meanwhile");
    assert!(jwks.received(at(151), 200, &set(&["b"])).is_ok());
    assert_eq!(ids(&jwks), ["b"], "and an old one is gone with its set");
}

#[test]
fn an_unknown_id_is_remembered_for_five_minutes() {
    let mut jwks = fetched(&["a"]);
    assert_eq!(jwks.missing(at(150), "b"), Missing::Wait);
    assert_eq!(jwks.poll(at(150)), Poll::Fetch);
    assert!(jwks.received(at(150), 200, &set(&["a"])).is_ok());
    for second in [151, 185, 449] {
        assert_eq!(
            jwks.missing(at(second), "b"),
            Missing::Unknown,
            "at {second}"
        );
    }
    assert_eq!(jwks.missing(at(450), "b"), Missing::Wait);
    // The set of another fetch is believed more than the memory.
    assert_eq!(jwks.poll(at(450)), Poll::Fetch);
    assert!(jwks.received(at(450), 200, &set(&["a"])).is_ok());
    assert_eq!(jwks.missing(at(481), "c"), Missing::Wait);
    assert_eq!(jwks.poll(at(481)), Poll::Fetch);
    assert!(jwks.received(at(481), 200, &set(&["a", "b"])).is_ok());
    assert_eq!(ids(&jwks), ["a", "b"]);
}

#[test]
fn no_more_than_128_unknown_ids_are_remembered() {
    let mut jwks = fetched(&["a"]);
    for round in 0..2u64 {
        let now = at(150 + 30 * round);
        for number in 0..100 {
            assert_eq!(
                jwks.missing(now, &format!("{round} {number}")),
                Missing::Wait
            );
        }
        assert_eq!(jwks.poll(now), Poll::Fetch);
        assert!(jwks.received(now, 200, &set(&["a"])).is_ok());
    }
    let count = |round: u64| {
        let mut jwks = jwks.clone(); // asking changes it
        let ids = (0..100).map(|number| format!("{round} {number}"));
        let unknown = ids.filter(|id| jwks.missing(at(215), id) == Missing::Unknown);
        unknown.count()
    };
    assert_eq!(
        (count(0), count(1)),
        (28, 100),
        "the oldest are forgotten first"
    );
}

#[test]
fn keys_are_fetched_each_hour_and_stay_when_that_fails() {
    let mut jwks = fetched(&["a"]);
    assert_eq!(jwks.poll(at(200)), Poll::WaitUntil(at(3700)));
    assert_eq!(jwks.poll(at(3700)), Poll::Fetch);
    jwks.failed(at(3701));
    assert_eq!(ids(&jwks), ["a"]);
    assert_eq!(jwks.poll(at(3701)), Poll::WaitUntil(at(3730)), "soon again");
    assert_eq!(jwks.poll(at(3730)), Poll::Fetch);
    for (status, body, error) in [
        (302, &b""[..], FetchError::Redirect { status: 302 }),
        (404, b"", FetchError::Status { status: 404 }),
        (204, b"", FetchError::Status { status: 204 }),
        (
            200,
            b"",
            FetchError::Keys(KeySetError::Json(JsonError::Syntax)),
        ),
        (
            200,
            b"<html>",
            FetchError::Keys(KeySetError::Json(JsonError::Syntax)),
        ),
        (200, b"{}", FetchError::Keys(KeySetError::NoList)),
        (
            200,
            br#"{"keys":{}}"#,
            FetchError::Keys(KeySetError::NoList),
        ),
        (
            200,
            br#"{"keys":[]}"#,
            FetchError::Keys(KeySetError::Empty { first: None }),
        ),
        (200, &[b' '; 65_537], FetchError::Keys(KeySetError::Length)),
        (
            200,
            &[b'['; 65_536],
            FetchError::Keys(KeySetError::Json(JsonError::Syntax)),
        ),
    ] {
        let received = jwks.received(at(3731), status, body).map(drop);
        assert_eq!(received, Err(error));
        assert_eq!(ids(&jwks), ["a"]);
    }
}

#[test]
fn the_pace_is_the_one_that_is_set() {
    let seconds = Duration::from_secs;
    let pace = |interval, refresh| FetchPace {
        interval: seconds(interval),
        refresh: seconds(refresh),
    };
    let mut jwks = Jwks::new(pace(5, 60));
    assert_eq!(jwks.poll(at(100)), Poll::Fetch);
    assert!(jwks.received(at(100), 200, &set(&["a"])).is_ok());
    assert_eq!(jwks.poll(at(100)), Poll::WaitUntil(at(160)));
    assert_eq!(jwks.missing(at(104), "b"), Missing::Unknown);
    assert_eq!(jwks.missing(at(105), "b"), Missing::Wait);
    jwks.set_pace(pace(7, 70));
    assert_eq!(jwks.poll(at(105)), Poll::Fetch);
    jwks.failed(at(106));
    assert_eq!(jwks.poll(at(106)), Poll::WaitUntil(at(112)));
    let kept = Jwks::restore(pace(5, 60), at(0), &set(&["a"]), seconds(3));
    let mut kept = kept.expect("a set");
    assert_eq!(kept.missing(at(1), "b"), Missing::Unknown);
    assert_eq!(kept.missing(at(2), "b"), Missing::Wait);
    // Shorter than a fetch may take: still one at a time.
    let mut quick = Jwks::new(FetchPace {
        interval: Duration::from_millis(100),
        refresh: seconds(60),
    });
    assert_eq!(quick.poll(at(0)), Poll::Fetch);
    let soon = at(0) + Duration::from_millis(500);
    assert_eq!(quick.missing(soon, "a"), Missing::Wait);
    assert_eq!(quick.poll(soon), Poll::WaitUntil(at(1)));
}

#[test]
fn a_fetch_that_never_ends_is_given_up() {
    let mut jwks = Jwks::default();
    assert_eq!(jwks.poll(at(0)), Poll::Fetch);
    assert_eq!(jwks.missing(at(0), "a"), Missing::Wait);
    assert_eq!(jwks.poll(at(0)), Poll::WaitUntil(at(1)));
    assert_eq!(jwks.poll(at(1)), Poll::WaitUntil(at(30)));
    assert_eq!(
        jwks.missing(at(2), "a"),
        Missing::Unavailable,
        "a token may be sound"
    );
    assert_eq!(jwks.poll(at(30)), Poll::Fetch);
    assert!(jwks.received(at(30), 200, &set(&["b"])).is_ok());
    assert_eq!(jwks.missing(at(31), "a"), Missing::Unknown);
}

#[test]
fn kept_keys_serve_at_once_and_age() {
    let pace = FetchPace::default();
    let restore = |age| Jwks::restore(pace, at(0), &set(&["a"]), Duration::from_secs(age));
    let mut young = restore(5).expect("a set");
    assert_eq!(ids(&young), ["a"]);
    assert_eq!(young.poll(at(0)), Poll::WaitUntil(at(3595)));
    assert_eq!(young.missing(at(24), "b"), Missing::Unknown);
    assert_eq!(young.missing(at(25), "b"), Missing::Wait);
    assert_eq!(young.poll(at(25)), Poll::Fetch);
    let mut old = restore(100_000).expect("a set");
    assert_eq!(old.poll(at(0)), Poll::Fetch);
    assert!(Jwks::restore(pace, at(0), b"{}", Duration::ZERO).is_err());
}

#[test]
fn keys_that_cannot_be_used_are_ignored() {
    let secret = format!(r#"{{"kty":"oct","kid":"s","k":"{}"}}"#, base64(SECRET));
    let keys = [
        jwk(r#","kid":"enc","use":"enc""#),
        jwk(r#","kid":"other","alg":"ES512""#),
        jwk(r#","kid":"good","use":"sig","x5c":["AAAA"],"x5t":"a""#),
        r#"{"kty":"AKP","kid":"new","alg":"ML-DSA-44","pub":"AAAA"}"#.to_owned(),
        r#"{"kty":"EC","crv":"P-521","kid":"p521"}"#.to_owned(),
        r#"{"kty":"RSA","kid":"small","n":"AQAB","e":"AQAB"}"#.to_owned(),
        secret.clone(),
        "1".to_owned(),
        "null".to_owned(),
    ];
    let text = |keys: &[String]| format!(r#"{{"keys":[{}],"more":1}}"#, keys.join(","));
    let read = KeySet::read(text(&keys).as_bytes()).expect("one of them is good");
    let ids: Vec<_> = read.keys().map(|key| key.id()).collect();
    assert_eq!(ids, [Some("good")]);
    let first = KeyError::Use { member: "use" };
    assert_eq!(read.ignored(), Some((8, &first)));
    let first = Some(KeyError::PublishedSecret);
    assert_eq!(
        KeySet::read(text(&[secret]).as_bytes()).map(drop),
        Err(KeySetError::Empty { first })
    );
}

#[test]
fn tokens_are_verified_with_published_keys() {
    let private = |kid: &str| {
        let d = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
        signing(&jwk(&format!(r#"{kid},"d":"{d}""#)))
    };
    let (named, nameless) = (private(r#","kid":"a""#), private(""));
    let none = verifier([]);
    let check = |ids: &[&str], token: &str| {
        let jwks = fetched(ids);
        none.verify(token, jwks.keys(), NOW).map(drop)
    };
    let token = named.sign_json(CLAIMS);
    assert_eq!(check(&["b", "a"], &token), Ok(()));
    let label = |result: Result<(), roomcast_token::TokenError>| result.map_err(|e| e.label());
    assert_eq!(label(check(&["b"], &token)), Err("unknown_key"));
    // Without a name only if there is no choice.
    let token = nameless.sign_json(CLAIMS);
    assert_eq!(check(&["b"], &token), Ok(()));
    assert_eq!(label(check(&["a", "b"], &token)), Err("unknown_key"));
    // A configured key without an id does not hide that the id is unknown.
    let own = verifier([signing(P256).key()]);
    let refused = verify(&own, &named.sign_json(CLAIMS)).map(drop);
    assert_eq!(label(refused), Err("unknown_key"));
}
