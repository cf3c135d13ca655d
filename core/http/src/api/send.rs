//! `POST send`.

use alloc::{
    borrow::{Cow, ToOwned},
    boxed::Box,
    format,
    string::String,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ApiCall;
use crate::{Headers, Problem, Request, request::is_text};
use roomcast_core::{Audience, ErrorCode, ask::Ask, wire::Details};

/// Bytes of an idempotency key, as the hub takes it.
const KEY_BYTES_MAX: usize = 128;

/// A send whose body is still to come.
///
/// A host reads the body within limits of its own, and answers one that is over them with
/// [`Problem::body_too_large`].
#[derive(Debug)]
pub struct SendHead {
    namespace: String,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    audience: Box<RawValue>,
    event: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

impl SendHead {
    pub(super) fn read<H: Headers>(
        namespace: String,
        request: &Request<'_, H>,
    ) -> Result<Self, Problem> {
        let plain =
            |value: Cow<'_, str>| value.is_empty() || value.eq_ignore_ascii_case("identity");
        if !request.headers.values("content-encoding").all(plain) {
            let detail = "the body must be sent as it is: leave Content-Encoding out";
            let problem = Problem::new(ErrorCode::UnsupportedMediaType, detail);
            return Err(problem.with_header("accept-encoding", "identity"));
        }
        let mut keys = request.headers.values("idempotency-key");
        let key = keys.next();
        if let Some(key) = &key {
            // Whoever stands in between may join several by commas.
            let one = !key.contains(',') && keys.next().is_none();
            if !(one && (1..=KEY_BYTES_MAX).contains(&key.len()) && is_text(key)) {
                let detail = format!(
                    "send one Idempotency-Key of 1 to {KEY_BYTES_MAX} visible characters, without commas"
                );
                return Err(
                    Problem::bad_request(detail).with_details(Details::limit(KEY_BYTES_MAX))
                );
            }
        }
        let key = key.map(Into::into);
        Ok(Self { namespace, key })
    }

    /// The name of the namespace to send in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The call, with the whole body.
    ///
    /// # Errors
    ///
    /// The answer to a body that is not right.
    pub fn with_body(self, body: &[u8]) -> Result<ApiCall, Problem> {
        let Body {
            audience,
            event,
            path,
            data,
        } = serde_json::from_slice(body).map_err(|fault| misfit("the body", SHAPE, &fault))?;
        // A derived struct would take an array for its members in order.
        let audience = Some(audience.get())
            .filter(|json| json.starts_with('{') && body.trim_ascii_start().starts_with(b"{"))
            .ok_or_else(|| Problem::bad_request("the body and its audience must be objects"))?;
        let audience: Audience = serde_json::from_str(audience)
            .map_err(|fault| misfit("`audience`", AUDIENCE, &fault))?;
        let data = match data {
            Some(data) => data,
            None => RawValue::from_string("null".to_owned())
                .map_err(|_| Problem::bad_request("data must be JSON"))?,
        };
        let ask = Ask::Send {
            key: self.key,
            audience: Box::new(audience),
            event,
            path,
            data,
        };
        let namespace = self.namespace;
        Ok(ApiCall { namespace, ask })
    }
}

const SHAPE: &str = r#"{"audience":{...},"event":"...","data":...}"#;
const AUDIENCE: &str = r#"{"all":true} or any of "rooms", "conns", "users", and "except_rooms", "except_conns", "except_users", lists of strings"#;

/// Says where a text stops being what it should be, and not what stands there.
fn misfit(what: &str, shape: &str, fault: &serde_json::Error) -> Problem {
    let (line, column) = (fault.line(), fault.column());
    Problem::bad_request(format!(
        "{what} must be {shape}: look at line {line}, column {column} of it"
    ))
}
