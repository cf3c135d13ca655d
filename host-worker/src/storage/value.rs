//! Values of rows, of which damage may have made another type than was written.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// A text; `None` when it is anything else.
#[derive(Debug)]
pub(super) struct Text(pub(super) Option<String>);

/// A number; `None` when it is anything else.
#[derive(Debug)]
pub(super) struct Number(pub(super) Option<f64>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Visitor)
            .map(|value| match value {
                Value::Text(text) => Self(Some(text)),
                Value::Number(_) | Value::Other => Self(None),
            })
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Visitor)
            .map(|value| match value {
                Value::Number(number) => Self(Some(number)),
                Value::Text(_) | Value::Other => Self(None),
            })
    }
}

enum Value {
    Text(String),
    Number(f64),
    Other,
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of SQLite")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    #[allow(clippy::cast_precision_loss)] // what is no safe integer of JavaScript is refused later
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map
            .next_entry::<de::IgnoredAny, de::IgnoredAny>()?
            .is_some()
        {}
        Ok(Value::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_none() {
        for (json, text, number) in [
            (r#""a""#, Some("a"), None),
            ("7", None, Some(7.0)),
            ("-1.5", None, Some(-1.5)),
            ("null", None, None),
            ("true", None, None),
            ("[1,[2]]", None, None),
            (r#"{"a":{}}"#, None, None),
        ] {
            let read: Text = serde_json::from_str(json).expect("any value");
            assert_eq!(read.0.as_deref(), text, "{json}");
            let read: Number = serde_json::from_str(json).expect("any value");
            assert_eq!(read.0, number, "{json}");
        }
    }
}
