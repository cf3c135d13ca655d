//! Problems as answers: `application/problem+json` (RFC 9457), or a frame and a close.

use alloc::string::{String, ToString};

use roomcast_core::{
    CloseCode, ErrorCode,
    wire::{Coded, Details, ErrorBody},
};
use serde::Serialize;

use super::Problem;
use crate::response::Response;

impl Problem {
    /// The code that is sent through an open socket.
    fn socket_code(&self) -> ErrorCode {
        if self.code() == ErrorCode::NotFound {
            ErrorCode::Forbidden
        } else {
            self.code()
        }
    }

    /// The text frame that gives the reason on an open socket.
    pub fn frame(&self) -> String {
        let body = ErrorBody::new(self.socket_code().as_str(), self.to_string());
        match self.details() {
            Some(details) => body.with_details(details).frame(),
            None => body.frame(),
        }
    }

    /// The code of the close frame that follows.
    pub fn close_code(&self) -> CloseCode {
        if let Self::Rejected(rejection) = self {
            rejection.close_code()
        } else {
            self.code().close_code()
        }
    }

    /// The reason in that close frame.
    pub fn close_reason(&self) -> &'static str {
        self.socket_code().as_str()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let (code, details) = problem.row();
        // Without a title: there is none for a status that the application chose.
        let (status, title) = if let Problem::Rejected(rejection) = &problem {
            (rejection.status(), None)
        } else {
            (code.status(), Some(title(code.status())))
        };
        let body = Body {
            kind: "about:blank",
            title,
            status,
            detail: &problem.to_string(),
            code: code.as_str(),
            details,
        };
        // Texts and numbers always have a JSON form.
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Self::new(status, "application/problem+json", json);
        response.headers.extend(problem.headers());
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
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::TokenRefusal;
    use roomcast_core::{Payload, Rejection};
    use roomcast_hooks::Verdict;

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
        let response = Response::from(Problem::Method("GET"));
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

    #[test]
    fn what_an_application_refuses_has_its_status() {
        let rejection = Rejection::forbidden("pay first").with_status(402);
        let response = Response::from(Problem::from(rejection));
        assert_eq!(response.status, 402);
        let body = r#"{"type":"about:blank","status":402,"detail":"pay first","code":"forbidden"}"#;
        assert_eq!(response.body, body.as_bytes());
        let full = Response::from(Problem::from(Rejection::overloaded("full")));
        assert!(full.headers.contains(&("retry-after", "5")));
    }

    #[test]
    fn a_refused_connection_is_told_both_ways() {
        for (problem, status, close, code) in [
            (Problem::Origin, 403, CloseCode::FORBIDDEN, "forbidden"),
            (Problem::Host, 403, CloseCode::FORBIDDEN, "forbidden"),
            (Problem::NoNamespace, 404, CloseCode::FORBIDDEN, "forbidden"),
            (
                Problem::Connections(7),
                503,
                CloseCode::OVERLOADED,
                "overloaded",
            ),
            (
                Problem::DrainingSocket,
                503,
                CloseCode::OVERLOADED,
                "unavailable",
            ),
            (
                Problem::Token(TokenRefusal::Several),
                401,
                CloseCode::UNAUTHORIZED,
                "unauthorized",
            ),
            (
                Problem::Token(TokenRefusal::Unavailable),
                503,
                CloseCode::OVERLOADED,
                "unavailable",
            ),
            (
                Problem::Backend(Verdict::Forbidden("pay first".into())),
                403,
                CloseCode::FORBIDDEN,
                "forbidden",
            ),
            (
                Problem::Backend(Verdict::Unavailable),
                503,
                CloseCode::OVERLOADED,
                "unavailable",
            ),
            (Problem::Internal, 500, CloseCode::INTERNAL, "internal"),
            (
                Rejection::unauthorized("who?").into(),
                401,
                CloseCode::UNAUTHORIZED,
                "unauthorized",
            ),
        ] {
            let frame = problem.frame();
            assert!(Payload::parse(&frame).is_ok(), "{frame}");
            assert!(frame.contains(code), "{frame}");
            assert_eq!(
                (problem.close_code(), problem.close_reason()),
                (close, code)
            );
            let response = Response::from(problem);
            assert_eq!(response.status, status);
            let retry = response.headers.contains(&("retry-after", "5"));
            assert_eq!(retry, status == 503);
        }
    }
}
