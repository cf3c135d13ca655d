//! HTTP requests: who may connect, and the calls of the API.

use std::borrow::Cow;

use roomcast_core::{
    App, Applied, Config, Handshake, Hub, Input, Limits, Outbox, Timestamp, ask::Asked, wire::Coded,
};
use roomcast_http::{
    Access, ApiRequest, Headers, Problem, Readiness, RefusalNotices, Request, Response, Route,
    ServerFacts, Upgrade, is_namespace, policies_from_toml,
};
use serde::de::IgnoredAny;

const KEY: &str = "a-key-of-32-letters-and-no-more-";

/// Header fields as they came.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [(String, &'a str)]);

impl Headers for Fields<'_> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>> {
        let fields = self.0.iter().filter(move |(other, _)| *other == name);
        fields.map(|(_, value)| Cow::Borrowed(*value))
    }

    fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0.iter().map(|(name, _)| Cow::Borrowed(&**name))
    }
}

/// Answers a request in HTTP/1.1 form as servers with each kind of access do, for a client on the
/// same machine and for a remote one.
///
/// # Panics
///
/// If a client without the key is admitted, or a name that is not valid; if a refusal is not JSON
/// or has the status of a success; if a log entry has several lines.
pub fn upgrade(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let head_end = text.find("\n\n").unwrap_or(text.len());
    let (head, body) = text.split_at(head_end);
    let body = body.strip_prefix("\n\n").unwrap_or_default();
    let mut lines = head.split('\n');
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, target, version) = (word(), word(), word());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.trim()));
    let fields: Vec<_> = fields.collect();
    for access in accesses() {
        for (local, loopback_listener) in [(true, true), (true, false), (false, false)] {
            let request = Request {
                method,
                path,
                query,
                headers: Fields(&fields),
                local,
                other_user: false,
                loopback_listener,
                http_1_0: version == "HTTP/1.0",
                admin_elsewhere: false,
            };
            let response = match answer(&access, &request, body) {
                Ok(response) => response,
                Err(problem) => refusal(problem, &request),
            };
            assert!((100..600).contains(&response.status), "{response:?}");
        }
    }
}

/// Servers of three kinds: for this machine, with a key, and open to some.
fn accesses() -> [Access; 3] {
    let mut keyed = Access::default();
    keyed.api_keys = vec![KEY.parse().expect("a key")];
    keyed.page = false;
    keyed.metrics = false;
    let mut open = Access::default();
    let origins = ["https://*.example.com", "http://localhost:5173"];
    open.allow_origins = origins.map(|rule| rule.parse().expect("a rule")).into();
    open.allow_hosts = vec!["chat.example".parse().expect("a rule")];
    open.namespaces = Some(vec!["default".into(), "red".into()]);
    [Access::default(), keyed, open]
}

fn answer(
    access: &Access,
    request: &Request<'_, Fields<'_>>,
    body: &str,
) -> Result<Response, Problem> {
    Ok(match access.route(request)? {
        Route::Page(file) => Response::page(file),
        Route::Inspector => Response::inspector(),
        Route::Client => Response::client(),
        Route::Server => Response::server(ServerFacts::worker()),
        Route::Health => Response::health(),
        Route::Ready => Response::ready(Readiness::Ready),
        Route::Metrics => Response::metrics(String::new()),
        Route::Options { allow } => Response::options(allow),
        Route::Socket { namespace } => {
            Upgrade::check(request)?;
            access.admit(request, namespace)?;
            assert!(is_namespace(namespace), "{namespace:?}");
            Response::health()
        }
        Route::Api => {
            let proxied = access.authorize(request, true);
            access.authorize(request, false)?;
            check_caller(access, request, proxied.is_ok());
            let limits = Limits::default();
            let call = match ApiRequest::read(request, access, &limits)? {
                ApiRequest::Call(call) => call,
                ApiRequest::Send(head) => head.with_body(body.as_bytes())?,
            };
            assert!(access.has_namespace(call.namespace()), "{call:?}");
            let mut namespace = Namespace::new(&limits);
            let answer = call.run(Timestamp::ZERO, &mut namespace)?;
            namespace.app.hub().assert_consistent();
            let response = Response::from(answer);
            check_json(&response);
            response
        }
    })
}

/// Checks that every client with access to the API has the key, or is local without a proxy.
fn check_caller(access: &Access, request: &Request<'_, Fields<'_>>, is_let_in_by_proxy: bool) {
    if access.api_keys.is_empty() {
        assert!(request.local, "a keyless call from elsewhere");
        assert!(request.proxy_sign().is_none(), "a keyless call by a proxy");
        assert!(!is_let_in_by_proxy, "a keyless call behind a proxy");
    } else {
        let given = request.first("authorization");
        assert!(
            given.is_some_and(|given| given.contains(KEY)),
            "a call without the key"
        );
    }
}

/// The answer to a request that is refused, checked in each form in which it is told.
fn refusal(problem: Problem, request: &Request<'_, Fields<'_>>) -> Response {
    let frame = problem.frame();
    let read: Result<IgnoredAny, _> = serde_json::from_str(&frame);
    assert!(read.is_ok(), "{frame}");
    assert!(problem.close_reason().len() <= 123);
    if let Some(reason) = problem.reason() {
        let mut notices = RefusalNotices::default();
        let notice = notices.notice(reason, request, Timestamp::ZERO);
        let notice = notice.unwrap_or_default();
        assert!(!notice.contains(char::is_control), "{notice:?}");
    }
    let status = problem.code().status();
    let response = Response::from(problem);
    assert!(status >= 400 && response.status == status, "{response:?}");
    check_json(&response);
    response
}

fn check_json(response: &Response) {
    let read: Result<IgnoredAny, _> = serde_json::from_slice(&response.body);
    assert!(
        read.is_ok(),
        "{:?}",
        String::from_utf8_lossy(&response.body)
    );
}

/// A namespace that the API is asked about.
struct Namespace {
    app: App<()>,
    out: Outbox,
}

impl Namespace {
    /// A namespace with a user and a guest in a room with history and presence.
    fn new(limits: &Limits) -> Self {
        let policies = "[[rooms]]\nmatch = \"log\"\nhistory.messages = 3\npresence = \"members\"";
        let policies = policies_from_toml(policies).expect("policies");
        let config = Config::new("epoch").with_limits(limits.clone());
        let mut namespace = Self {
            app: App::new(config.with_policies(policies), ()),
            out: Outbox::new(),
        };
        for handshake in [Handshake::new().with_user("ann"), Handshake::new()] {
            let applied = namespace.apply(&Input::Connect(handshake));
            let Applied::Connected(Ok(conn)) = applied else {
                panic!("{applied:?}");
            };
            for room in ["log", "lobby"] {
                let (room, meta) = (room.into(), None);
                namespace.apply(&Input::Join { conn, room, meta });
            }
        }
        namespace
    }
}

impl Asked for Namespace {
    fn hub<R>(&self, question: impl FnOnce(&Hub) -> R) -> R {
        question(self.app.hub())
    }

    fn apply(&mut self, input: &Input<'_>) -> Applied {
        self.app.apply(Timestamp::ZERO, input, &mut self.out)
    }
}
