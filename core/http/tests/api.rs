//! The HTTP API on a bare hub: this request, exactly this answer.

#![allow(clippy::wildcard_enum_match_arm)] // any other result is unexpected

use std::{borrow::Cow, collections::BTreeMap};

use roomcast_core::{
    App, Applied, Config, ConnId, ErrorCode, Handshake, Hub, Input, Limits, Outbox, Policies,
    Timestamp,
    ask::{AskError, Asked},
};
use roomcast_http::{Access, ApiCall, ApiRequest, Headers, Problem, Request, Response};

const NOW: Timestamp = Timestamp::from_millis(7);

struct Fields<'a>(&'a [(&'static str, &'a str)]);

impl Headers for Fields<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let values = self.0.iter().filter(move |(other, _)| *other == name);
        values.map(|&(_, value)| value.into())
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.iter().map(|&(name, _)| name.into())
    }
}

/// A namespace that comes and goes as on a server with many of them.
struct Namespace {
    app: Option<App<()>>,
    permits: usize,
    out: Outbox,
}

/// An empty namespace, of times that begin a second after 1970.
fn empty(policies: Policies) -> App<()> {
    let config = Config::new("e").with_unix_zero_ms(1000);
    App::new(config.with_policies(policies), ())
}

impl Namespace {
    fn with(connections: usize) -> Self {
        let mut namespace = Self::gone(0);
        namespace.app = Some(empty(Policies::default()));
        for at in 0..connections {
            let user = if at % 2 == 0 { "ann" } else { "bob" };
            namespace.connect(Handshake::new().with_user(user));
        }
        namespace
    }

    fn gone(permits: usize) -> Self {
        let (app, out) = (None, Outbox::new());
        Self { app, permits, out }
    }

    fn connect(&mut self, handshake: Handshake) -> ConnId {
        match self.apply(&Input::Connect(handshake)) {
            Applied::Connected(Ok(conn)) => conn,
            refused => panic!("{refused:?}"),
        }
    }

    fn answer(
        &mut self,
        request: &str,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> Result<Response, Problem> {
        let (method, target) = request.split_once(' ').expect("METHOD TARGET");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request {
            method,
            path,
            query,
            headers: Fields(headers),
            local: true,
            loopback_listener: false,
            http_1_0: false,
        };
        let mut access = Access::default();
        assert_eq!(access.route(&request).err(), None);
        access.namespaces = Some(vec!["ns".to_owned()]);
        let call = match ApiRequest::read(&request, &access, &Limits::default())? {
            ApiRequest::Call(call) => call,
            ApiRequest::Send(head) => {
                assert_eq!(head.namespace(), "ns");
                head.with_body(body.as_bytes())?
            }
        };
        assert_eq!(call.namespace(), "ns");
        let call = may_travel(call);
        if self.app.is_none() && call.ask().is_remembered(&Policies::default()) {
            if self.permits == 0 {
                return Err(AskError::TooManyNamespaces { limit: 0 }.into());
            }
            self.app = Some(empty(Policies::default()));
        }
        Ok(call.run(NOW, self)?.into())
    }

    /// The body of a good answer, or the code of a problem.
    fn told(&mut self, request: &str, body: &str) -> String {
        match self.answer(request, &[], body) {
            Ok(response) => {
                assert_eq!(response.status, 200);
                assert_eq!(response.headers, [("content-type", "application/json")]);
                String::from_utf8(response.body.into_owned()).expect("JSON")
            }
            Err(problem) => problem.code().as_str().to_owned(),
        }
    }
}

fn may_travel<T: Send + 'static>(value: T) -> T {
    value
}

impl Asked for Namespace {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        match &self.app {
            Some(app) => question(app.hub()),
            None => question(empty(Policies::default()).hub()),
        }
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        let mut nobody = empty(Policies::default());
        let app = self.app.as_mut().unwrap_or(&mut nobody);
        app.apply(NOW, input, &mut self.out)
    }
}

/// The id as text of the connection that came at this place.
fn id(namespace: &Namespace, at: usize) -> String {
    let ids = namespace.hub(|hub| {
        let mut ids: Vec<_> = hub.connections().map(|conn| conn.id).collect();
        ids.sort_unstable();
        ids
    });
    ids[at].to_string()
}

