//! Requests of any call.

use roomcast_core::{ErrorCode, wire::Coded};
use roomcast_http::Response;

use crate::namespace::{Namespace, id};

#[test]
fn a_namespace_that_is_not_there_is_as_if_empty() {
    let mut namespace = Namespace::gone(0);
    let body = r#"{"audience":{"all":true},"event":"said"}"#;
    let nobody = r#"{"matched":0,"queued":0,"dropped":0}"#;
    assert_eq!(namespace.told("POST /api/v1/ns/send", body), nobody);
    assert_eq!(
        namespace.told("GET /api/v1/ns/rooms", ""),
        r#"{"rooms":[]}"#
    );
    assert_eq!(namespace.told("GET /api/v1/ns/rooms/a", ""), "not_found");
    assert_eq!(
        namespace.told("PUT /api/v1/ns/rooms/a/members/0", ""),
        "not_found"
    );
    let none = r#"{"disconnected":0}"#;
    assert_eq!(
        namespace.told("DELETE /api/v1/ns/connections?user=a", ""),
        none
    );
    let key: &[_] = &[("idempotency-key", "k")];
    let refused = namespace.answer("POST /api/v1/ns/send", key, body);
    assert_eq!(refused.expect_err("no place").code(), ErrorCode::Overloaded);
    namespace.permits = 1;
    let sent = namespace.answer("POST /api/v1/ns/send", key, body);
    assert_eq!(sent.expect("sent").status, 200);
    assert!(namespace.app.is_some(), "the key is remembered");
}

#[test]
fn what_is_wrong_is_said() {
    let mut namespace = Namespace::with(1);
    for (request, code) in [
        ("GET /api/", "not_found"),
        ("GET /api/v2/ns/rooms", "not_found"),
        ("GET /api/v1/other/rooms", "not_found"),
        ("GET /api/v1/ns", "not_found"),
        ("GET /api/v1/ns/rooms/", "bad_room"),
        ("GET /api/v1/ns/rooms/%ff", "bad_request"),
        ("GET /api/v1/ns/rooms/50%", "bad_request"),
        ("GET /api/v1/ns/rooms/a%2", "bad_request"),
        ("GET /api/v1/ns/rooms/%zz/members", "bad_request"),
        ("GET /api/v1/ns/rooms?prefix=50%", "bad_request"),
        ("GET /api/v1/ns/room?room=a%2Gb", "bad_request"),
        ("GET /api/v1/ns/rooms/%00", "bad_room"),
        ("GET /api/v1/ns/rooms?limit=0", "bad_request"),
        ("GET /api/v1/ns/rooms?limit=1001", "bad_request"),
        ("HEAD /api/v1/ns/send", "method_not_allowed"),
        ("HEAD /api/v1/ns/rooms/a/members/0", "method_not_allowed"),
        ("POST /api/v1/ns/rooms", "method_not_allowed"),
        ("GET /api/v1/ns/room", "bad_request"),
        ("GET /api/v1/ns/room?room=", "bad_room"),
        ("GET /api/v1/ns/room?room=%FF", "bad_request"),
        ("GET /api/v1/ns/room?room=a&room=b", "bad_request"),
        ("GET /api/v1/ns/room?room=nobody", "not_found"),
        ("GET /api/v1/ns/room/nothing?room=a", "not_found"),
        ("PUT /api/v1/ns/room?room=a", "method_not_allowed"),
        ("PUT /api/v1/ns/room/members/0", "bad_request"),
        ("GET /api/v1/ns/send", "method_not_allowed"),
        ("POST /api/v1/ns/rooms/a/members/0", "method_not_allowed"),
        ("PUT /api/v1/ns/rooms/a/members/x", "not_found"),
        ("GET /api/v1/ns/connections?after=x", "bad_request"),
        ("PUT /api/v1/ns/connections", "method_not_allowed"),
        ("DELETE /api/v1/ns/connections", "bad_request"),
        (
            "DELETE /api/v1/ns/connections?user=a&code=1002",
            "bad_request",
        ),
        ("PATCH /api/v1/ns/connections/0", "method_not_allowed"),
        ("GET /api/v1/ns/connections/9", "not_found"),
    ] {
        assert_eq!(namespace.told(request, ""), code, "{request}");
    }
    let reason = "r".repeat(124);
    let request = format!("DELETE /api/v1/ns/connections/0?reason={reason}");
    assert_eq!(namespace.told(&request, ""), "bad_request");
}

