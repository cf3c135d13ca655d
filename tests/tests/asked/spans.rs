//! Spans of calls and of requests to backends, as a collector of OpenTelemetry gets them.

use std::{io::Write, net::TcpStream};

use serde_json::Value;

use super::{Asked, KEY, Questions, asked, backend, client, config, connect, serve};
use crate::process::child::Process;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A span: its ids, its parent's, its kind, its name, whether it failed, and its attributes.
#[derive(Debug)]
struct Span {
    trace: String,
    id: String,
    parent: Option<String>,
    kind: u64,
    name: String,
    is_failed: bool,
    attributes: Vec<(String, String)>,
    /// The trace that it is linked to.
    link: Option<String>,
}

impl Span {
    fn attribute(&self, key: &str) -> &str {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

/// Takes the spans of the next request to the collector, and answers it.
fn exported(collector: &Questions, status: u16, answer: &str) -> Vec<Span> {
    let request = asked(collector);
    let spans = spans(&request.question);
    request.answer(status, answer);
    spans
}

fn spans(request: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let number = |value: &Value| -> u128 { text(value).parse().expect("a number") };
    let resource = &request["resourceSpans"][0];
    let name = &resource["resource"]["attributes"][0];
    assert_eq!(
        *name,
        serde_json::json!({"key": "service.name", "value": {"stringValue": "roomcast"}})
    );
    let rows = resource["scopeSpans"][0]["spans"]
        .as_array()
        .expect("spans");
    let read = |row: &Value| {
        assert!(number(&row["startTimeUnixNano"]) <= number(&row["endTimeUnixNano"]));
        let attributes = row["attributes"].as_array().expect("attributes").iter();
        let value = |value: &Value| {
            let value = value.as_object().and_then(|value| value.values().next());
            text(value.expect("a value"))
        };
        Span {
            trace: text(&row["traceId"]),
            id: text(&row["spanId"]),
            parent: row.get("parentSpanId").map(text),
            kind: row["kind"].as_u64().expect("a kind"),
            name: text(&row["name"]),
            is_failed: row["status"]["code"] == 2,
            attributes: attributes
                .map(|it| (text(&it["key"]), value(&it["value"])))
                .collect(),
            link: row.get("links").map(|links| text(&links[0]["traceId"])),
        }
    };
    rows.iter().map(read).collect()
}

/// A call of the API with these fields.
fn call(server: &Process, line: &str, fields: &[&str]) -> u16 {
    let host = &server.authority;
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    server.request(&request).expect("an answer")
}

fn collector() -> (String, Questions) {
    let (url, spans) = backend();
    let (url, _) = url.split_once("/ask").expect("the path of a backend");
    (url.to_owned(), spans)
}

/// The ids of the `traceparent` of a request to a backend.
fn carried(asked: &Asked) -> (String, String) {
    let line = asked
        .head
        .lines()
        .find_map(|line| line.strip_prefix("traceparent: 00-"));
    let line = line.expect("a trace");
    let (trace, rest) = line.split_once('-').expect("a trace");
    let (span, flags) = rest.split_once('-').expect("a span");
    assert_eq!(flags, "01");
    (trace.to_owned(), span.to_owned())
}

#[test]
fn a_call_is_a_span_of_the_trace_that_it_came_with() {
    let (url, collector) = collector();
    let headers = ["--otlp-headers", "x-team=chat,authorization=Bearer secret"];
    let key = ["--api-key", "k", "--otlp-endpoint", &*url];
    let mut server = Process::start(&[&key[..], &headers].concat());
    let rooms = "GET /api/v1/default/connections?user=hidden";
    let with_key = "Authorization: Bearer k";
    // Flag 00 says that the caller does not record its trace.
    for flag in ["00", "01"] {
        let trace = format!("traceparent: 00-{TRACE}-{PARENT}-{flag}");
        assert_eq!(call(&server, rooms, &[with_key, &trace]), 200);
    }
    let first = asked(&collector);
    assert!(
        first.head.starts_with("post /v1/traces http/1.1"),
        "{}",
        first.head
    );
    assert!(first.head.contains("x-team: chat") && first.head.contains("bearer secret"));
    assert!(
        !first.question.to_string().contains("hidden"),
        "{}",
        first.question
    );
    let [span] = &spans(&first.question)[..] else {
        panic!("{}", first.question);
    };
    assert_eq!(
        (&*span.trace, span.parent.as_deref()),
        (TRACE, Some(PARENT))
    );
    assert_eq!(
        (&*span.name, span.kind),
        ("GET /api/v1/{namespace}/connections", 2)
    );
    assert_eq!(
        span.attribute("http.route"),
        "/api/v1/{namespace}/connections"
    );
    assert_eq!(span.attribute("http.response.status_code"), "200");
    // A busy collector gets the spans again.
    let id = span.id.clone();
    first.answer(503, "");
    let again = exported(
        &collector,
        200,
        r#"{"partialSuccess":{"rejectedSpans":"1"}}"#,
    );
    assert_eq!(again[0].id, id);
    server.logged("spans cannot be exported: status 503");
    server.logged("the collector took a part of the spans alone");

    assert_eq!(
        call(&server, "GET /api/v1/default/nothing", &[with_key]),
        404
    );
    let [refused] = &exported(&collector, 200, "{}")[..] else {
        panic!("one span");
    };
    assert_eq!((&*refused.name, refused.parent.as_deref()), ("GET", None));
    assert_eq!(refused.attribute("roomcast.error"), "not_found");
    assert!(!refused.is_failed, "the server did its work");
    assert_eq!(
        call(&server, "INVENTED /api/v1/default/rooms", &[with_key]),
        405
    );
    let [invented] = &exported(&collector, 200, "{}")[..] else {
        panic!("one span");
    };
    assert_eq!(invented.name, "HTTP /api/v1/{namespace}/rooms");
    assert_eq!(invented.attribute("http.request.method"), "_OTHER");
}

#[test]
fn what_ends_last_is_exported_before_the_server_ends() {
    let (url, collector) = collector();
    let mut server = Process::start(&["--otlp-endpoint", &url]);
    assert_eq!(call(&server, "GET /api/v1/default/rooms", &[]), 200);
    server.signal("TERM");
    assert_eq!(exported(&collector, 200, "{}").len(), 1);
    assert!(server.ended().success());
}

#[test]
fn a_backend_gets_the_trace_of_its_request() {
    let (url, collector) = collector();
    let ((ask_url, questions), (hook_url, told)) = (backend(), backend());
    let hooks = format!(
        "[[hooks]]\ntell = \"{hook_url}\"\nkeys = [\"{KEY}\"]\nevents = [\"room.occupied\"]\n"
    );
    let folder = config(&ask_url, &hooks);
    let server = serve(&folder, &["--otlp-endpoint", &url]);
    let mut peer = std::thread::scope(|scope| {
        let client = scope.spawn(|| client(&server, "abc"));
        let question = asked(&questions);
        let (trace, span) = carried(&question);
        question.allow("ann", &["join"]);
        let [asked] = &exported(&collector, 200, "{}")[..] else {
            panic!("one span");
        };
        assert_eq!((&asked.trace, &asked.id), (&trace, &span));
        assert_eq!(
            (&*asked.name, asked.kind, asked.is_failed),
            ("ask", 3, false)
        );
        let shown = asked.attribute("url.full");
        assert!(
            ask_url.starts_with(shown) && !shown.contains("secret"),
            "{shown}"
        );
        client.join().expect("it is in")
    });
    peer.say(r#"{"event":"$join","id":1,"room":"lobby"}"#);
    let event = asked(&told);
    let (trace, span) = carried(&event);
    event.answer(500, "");
    let [failed] = &exported(&collector, 200, "{}")[..] else {
        panic!("one span");
    };
    assert_eq!((&failed.trace, &failed.id), (&trace, &span));
    assert_eq!((&*failed.name, failed.is_failed), ("tell", true));
    assert_eq!(failed.attribute("error.type"), "500");

    // A trace named by a client becomes a link only.
    let trace = format!("traceparent: 00-{TRACE}-{PARENT}-00");
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| connect(&server, &["Cookie: session=none", &trace]));
        let question = asked(&questions);
        let (own, _) = carried(&question);
        question.answer(401, "");
        assert_eq!(refused.join().expect("an answer").0, 401);
        let [linked] = &exported(&collector, 200, "{}")[..] else {
            panic!("one span");
        };
        assert_eq!(
            (&*linked.trace, linked.link.as_deref()),
            (&*own, Some(TRACE))
        );
        assert_ne!(own, TRACE);
    });
}

