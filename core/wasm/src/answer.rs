//! Answers as JSON: `{"ok":...}`, or `{"error":{"code":"...","status":N,"message":"..."}}`,
//! with the `details` that an error frame has.

use std::fmt::Write as _;

use roomcast_core::{
    Applied, ConnId, ErrorCode,
    wire::{Coded, Details},
};
use roomcast_http::Problem;
use serde::Serialize;

/// Writes a value.
pub(crate) fn ok(text: &mut String, value: &impl Serialize) {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".into());
    let _ = write!(text, "{{\"ok\":{json}}}");
}

/// Writes the error of an input that is malformed.
pub(crate) fn bad_input(text: &mut String, message: &str) {
    error(text, (ErrorCode::BadRequest, None), message);
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    status: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

fn error(text: &mut String, (code, details): (ErrorCode, Option<Details>), message: &str) {
    let body = Body {
        code: code.as_str(),
        status: code.status(),
        message,
        details,
    };
    // Texts and numbers always have a JSON form.
    let json = serde_json::to_string(&body).unwrap_or_default();
    let _ = write!(text, "{{\"error\":{json}}}");
}

/// Writes a value or an error.
pub(crate) fn result<T: Serialize>(text: &mut String, result: Result<T, impl Coded>) {
    match result {
        Ok(value) => ok(text, &value),
        Err(fault) => error(text, fault.row(), &fault.to_string()),
    }
}

/// Writes the result of an input.
pub(crate) fn applied(text: &mut String, applied: Applied) {
    match applied {
        Applied::Done | Applied::Completed(_) => ok(text, &()),
        Applied::UnknownConn(fault) => result::<()>(text, Err(fault)),
        // A number, so that JavaScript can use it as a key of its tables.
        Applied::Connected(opened) => {
            result(text, opened.map(ConnId::as_u64).map_err(Problem::from));
        }
        Applied::Sent(sent) => result(text, sent),
        Applied::Relayed(token) => ok(text, &token),
        Applied::Joined(joined) => result(text, joined),
        Applied::Withdrawn(ended) => ok(text, &ended),
        Applied::Left(was) => ok(text, &was),
    }
}
