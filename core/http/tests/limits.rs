//! Limits over HTTP: a problem that names a limit has it in its details, and no other has details.

use std::borrow::Cow;

use roomcast_core::{
    JoinError, Limits, RoomName, SendError, ask::AskError, gateway::ConnectError, hub::Refusal,
    room::PageError,
};
use roomcast_http::{Access, ApiRequest, Headers, Problem, Request, Response};

struct Key<'a>(Option<&'a str>);

impl Headers for Key<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let key = self.0.filter(|_| name == "idempotency-key");
        key.into_iter().map(Cow::Borrowed)
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.iter().map(|_| "idempotency-key".into())
    }
}

/// The end of the body of a problem, from its code on.
fn end(problem: impl Into<Problem>) -> String {
    let response = Response::from(problem.into());
    let body = String::from_utf8(response.body.into_owned()).expect("JSON");
    let (_, end) = body.split_once(r#","code":"#).expect("a code");
    end.to_owned()
}

/// The end of what a request is answered that is refused before it is run.
fn refused(request: &str, key: Option<&str>) -> String {
    let (method, target) = request.split_once(' ').expect("METHOD TARGET");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = Key(key);
    let request = Request {
        method,
        path,
        query,
        headers,
        local: true,
        other_user: false,
        loopback_listener: false,
        http_1_0: false,
        admin_elsewhere: false,
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    end(read.expect_err("a limit is passed"))
}

#[test]
fn requests_over_a_limit() {
    let room = "r".repeat(201);
    for (request, key, expected) in [
        (
            "GET /api/v1/a/rooms?limit=1001",
            None,
            r#""bad_request","details":{"limit":1000}}"#,
        ),
        (
            &format!("GET /api/v1/a/rooms/{room}"),
            None,
            r#""bad_room","details":{"limit":200}}"#,
        ),
        (
            &format!("DELETE /api/v1/a/connections/1?reason={}", "r".repeat(124)),
            None,
            r#""bad_request","details":{"limit":123}}"#,
        ),
        (
            "POST /api/v1/a/send",
            Some(&*"k".repeat(129)),
            r#""bad_request","details":{"limit":128}}"#,
        ),
        ("GET /api/v1/a/rooms?limti=1", None, r#""bad_request"}"#),
        ("GET /api/v1/a/nothing", None, r#""not_found"}"#),
    ] {
        assert_eq!(refused(request, key), expected, "{request}");
    }
    let body = Problem::BodyTooLarge(1 << 20);
    assert_eq!(end(body), r#""too_large","details":{"limit":1048576}}"#);
}

#[test]
fn errors_of_the_hub() {
    let limit = 128;
    assert_eq!(
        end(AskError::from(JoinError::RoomLimit { limit })),
        r#""room_limit","details":{"limit":128}}"#
    );
    assert_eq!(
        end(AskError::TooManyNamespaces { limit }),
        r#""overloaded","details":{"limit":128}}"#
    );
    assert_eq!(
        end(AskError::from(SendError::Key)),
        r#""bad_request","details":{"limit":128}}"#
    );
    assert_eq!(
        end(AskError::from(SendError::KeyReused)),
        r#""key_reused"}"#
    );
    assert_eq!(end(PageError::NoHistory), r#""forbidden"}"#);
    let name = RoomName::check("", 9).expect_err("no name");
    assert_eq!(end(name), r#""bad_room","details":{"limit":9}}"#);
}

#[test]
fn a_full_server_says_its_limit_both_ways() {
    for (problem, limit) in [
        (Problem::Connections(7), 7),
        (Problem::ConnectionsPerAddress(8), 8),
        (Problem::ConnectionsPerUser(6), 6),
        (Problem::ConnectionsPerNamespace(9), 9),
        (Problem::Namespaces(10), 10),
    ] {
        let told = format!(r#","details":{{"limit":{limit}}}}}"#);
        let frame = problem.frame();
        let head = r#"{"event":"$error","error":{"code":"overloaded","message":"too many "#;
        assert!(frame.starts_with(head), "{frame}");
        assert!(frame.ends_with(&format!("{told}}}")), "{frame}");
        assert_eq!(end(problem), format!(r#""overloaded"{told}"#));
    }
    let exhausted = Problem::from(ConnectError::from(Refusal::Exhausted));
    assert!(!exhausted.to_string().contains("CONNECTIONS_MAX"));
    assert_eq!(end(exhausted), r#""overloaded"}"#);
}
