//! Calls that send.

use roomcast_core::{ErrorCode, wire::Coded};
use roomcast_http::Response;

use crate::namespace::Namespace;

#[test]
fn sends_are_counted_and_remembered() {
    let mut namespace = Namespace::with(3);
    let body = r#"{"audience":{"users":["ann"]},"event":"said","data":{"n":1}}"#;
    let send = "POST /api/v1/ns/send";
    let delivery = r#"{"matched":2,"queued":2,"dropped":0}"#;
    assert_eq!(namespace.told(send, body), delivery);
    let key: &[_] = &[("idempotency-key", "k")];
    let first = namespace.answer(send, key, body).expect("sent");
    namespace.told("DELETE /api/v1/ns/connections?user=ann", "");
    assert_eq!(namespace.answer(send, key, body), Ok(first));
    let other = body.replace('1', "2");
    let refused = namespace
        .answer(send, key, &other)
        .expect_err("another message");
    assert_eq!(refused.code(), ErrorCode::KeyReused);
    for bad in ["", "\u{e9}", &"k".repeat(129)] {
        let refused = namespace.answer(send, &[("idempotency-key", bad)], body);
        let code = refused.expect_err(bad).code();
        assert_eq!(code, ErrorCode::BadRequest, "{bad:?}");
    }
}

#[test]
fn one_key_and_a_plain_body_are_asked_for() {
    let mut namespace = Namespace::with(1);
    let body = r#"{"audience":{"all":true},"event":"said"}"#;
    let send = "POST /api/v1/ns/send";
    let key = ("idempotency-key", "k");
    // Several are joined by commas at the edge.
    for keys in [
        &[key, key][..],
        &[key, ("idempotency-key", "l")],
        &[("idempotency-key", "k, l")],
    ] {
        let refused = namespace
            .answer(send, keys, body)
            .expect_err("several keys");
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{keys:?}");
    }
    for encoding in ["gzip", "br", "x", "identity, gzip", "GZIP"] {
        let refused = namespace.answer(send, &[("content-encoding", encoding)], body);
        let refused = Response::from(refused.expect_err(encoding));
        assert_eq!(refused.status, 415, "{encoding}");
        assert!(refused.headers.contains(&("accept-encoding", "identity")));
    }
    for encoding in ["identity", "Identity"] {
        let sent = namespace.answer(send, &[("content-encoding", encoding)], body);
        assert_eq!(sent.expect(encoding).status, 200);
    }
}

#[test]
fn a_body_is_one_object_that_names_an_audience_and_an_event() {
    let mut namespace = Namespace::with(1);
    for (body, code) in [
        ("", "bad_request"),
        ("[]", "bad_request"),
        (r#"[{"all":true},"said"]"#, "bad_request"),
        (r#"{"audience":[true],"event":"said"}"#, "bad_request"),
        (
            r#"{"audience":{"room":["a"]},"event":"said"}"#,
            "bad_request",
        ),
        (r#"{"audience":{"all":true}}"#, "bad_request"),
        (
            r#"{"audience":{"all":true},"event":"said","x":1}"#,
            "bad_request",
        ),
        (r#"{"audience":{"all":true},"event":"$x"}"#, "bad_request"),
        (r#"{"audience":{"rooms":[""]},"event":"said"}"#, "bad_room"),
        (
            r#"{"audience":{"all":true},"event":"e","data":"\ud800"}"#,
            "bad_payload",
        ),
    ] {
        assert_eq!(namespace.told("POST /api/v1/ns/send", body), code, "{body}");
    }
}
