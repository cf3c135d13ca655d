//! Complete answers to requests.

use alloc::{borrow::Cow, string::String, vec, vec::Vec};

use crate::{page::PageFile, readiness::Readiness, server::ServerFacts};

/// The inspector: a single file that loads nothing, with the rules as WebAssembly in it.
#[cfg(feature = "inspector")]
const INSPECTOR: &str = include_str!("../page/inspect.html");
#[cfg(not(feature = "inspector"))]
const INSPECTOR: &str = "";

/// The client for browsers, as built from `client/`.
const CLIENT: &str = include_str!("../page/client.js");

/// Content security policy of the page: the data that it shows may come from anyone, and must not
/// run as code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Content security policy of the inspector: it makes no requests, and compiles its own module.
const INSPECTOR_POLICY: &str = "default-src 'none'; \
    script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The header field in which `GET /readyz` gives the server's time, in milliseconds since 1970. The
/// `Date` of an answer may come from a proxy instead: nginx, for one, sets its own.
pub const TIME_HEADER: &str = "roomcast-time";

/// A complete answer, to be sent as it is.
///
/// A host leaves the body out when the method was `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values of the header fields.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// `GET /healthz`: the process runs.
    pub fn health() -> Self {
        Self::text(200, "ok\n")
    }

    /// `GET /readyz`: whether new connections should come here.
    pub fn ready(state: Readiness) -> Self {
        Self::text(state.status(), state.text())
    }

    /// `GET /server`: the kind of server, and how it is set up.
    pub fn server(facts: ServerFacts) -> Self {
        let mut response = Self::new(200, "application/json", facts.to_json());
        response.headers.push(("cache-control", "no-cache"));
        response
    }

    /// `OPTIONS`: the methods that a path takes.
    pub fn options(allow: &'static str) -> Self {
        Self {
            status: 204,
            headers: vec![("allow", allow)],
            body: Cow::Borrowed(b""),
        }
    }

    /// `GET /metrics`, in the Prometheus text format.
    pub fn metrics(text: String) -> Self {
        Self::new(200, "text/plain; version=0.0.4", text.into_bytes())
    }

    /// `GET /`: the page to try a server with, or another of its files.
    pub fn page(file: &PageFile) -> Self {
        Self::of_page(file.content_type, file.text, POLICY)
    }

    /// `GET /inspect`: the page that steps through a journal.
    pub fn inspector() -> Self {
        Self::of_page("text/html; charset=utf-8", INSPECTOR, INSPECTOR_POLICY)
    }

    fn of_page(content_type: &'static str, text: &'static str, policy: &'static str) -> Self {
        let mut response = Self::new(200, content_type, text.as_bytes());
        response.headers.extend([
            ("content-security-policy", policy),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ]);
        response
    }

    /// `GET /client.js`: the client for browsers, for pages of any origin.
    pub fn client() -> Self {
        let mut response = Self::new(200, "text/javascript; charset=utf-8", CLIENT.as_bytes());
        response.headers.extend([
            ("access-control-allow-origin", "*"),
            ("cache-control", "no-cache"),
            ("x-content-type-options", "nosniff"),
        ]);
        response
    }

    fn text(status: u16, text: &'static str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.as_bytes())
    }

    pub(crate) fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type)],
            body: body.into(),
        }
    }
}
