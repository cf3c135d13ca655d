//! Errors over HTTP: `application/problem+json` (RFC 9457).

use alloc::{borrow::Cow, format, string::ToString, vec::Vec};
use roomcast_core::{
    ErrorCode,
    wire::{Coded, Counted, Details},
};

use serde::Serialize;

use super::{Reason, Response};

/// An error as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: ErrorCode,
    detail: Cow<'static, str>,
    details: Option<Details>,
    headers: Vec<(&'static str, &'static str)>,
    reason: Option<Reason>,
}

/// Why a request was refused, where its problem does not say so itself.
const REASONS: [(ErrorCode, Reason); 4] = [
    (ErrorCode::Unauthorized, Reason::Key),
    (ErrorCode::Forbidden, Reason::Policy),
    (ErrorCode::Overloaded, Reason::Namespaces),
    (ErrorCode::Unavailable, Reason::Draining),
];

impl Problem {
    /// A problem; the detail says what to change.
    pub fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            details: None,
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

    /// The same with the member `details`.
    #[must_use]
    pub const fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    /// 413: the body of an API call is larger than the host takes.
    pub fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!(
            "the body must have at most {}: send less, or raise ROOMCAST_API_BODY_BYTES_MAX \
             (--api-body-bytes-max)",
            Counted(bytes_max, "byte")
        );
        Self::new(ErrorCode::TooLarge, detail).with_details(Details::limit(bytes_max))
    }

    /// The code.
    pub const fn code(&self) -> ErrorCode {
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
        Self::new(ErrorCode::BadRequest, detail)
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, detail)
    }

    pub(super) fn not_allowed(allow: &'static str) -> Self {
        let detail = format!("this path takes {allow}");
        Self::new(ErrorCode::MethodNotAllowed, detail).with_header("allow", allow)
    }
}

/// Errors of the hub keep their code, their text and their details.
impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Self {
        let (code, details) = error.row();
        Self {
            details,
            ..Self::new(code, error.to_string())
        }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Details>,
}

impl From<Body<'_>> for Response {
    fn from(body: Body<'_>) -> Self {
        // Texts and numbers always have a JSON form.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        Self::new(body.status, "application/problem+json", json)
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let status = problem.code.status();
        let body = Body {
            kind: "about:blank",
            title: Some(title(status)),
            status,
            detail: &problem.detail,
            code: problem.code.as_str(),
            details: problem.details,
        };
        let mut response = Self::from(body);
        response.headers.extend(problem.headers);
        response
    }
}

/// The reason phrase of a status of [`ErrorCode`].
const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_reason_and_mistakes_have_none() {
        let reason = |code| Problem::new(code, "x").reason();
        assert_eq!(reason(ErrorCode::Unauthorized), Some(Reason::Key));
        assert_eq!(reason(ErrorCode::Unavailable), Some(Reason::Draining));
        assert_eq!(reason(ErrorCode::BadRequest), None);
        assert_eq!(reason(ErrorCode::Internal), None);
        let named = Problem::not_found("x").with_reason(Reason::Namespace);
        assert_eq!(named.reason(), Some(Reason::Namespace));
    }

    #[test]
    fn every_code_has_a_reason_phrase() {
        let internal = "Internal Server Error";
        for code in ErrorCode::ALL {
            let is_named = title(code.status()) != internal;
            assert_eq!(is_named, code.status() != 500, "{code}");
        }
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
