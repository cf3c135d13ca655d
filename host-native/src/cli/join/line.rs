//! Lines that the user types, and the requests made of them.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An empty line.
    Empty,
    /// Leave.
    Quit,
    /// Send this.
    Send(Request),
}

/// A message to the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The message.
    pub(super) text: String,
    /// The id of its answer, as JSON; `None` when no answer is expected.
    pub(super) id: Option<String>,
}

/// An envelope; the members in the order in which the server writes them as well.
#[derive(Serialize)]
struct Envelope<'a> {
    event: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Request {
    /// A message with an id, which will be answered.
    pub(super) fn new(event: &str, id: &str, room: Option<&str>, data: Option<&RawValue>) -> Self {
        let envelope = Envelope {
            event,
            id,
            room,
            data,
        };
        Self {
            // Serialization fails only for maps with keys other than strings; there are none.
            text: serde_json::to_string(&envelope).unwrap_or_default(),
            id: Some(Value::from(id).to_string()),
        }
    }
}

impl Line {
    /// Reads a line. What it publishes gets the id `line-N`, to tell which one was refused.
    pub(super) fn parse(line: &str, number: usize, room: &str, event: &str) -> Self {
        /// Members that make an object an envelope.
        #[derive(Deserialize)]
        struct Typed {
            #[serde(rename = "event")]
            _event: IgnoredAny,
            #[serde(default)]
            id: Option<Value>,
        }
        let line = line.trim();
        match line {
            "" => return Self::Empty,
            "/quit" => return Self::Quit,
            _ => {}
        }
        // Without this check, serde would also accept an array of the fields in order.
        if line.starts_with('{')
            && let Ok(typed) = serde_json::from_str::<Typed>(line)
        {
            let id = typed.id.filter(|id| id.is_string() || id.is_i64());
            return Self::Send(Request {
                text: line.to_owned(),
                id: id.map(|id| id.to_string()),
            });
        }
        let said;
        let data = match serde_json::from_str::<&RawValue>(line) {
            Ok(data) => Some(data),
            Err(_) => {
                // As the page of the server publishes it.
                said = to_raw_value(&json!({ "text": line })).ok();
                said.as_deref()
            }
        };
        let id = format!("line-{number}");
        Self::Send(Request::new(event, &id, Some(room), data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        Line::parse(line, 7, "the \"lobby\"", "said")
    }

    #[test]
    fn an_envelope_is_sent_as_it_is() {
        for (line, id) in [
            (r#"{"event":"$rooms"}"#, None),
            (r#"{ "room":"r", "event": "e", "id": 3 }"#, Some("3")),
            (r#"{"event":"e","id":"\u0061"}"#, Some(r#""a""#)),
            (r#"{"event":"e","id":[1],"data":1e999}"#, None),
        ] {
            let request = Request {
                text: line.to_owned(),
                id: id.map(Into::into),
            };
            assert_eq!(parse(&format!(" {line}\r")), Line::Send(request));
        }
    }

    #[test]
    fn anything_else_is_published() {
        for (line, data) in [
            ("hi", r#"{"text":"hi"}"#),
            (r#"say "hi""#, r#"{"text":"say \"hi\""}"#),
            (r#""hi""#, r#""hi""#),
            ("[ 1e999 ]", "[ 1e999 ]"),
            ("0.10", "0.10"),
            (r#"["event"]"#, r#"["event"]"#),
            (r#"{"text":"hi"}"#, r#"{"text":"hi"}"#),
            (r#"{"event":"#, r#"{"text":"{\"event\":"}"#),
            ("/quit now", r#"{"text":"/quit now"}"#),
        ] {
            let text =
                format!(r#"{{"event":"said","id":"line-7","room":"the \"lobby\"","data":{data}}}"#);
            let id = Some(r#""line-7""#.to_owned());
            assert_eq!(parse(line), Line::Send(Request { text, id }));
        }
    }

    #[test]
    fn some_lines_are_not_sent() {
        assert_eq!(parse(" \t"), Line::Empty);
        assert_eq!(parse("/quit "), Line::Quit);
    }
}
