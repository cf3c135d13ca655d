//! `POST send`.

use alloc::{
    borrow::{Cow, ToOwned},
    boxed::Box,
    string::String,
};

use roomcast_core::{Audience, ask::Ask, hub::KEY_BYTES_MAX};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::ApiCall;
use crate::{
    problem::Problem,
    request::{Headers, Request, is_text},
};

/// A send whose body is still to come.
///
/// A host reads the body within its own limits, and answers a larger one with
/// [`Problem::BodyTooLarge`].
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
    path: Option<String>,
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
            return Err(Problem::ContentEncoding);
        }
        let mut keys = request.headers.values("idempotency-key");
        let key = keys.next();
        if let Some(key) = &key {
            // A proxy may have joined several keys by commas.
            let one = !key.contains(',') && keys.next().is_none();
            if !(one && (1..=KEY_BYTES_MAX).contains(&key.len()) && is_text(key)) {
                return Err(Problem::Key);
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
    /// The answer to a body that is not valid.
    pub fn with_body(self, body: &[u8]) -> Result<ApiCall, Problem> {
        let form: Body = serde_json::from_slice(body).map_err(|fault| misfit(SHAPE, &fault))?;
        let audience = form.audience.get();
        // A derived struct would accept an array of its members in order.
        if !(audience.starts_with('{') && body.trim_ascii_start().starts_with(b"{")) {
            return Err(Problem::Objects);
        }
        let audience: Audience =
            serde_json::from_str(audience).map_err(|fault| misfit(AUDIENCE, &fault))?;
        let ask = Ask::Send {
            key: self.key,
            audience: Box::new(audience),
            event: form.event,
            path: form.path,
            data: form.data.unwrap_or_else(|| RawValue::NULL.to_owned()),
        };
        let namespace = self.namespace;
        Ok(ApiCall { namespace, ask })
    }
}

const SHAPE: &str = r#"the body must be {"audience":{...},"event":"...","data":...}"#;
const AUDIENCE: &str = r#"`audience` must be {"all":true} or any of "rooms", "conns", "users", and "except_rooms", "except_conns", "except_users", lists of strings"#;

/// Says where a text stops fitting the expected form, without repeating what is there.
fn misfit(shape: &'static str, fault: &serde_json::Error) -> Problem {
    Problem::Form(shape, fault.line(), fault.column())
}
