//! What a handler takes beside its connection.

use alloc::string::{String, ToString};

use serde::de::DeserializeOwned;

use super::{failure::Failure, path};
use crate::envelope::Message;

/// A message on its way to a handler.
#[derive(Debug)]
pub struct Request<'m> {
    /// The message.
    pub message: &'m Message<'m>,
    /// Names and values of the parameters of the path.
    pub(super) params: &'m [(&'m str, &'m str)],
}

/// A handler's argument, made from the message.
///
/// Any type that can be deserialised is the payload. `M` tells such types from those that implement
/// this trait themselves; it is never written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can take",
    note = "a payload implements `serde::Deserialize` and borrows nothing; `Path<T>` is the \
            parameters of the path, `Valid<T>` a payload that was validated"
)]
pub trait Extract<M>: Sized {
    /// Makes the argument.
    ///
    /// # Errors
    ///
    /// When the message does not fit; the handler is not called then.
    fn extract(request: &Request<'_>) -> Result<Self, Failure>;
}

/// Marks types that implement [`Extract`] themselves.
#[derive(Debug)]
pub enum ViaSelf {}

/// Marks types that are a payload.
#[derive(Debug)]
pub enum ViaPayload {}

impl<T: DeserializeOwned> Extract<ViaPayload> for T {
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        let json = request.message.data.as_str();
        serde_json::from_str(json).map_err(|fault| misfit(&fault))
    }
}

/// The parameters of the path that the handler was added with: one value, a tuple in their order,
/// or a struct by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> Extract<ViaSelf> for Path<T> {
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        match path::read(request.params) {
            Ok(params) => Ok(Self(params)),
            Err(fault) => {
                let message = alloc::format!("{fault}: {}", path::names(request.params));
                Err(Failure::new(crate::ErrorCode::BadRoom, message))
            }
        }
    }
}

/// The payload as the JSON text it came as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(pub String);

impl Extract<ViaSelf> for Raw {
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        Ok(Self(request.message.data.as_str().into()))
    }
}

/// A payload that was validated with [`garde`]; needs the feature `garde`.
///
/// When it is not valid, the handler is not called, and the answer says what is wrong with each
/// field: `"details":{"fields":{"text":["length is lower than 1"]}}`. Values are never among it.
#[cfg(feature = "garde")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid<T>(pub T);

#[cfg(feature = "garde")]
impl<T> Extract<ViaSelf> for Valid<T>
where
    T: DeserializeOwned + garde::Validate<Context: Default>,
{
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        use alloc::{collections::BTreeMap, vec::Vec};

        let value: T = Extract::<ViaPayload>::extract(request)?;
        let Err(report) = value.validate() else {
            return Ok(Self(value));
        };
        let mut fields: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (path, error) in report.iter() {
            let messages = fields.entry(path.to_string()).or_default();
            messages.push(error.message());
        }
        let failure = Failure::bad_payload("`data` is not valid: see `details.fields`");
        Err(failure.with_details(&BTreeMap::from([("fields", fields)])))
    }
}

/// Says what a payload should have been, without a word of what it was.
fn misfit(fault: &serde_json::Error) -> Failure {
    /// Where in the text of `data` it stopped.
    #[derive(serde::Serialize)]
    struct At {
        line: usize,
        column: usize,
    }

    let (line, column) = (fault.line(), fault.column());
    let message = match hint(&fault.to_string()) {
        Some(hint) => alloc::format!("`data` does not fit this event: {hint}"),
        None => "`data` does not fit this event".into(),
    };
    Failure::bad_payload(message).with_details(&At { line, column })
}

/// The part of the parser's text that comes from the handler's type. The rest may quote the client.
fn hint(text: &str) -> Option<String> {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    if let Some(rest) = text.strip_prefix("missing field `") {
        let field = rest.strip_suffix('`')?;
        return Some(alloc::format!("the field `{field}` is missing"));
    }
    let derived = [
        "invalid type: ",
        "invalid value: ",
        "invalid length: ",
        "unknown variant `",
        "unknown field `",
    ];
    if !derived.iter().any(|start| text.starts_with(start)) {
        return None;
    }
    if text.ends_with(", there are no fields") || text.ends_with(", there are no variants") {
        return None;
    }
    // The last: what is quoted stands before it.
    let (_, expected) = text.rsplit_once(", expected ")?;
    Some(alloc::format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn nothing_of_a_refused_value_is_repeated() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Post {
            count: u8,
            kind: Kind,
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Kind {
            Plain,
            Loud,
        }

        for (json, message) in [
            (r#"{"count":1}"#, "the field `kind` is missing"),
            (r#"{"count":"SECRET"}"#, "expected u8"),
            (r#"{"count":", expected SECRET"}"#, "expected u8"),
            (r#"{"count":777}"#, "expected u8"),
            (
                r#"{"count":1,"kind":"SECRET"}"#,
                "expected `plain` or `loud`",
            ),
            (r#"{"SECRET":1}"#, "expected `count` or `kind`"),
            (r#""SECRET""#, "expected struct Post"),
        ] {
            let fault = serde_json::from_str::<Post>(json).expect_err(json);
            let failure = misfit(&fault);
            let expected = alloc::format!("`data` does not fit this event: {message}");
            assert_eq!(
                (failure.code(), failure.message()),
                ("bad_payload", &*expected),
                "{json}"
            );
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let fault = serde_json::from_str::<Nothing>(r#"{"x, expected SECRET":1}"#);
        let fault = fault.expect_err("a field too many");
        assert_eq!(misfit(&fault).message(), "`data` does not fit this event");
        let custom = <serde_json::Error as serde::de::Error>::custom("not SECRET, expected more");
        assert_eq!(misfit(&custom).message(), "`data` does not fit this event");
    }
}