#[test]
fn connections_are_joined_listed_and_removed() {
    let mut namespace = Namespace::with(3);
    let ids = [0, 1, 2].map(|at| id(&namespace, at));
    let [a, b, c] = &ids;
    let path = |conn| format!("/api/v1/ns/rooms/chat%2F7/members/{conn}");
    let joined = r#"{"epoch":"e","offset":0,"already":false}"#;
    assert_eq!(namespace.told(&format!("PUT {}", path(b)), ""), joined);
    let again = r#"{"epoch":"e","offset":0,"already":true}"#;
    assert_eq!(namespace.told(&format!("PUT {}", path(b)), ""), again);
    let room = r#"{"room":"chat/7","members":1,"epoch":"e","offset":0}"#;
    assert_eq!(namespace.told("GET /api/v1/ns/rooms/chat%2F7", ""), room);
    let one = |conn, user, rooms| {
        format!(
            r#"{{"conn":"{conn}","user":"{user}","rooms":[{rooms}],"since_ms":1007,"queued_bytes":0}}"#
        )
    };
    let (first, second) = (one(a, "ann", ""), one(b, "bob", r#""chat/7""#));
    assert_eq!(
        namespace.told("GET /api/v1/ns/connections?limit=2", ""),
        format!(r#"{{"connections":[{first},{second}],"next":"{b}"}}"#)
    );
    assert_eq!(
        namespace.told(
            &format!("GET /api/v1/ns/connections?after={a}&user=ann"),
            ""
        ),
        format!(r#"{{"connections":[{}]}}"#, one(c, "ann", ""))
    );
    let path_of_b = format!("GET /api/v1/ns/connections/{b}");
    assert_eq!(namespace.told(&path_of_b, ""), second);
    let delete = format!("DELETE {}", path(b));
    assert_eq!(namespace.told(&delete, ""), r#"{"was":true}"#);
    assert_eq!(namespace.told(&delete, ""), r#"{"was":false}"#);
    let gone = r#"{"disconnected":2}"#;
    assert_eq!(
        namespace.told("DELETE /api/v1/ns/connections?user=ann", ""),
        gone
    );
    let remove = format!("DELETE /api/v1/ns/connections/{b}?code=4000&reason=bye");
    assert_eq!(namespace.told(&remove, ""), r#"{"disconnected":1}"#);
    assert_eq!(namespace.told(&remove, ""), "not_found");
}

#[test]
fn rooms_come_in_pages() {
    let mut namespace = Namespace::with(1);
    let a = id(&namespace, 0);
    for room in ["a1", "a2", "a3", "b"] {
        namespace.told(&format!("PUT /api/v1/ns/rooms/{room}/members/{a}"), "");
    }
    let names = |page: String| {
        let page: BTreeMap<String, serde_json::Value> = serde_json::from_str(&page).expect("JSON");
        let rooms = page["rooms"].as_array().expect("a list").iter();
        let rooms: Vec<_> = rooms.map(|room| room["room"].to_string()).collect();
        (rooms.join(","), page.get("next").map(ToString::to_string))
    };
    let page = names(namespace.told("GET /api/v1/ns/rooms?prefix=a&limit=2", ""));
    assert_eq!(page, (r#""a1","a2""#.into(), Some(r#""a2""#.into())));
    let page = names(namespace.told("GET /api/v1/ns/rooms?prefix=a&limit=2&after=a2", ""));
    assert_eq!(page, (r#""a3""#.into(), None));
}

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

/// Proxies and browsers take dots out of a path, and read its percent signs.
#[test]
fn a_room_of_any_name_is_named_in_the_query() {
    let mut namespace = Namespace::with(1);
    let a = id(&namespace, 0);
    for (query, json) in [
        (".", "."),
        ("..", ".."),
        ("a/b", "a/b"),
        ("a%2Fb%2F", "a/b/"),
        ("/", "/"),
        ("//", "//"),
        ("../../connections", "../../connections"),
        ("%252F", "%2F"),
        ("a+b%20c", "a b c"),
        ("a%2Bb%26c%3Fd%23e", "a+b&c?d#e"),
        ("%C3%A9", "é"),
        ("members", "members"),
        ("lobby", "lobby"),
    ] {
        let member = format!("/api/v1/ns/room/members/{a}?room={query}");
        let joined = r#"{"epoch":"e","offset":0,"already":false}"#;
        assert_eq!(
            namespace.told(&format!("PUT {member}"), ""),
            joined,
            "{query}"
        );
        let room = format!(r#"{{"room":"{json}","members":1,"epoch":"e","offset":0}}"#);
        let one = format!("GET /api/v1/ns/room?room={query}");
        assert_eq!(namespace.told(&one, ""), room, "{query}");
        let rooms = format!(r#"{{"rooms":[{room}]}}"#);
        assert_eq!(namespace.told("GET /api/v1/ns/rooms", ""), rooms);
        for page in ["members", "history"] {
            let page = format!("GET /api/v1/ns/room/{page}?room={query}&limit=1");
            assert_eq!(namespace.told(&page, ""), "forbidden", "{page}");
        }
        let left = r#"{"was":true}"#;
        assert_eq!(
            namespace.told(&format!("DELETE {member}"), ""),
            left,
            "{query}"
        );
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

#[test]
fn queue_sizes_can_be_filled_in_later() {
    let mut namespace = Namespace::with(2);
    let headers = Fields(&[]);
    let request = Request {
        method: "GET",
        path: "/api/v1/ns/connections",
        query: "",
        headers,
        local: true,
        loopback_listener: false,
        http_1_0: false,
    };
    let read = ApiRequest::read(&request, &Access::default(), &Limits::default());
    let Ok(ApiRequest::Call(call)) = read else {
        panic!("{read:?}");
    };
    let call: ApiCall = call;
    let mut answer = call.run(NOW, &mut namespace).expect("a list");
    let (second, stranger): (ConnId, _) = (id(&namespace, 1).parse().expect("an id"), "123456789");
    answer.set_queued_bytes(second, 4711);
    answer.set_queued_bytes(stranger.parse().expect("an id"), 9);
    let body = Response::from(answer).body.into_owned();
    let body = String::from_utf8(body).expect("JSON");
    assert!(body.contains(r#""queued_bytes":0},"#), "{body}");
    assert!(body.ends_with(r#""queued_bytes":4711}]}"#), "{body}");
}

#[test]
fn members_and_history_of_a_room() {
    let policies = r#"{"rooms":[{"match":"den","history":{"messages":300},"presence":"members"},
                                {"match":"hall","presence":"counts"}]}"#;
    let policies = serde_json::from_str(policies).expect("policies");
    let mut namespace = Namespace::with(0);
    namespace.app = Some(empty(policies));
    let mut joins = |handshake, room: &str| {
        let (conn, room, meta) = (namespace.connect(handshake), room.into(), None);
        let joined = namespace.apply(&Input::Join { conn, room, meta });
        assert_eq!(joined, Applied::Joined(Ok(false)));
    };
    joins(Handshake::new().with_user("ann"), "den");
    joins(Handshake::new(), "den");
    joins(Handshake::new(), "hall");
    let send = r#"{"audience":{"rooms":["den"]},"event":"said","data":[ 1 ]}"#;
    for (request, body, expected) in [
        (
            "POST /api/v1/ns/send",
            send,
            r#"{"matched":2,"queued":2,"dropped":0,"offset":1}"#,
        ),
        (
            "POST /api/v1/ns/send",
            send,
            r#"{"matched":2,"queued":2,"dropped":0,"offset":2}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/history?after=0&limit=1",
            "",
            r#"{"epoch":"e.1","offset":2,"messages":[{"event":"said","room":"den","offset":1,"data":[ 1 ]}],"first":1}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/history?limit=1",
            "",
            r#"{"epoch":"e.1","offset":2,"messages":[{"event":"said","room":"den","offset":2,"data":[ 1 ]}],"first":1}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/members?limit=1",
            "",
            r#"{"members":[{"user":"ann","conns":1}],"users":2,"conns":2,"next":"uann"}"#,
        ),
        (
            "GET /api/v1/ns/rooms/den/members?after=uann",
            "",
            r#"{"members":[{"user":"","conn":"1048577","conns":1}],"users":2,"conns":2}"#,
        ),
        (
            "GET /api/v1/ns/rooms/hall/members",
            "",
            r#"{"members":[],"users":1,"conns":1,"listed":false}"#,
        ),
        ("GET /api/v1/ns/rooms/hall/history", "", "forbidden"),
        ("GET /api/v1/ns/rooms/other/members", "", "not_found"),
        (
            "GET /api/v1/ns/rooms/den/members?after=x",
            "",
            "bad_request",
        ),
        (
            "GET /api/v1/ns/rooms/den/history?after=x",
            "",
            "bad_request",
        ),
        ("PUT /api/v1/ns/rooms/den/history", "", "method_not_allowed"),
    ] {
        assert_eq!(namespace.told(request, body), expected, "{request}");
    }
}