#[test]
fn head_is_get_wherever_get_is() {
    let mut namespace = Namespace::with(1);
    let a = id(&namespace, 0);
    namespace.told(&format!("PUT /api/v1/ns/rooms/a/members/{a}"), "");
    for path in [
        "rooms",
        "rooms/a",
        "room?room=a",
        "connections",
        "rooms/a/members",
        "rooms/a/history",
        "rooms/none",
        "rooms?limit=x",
    ] {
        let mut told = |method| namespace.told(&format!("{method} /api/v1/ns/{path}"), "");
        assert_eq!(told("HEAD"), told("GET"), "{path}");
    }
}

#[test]
fn parameters_that_a_call_does_not_know_are_refused_by_name() {
    let mut namespace = Namespace::with(1);
    let body = r#"{"audience":{"all":true},"event":"said"}"#;
    for request in [
        "POST /api/v1/ns/send?x=1",
        "GET /api/v1/ns/rooms?x=1",
        "GET /api/v1/ns/rooms/a?x",
        "GET /api/v1/ns/room?room=a&x",
        "GET /api/v1/ns/room?x=a",
        "GET /api/v1/ns/room?limit=1",
        "GET /api/v1/ns/room/members?before=1",
        "GET /api/v1/ns/room/history?x=1",
        "PUT /api/v1/ns/room/members/0?x=a",
        "GET /api/v1/ns/rooms/a?x&limit=1",
        "GET /api/v1/ns/rooms/a/members?before=1&x=1",
        "GET /api/v1/ns/rooms/a/history?x=1",
        "PUT /api/v1/ns/rooms/a/members/0?x=1",
        "DELETE /api/v1/ns/rooms/a/members/0?x=1",
        "GET /api/v1/ns/connections?x=1",
        "DELETE /api/v1/ns/connections?user=a&x=1",
        "GET /api/v1/ns/connections/0?x=1",
        "DELETE /api/v1/ns/connections/0?x=1",
    ] {
        let refused = namespace.answer(request, &[], body).expect_err(request);
        assert_eq!(refused.code(), ErrorCode::BadRequest, "{request}");
        let text = Response::from(refused).body.into_owned();
        let text = String::from_utf8(text).expect("JSON");
        let named = ["`x`", "`before`", "`limit`"]
            .iter()
            .any(|name| text.contains(name));
        assert!(named, "{request}: {text}");
    }
}

#[test]
fn numbers_in_a_query_are_digits() {
    let mut namespace = Namespace::with(1);
    for sign in ["%2B5", "+5", "%205", "5%20", "-5", ""] {
        for call in [
            "GET /api/v1/ns/rooms?limit=",
            "GET /api/v1/ns/connections?limit=",
            "GET /api/v1/ns/connections?after=",
            "GET /api/v1/ns/rooms/a/members?limit=",
            "GET /api/v1/ns/rooms/a/history?limit=",
            "GET /api/v1/ns/rooms/a/history?after=",
            "GET /api/v1/ns/rooms/a/history?before=",
        ] {
            let request = format!("{call}{sign}");
            assert_eq!(namespace.told(&request, ""), "bad_request", "{request}");
        }
    }
    for name in ["after", "before"] {
        for large in ["18446744073709551616", "99999999999999999999999"] {
            let request = format!("GET /api/v1/ns/rooms/a/history?{name}={large}");
            let refused = namespace.answer(&request, &[], "").expect_err(name);
            let text = Response::from(refused).body.into_owned();
            let text = String::from_utf8(text).expect("JSON");
            let says = format!("{name} must be an offset: 0 to 18446744073709551615");
            assert!(text.contains(&says), "{text}");
        }
    }
    let code = "DELETE /api/v1/ns/connections?user=a&code=%2B4000";
    assert_eq!(namespace.told(code, ""), "bad_request");
}
