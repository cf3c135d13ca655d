//! Arguments that a handler takes besides its context.

use alloc::string::{String, ToString};

use serde::de::DeserializeOwned;

use super::{path, trail};
use crate::{gateway::Failure, wire::ErrorCode, wire::Message};

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
/// Any type that can be deserialised is read from the payload. `M` distinguishes such types from
/// those that implement this trait themselves. The latter use [`ViaSelf`], or [`ViaPayload`] if
/// they too are read from the whole payload: a handler [takes one](super::OnePayload) at most.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can take",
    note = "a payload implements `serde::Deserialize` and borrows nothing: \
            `#[derive(serde::Deserialize)]`",
    note = "`Path<T>` is the parameters of the path, `Valid<T>` a payload that was validated, `Raw` \
            its text"
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

/// Marks types that are the payload as a whole.
#[derive(Debug)]
pub enum ViaPayload {}

impl<T: DeserializeOwned> Extract<ViaPayload> for T {
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        let json = request.message.data.as_str();
        serde_json::from_str(json).map_err(|fault| {
            let path = trail::stop::<T>(json);
            misfit(&fault, path.as_deref().unwrap_or_default())
        })
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
                Err(Failure::new(ErrorCode::BadRoom, message))
            }
        }
    }
}

/// The payload as JSON text, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(pub String);

impl Extract<ViaSelf> for Raw {
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        Ok(Self(request.message.data.as_str().into()))
    }
}

/// A payload that was validated with [`garde`]; needs the feature `garde`.
///
/// When it is not valid, the handler is not called. The answer names the first field that is wrong,
/// and says what is wrong with each of them:
/// `"details":{"path":"text","fields":{"text":["length is lower than 1"]}}`. It never contains
/// values; it does contain keys of maps, as parts of the paths to their values.
#[cfg(feature = "garde")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Valid<T>(pub T);

#[cfg(feature = "garde")]
impl<T> Extract<ViaPayload> for Valid<T>
where
    T: DeserializeOwned + garde::Validate<Context: Default>,
{
    fn extract(request: &Request<'_>) -> Result<Self, Failure> {
        let value: T = Extract::<ViaPayload>::extract(request)?;
        match value.validate() {
            Ok(()) => Ok(Self(value)),
            Err(report) => Err(invalid(&report)),
        }
    }
}

/// Says which fields are not valid, and why.
#[cfg(feature = "garde")]
fn invalid(report: &garde::Report) -> Failure {
    use alloc::{collections::BTreeMap, vec::Vec};

    #[derive(serde::Serialize)]
    struct Invalid<'r> {
        /// The path of the first field.
        #[serde(skip_serializing_if = "str::is_empty")]
        path: &'r str,
        fields: &'r BTreeMap<String, Vec<&'r str>>,
    }

    let mut fields: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, error) in report.iter() {
        let messages = fields.entry(path.to_string()).or_default();
        messages.push(error.message());
    }
    let first = fields.keys().next().map_or("", |path| path);
    let named = trail::of_data(first);
    let message = match fields.len() {
        0 | 1 => alloc::format!("`{named}` is not valid: see `details.fields`"),
        all => {
            let more = all - 1;
            alloc::format!("`{named}` and {more} more are not valid: see `details.fields`")
        }
    };
    Failure::bad_payload(message).with_details(&Invalid {
        path: first,
        fields: &fields,
    })
}

/// Says what was expected in the payload at this path, without repeating what was there.
fn misfit(fault: &serde_json::Error, path: &str) -> Failure {
    #[derive(serde::Serialize)]
    struct At<'p> {
        /// The member that does not fit; left out when that is `data` itself.
        #[serde(skip_serializing_if = "str::is_empty")]
        path: &'p str,
        /// The place in the text of `data` where reading stopped.
        line: usize,
        column: usize,
    }

    let (line, column) = (fault.line(), fault.column());
    let text = fault.to_string();
    let event = if path.is_empty() { " this event" } else { "" };
    let colon = hint(&text).map_or_else(String::new, |hint| alloc::format!(": {hint}"));
    let named = trail::of_data(path);
    let message = alloc::format!("`{named}` does not fit{event}{colon}");
    let missing = missing(&text).map(|field| trail::below(path, field));
    let path = missing.as_deref().unwrap_or(path);
    Failure::bad_payload(message).with_details(&At { path, line, column })
}

/// The name of the missing field, from the parser's text.
fn missing(text: &str) -> Option<&str> {
    let (field, _) = text.strip_prefix("missing field `")?.rsplit_once('`')?;
    Some(field)
}

/// The part of the parser's text that comes from the handler's type. The rest may quote the client.
fn hint(text: &str) -> Option<String> {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    if let Some(field) = missing(text) {
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
    // The last occurrence: text quoted from the client stands before it.
    let (_, expected) = text.rsplit_once(", expected ")?;
    let bare = expected.strip_prefix("a ");
    let bare = bare.or_else(|| expected.strip_prefix("an "));
    let expected = bare.unwrap_or(expected);
    Some(alloc::format!("expected {expected}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn refused<T: DeserializeOwned>(json: &str) -> Failure {
        let Err(fault) = serde_json::from_str::<T>(json) else {
            panic!("{json} fits");
        };
        misfit(&fault, &trail::stop::<T>(json).unwrap_or_default())
    }

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
            (
                r#"{"count":1}"#,
                "` does not fit this event: the field `kind` is missing",
            ),
            (r#"{"count":"SECRET"}"#, ".count` does not fit: expected u8"),
            (
                r#"{"count":", expected SECRET"}"#,
                ".count` does not fit: expected u8",
            ),
            (r#"{"count":777}"#, ".count` does not fit: expected u8"),
            (
                r#"{"count":1,"kind":"SECRET"}"#,
                ".kind` does not fit: expected `plain` or `loud`",
            ),
            (
                r#"{"SECRET":1}"#,
                "` does not fit this event: expected `count` or `kind`",
            ),
            (
                r#""SECRET""#,
                "` does not fit this event: expected struct Post",
            ),
        ] {
            let failure = refused::<Post>(json);
            let expected = alloc::format!("`data{message}");
            assert_eq!(
                (failure.code(), failure.message()),
                ("bad_payload", &*expected),
                "{json}"
            );
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        let failure = refused::<Nothing>(r#"{"x, expected SECRET":1}"#);
        assert_eq!(failure.message(), "`data` does not fit this event");
        let custom = <serde_json::Error as serde::de::Error>::custom("not SECRET, expected more");
        assert_eq!(
            misfit(&custom, "").message(),
            "`data` does not fit this event"
        );
    }
}
