//! Errors over HTTP: `application/problem+json` (RFC 9457).

use alloc::{borrow::Cow, format, vec::Vec};
use roomcast_core::wire::Counted;

use serde::Serialize;

use super::{Reason, Response};

/// The `code` of a problem; each has one status. The same as in the protocol's error frames, where
/// there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemCode {
    /// 400: the path, a parameter, a header or the body is malformed.
    BadRequest,
    /// 400: `data` is not JSON that may be relayed.
    BadPayload,
    /// 400: not a room name.
    BadRoom,
    /// 401: no key, or a wrong one.
    Unauthorized,
    /// 403: not allowed.
    Forbidden,
    /// 404: no such path, namespace, room or connection.
    NotFound,
    /// 405: the header `Allow` names the methods that are.
    MethodNotAllowed,
    /// 408: the body did not arrive in time.
    Timeout,
    /// 409: the connection is in as many rooms as it may be.
    RoomLimit,
    /// 409: the room has as many members as it may have.
    MemberLimit,
    /// 413: over a size limit.
    TooLarge,
    /// 415: the body is encoded in a way that the API does not read.
    UnsupportedMediaType,
    /// 422: the idempotency key was used for another message.
    KeyReused,
    /// 426: a WebSocket, and no upgrade to one.
    UpgradeRequired,
    /// 500: a fault of the server.
    Internal,
    /// 503: the server is full.
    Overloaded,
    /// 503: the server is going away.
    Unavailable,
}

impl ProblemCode {
    /// The code on the wire.
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The status code.
    pub const fn status(self) -> u16 {
        self.parts().1
    }

    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => ("bad_request", 400, "Bad Request"),
            Self::BadPayload => ("bad_payload", 400, "Bad Request"),
            Self::BadRoom => ("bad_room", 400, "Bad Request"),
            Self::Unauthorized => ("unauthorized", 401, "Unauthorized"),
            Self::Forbidden => ("forbidden", 403, "Forbidden"),
            Self::NotFound => ("not_found", 404, "Not Found"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method Not Allowed"),
            Self::Timeout => ("timeout", 408, "Request Timeout"),
            Self::RoomLimit => ("room_limit", 409, "Conflict"),
            Self::MemberLimit => ("member_limit", 409, "Conflict"),
            Self::TooLarge => ("too_large", 413, "Payload Too Large"),
            Self::UnsupportedMediaType => ("unsupported_media_type", 415, "Unsupported Media Type"),
            Self::KeyReused => ("key_reused", 422, "Unprocessable Entity"),
            Self::UpgradeRequired => ("upgrade_required", 426, "Upgrade Required"),
            Self::Internal => ("internal", 500, "Internal Server Error"),
            Self::Overloaded => ("overloaded", 503, "Service Unavailable"),
            Self::Unavailable => ("unavailable", 503, "Service Unavailable"),
        }
    }
}

/// An error as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: ProblemCode,
    detail: Cow<'static, str>,
    headers: Vec<(&'static str, &'static str)>,
    reason: Option<Reason>,
}

/// Why a request was refused, where its problem does not say so itself.
const REASONS: [(ProblemCode, Reason); 4] = [
    (ProblemCode::Unauthorized, Reason::Key),
    (ProblemCode::Forbidden, Reason::Policy),
    (ProblemCode::Overloaded, Reason::Namespaces),
    (ProblemCode::Unavailable, Reason::Draining),
];

impl Problem {
    /// A problem; the detail says what to change.
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            headers: Vec::new(),
            reason: None,
        }
    }

    /// The same with one more header field; the name is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 413: the body of an API call is larger than the host takes.
    pub fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!(
            "the body must have at most {}: send less, or raise ROOMCAST_API_BODY_BYTES_MAX \
             (--api-body-bytes-max)",
            Counted(bytes_max, "byte")
        );
        Self::new(ProblemCode::TooLarge, detail)
    }

    /// The code.
    pub const fn code(&self) -> ProblemCode {
        self.code
    }

    /// The same, counted under this reason.
    #[must_use]
    pub const fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The reason under which a host counts it; `None` for what is no refusal but a mistake in the
    /// request, or a fault.
    pub fn reason(&self) -> Option<Reason> {
        let by_code = REASONS.iter().find(|(code, _)| *code == self.code);
        self.reason.or(by_code.map(|&(_, reason)| reason))
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::NotFound, detail)
    }

    pub(super) fn not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path takes {allow}");
        Self::new(ProblemCode::MethodNotAllowed, detail).with_header("allow", allow)
    }
}

#[derive(Serialize)]
pub(super) struct Body<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<&'a str>,
    pub(super) status: u16,
    pub(super) detail: &'a str,
    pub(super) code: &'a str,
}

impl From<Body<'_>> for Response {
    fn from(body: Body<'_>) -> Self {
        // Text alone always has a JSON form.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        Self::new(body.status, "application/problem+json", json)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let (code, status, title) = problem.code.parts();
        let body = Body {
            kind: "about:blank",
            title: Some(title),
            status,
            detail: &problem.detail,
            code,
        };
        let mut response = Self::from(body);
        response.headers.extend(problem.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_reason_and_mistakes_have_none() {
        let reason = |code| Problem::new(code, "x").reason();
        assert_eq!(reason(ProblemCode::Unauthorized), Some(Reason::Key));
        assert_eq!(reason(ProblemCode::Unavailable), Some(Reason::Draining));
        assert_eq!(reason(ProblemCode::BadRequest), None);
        assert_eq!(reason(ProblemCode::Internal), None);
        let named = Problem::not_found("x").with_reason(Reason::Namespace);
        assert_eq!(named.reason(), Some(Reason::Namespace));
    }

    #[test]
    fn a_problem_says_everything_once() {
        let response = Response::from(Problem::not_allowed("GET"));
        assert_eq!(response.status, 405);
        let headers = [
            ("content-type", "application/problem+json"),
            ("allow", "GET"),
        ];
        assert_eq!(response.headers, headers);
        assert_eq!(
            core::str::from_utf8(&response.body),
            Ok(
                r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"detail":"this path takes GET","code":"method_not_allowed"}"#
            )
        );
    }
}
