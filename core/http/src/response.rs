//! A whole answer.

use alloc::{borrow::Cow, string::String, vec, vec::Vec};

/// A whole answer, to be sent as it is.
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
    pub fn ready(draining: bool) -> Self {
        if draining {
            Self::text(503, "draining\n")
        } else {
            Self::text(200, "ready\n")
        }
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

    fn text(status: u16, text: &'static str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.as_bytes())
    }

    pub(super) fn new(
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