#[test]
fn a_stranger_has_nothing_recorded() {
    let (url, collector) = collector();
    let flags = ["--api-key", "k", "--otlp-sample-percent", "0"];
    let server = Process::start(&[&["--otlp-endpoint", &*url][..], &flags].concat());
    let trace = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let rooms = "GET /api/v1/default/rooms";
    assert_eq!(call(&server, rooms, &[&trace]), 401);
    let wrong = "Authorization: Bearer wrong";
    assert_eq!(call(&server, rooms, &[&trace, wrong]), 401);
    assert_eq!(connect(&server, &[&trace]).0, 101);
    let key = "Authorization: Bearer k";
    assert_eq!(call(&server, rooms, &[&trace, key]), 200);
    let [known] = &exported(&collector, 200, "{}")[..] else {
        panic!("the last one alone");
    };
    assert_eq!(known.attribute("http.response.status_code"), "200");
    assert_eq!(known.parent.as_deref(), Some(PARENT));
}

#[test]
fn a_call_whose_client_goes_away_leaves_its_span() {
    let (url, collector) = collector();
    let server = Process::start(&["--otlp-endpoint", &url]);
    let mut stream = TcpStream::connect(&server.authority).expect("a server");
    let head = format!(
        "POST /api/v1/default/send HTTP/1.1\r\nHost: {}\r\nContent-Length: 99\r\n\r\n{{",
        server.authority
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    drop(stream);
    let [cut] = &exported(&collector, 200, "{}")[..] else {
        panic!("one span");
    };
    assert_eq!(cut.name, "POST /api/v1/{namespace}/send");
    let ended = [cut.attribute("roomcast.error"), cut.attribute("error.type")];
    assert!(ended.iter().any(|end| !end.is_empty()), "{cut:?}");
}
