//! Values of rows, of which damage may have made another type than was written.

use serde::{Deserialize, de::IgnoredAny};

/// A value in a row.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(String),
    Number(f64),
    Other(IgnoredAny),
}

impl Value {
    /// The text; `None` when it is anything else.
    pub(super) fn text(self) -> Option<String> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The whole number; `None` when it is anything else.
    pub(super) fn integer(self) -> Option<u64> {
        if let Self::Number(number) = self {
            integer(number)
        } else {
            None
        }
    }
}

/// SQLite's integers come back as JavaScript's numbers.
pub(super) fn integer(number: f64) -> Option<u64> {
    const SAFE: f64 = 9_007_199_254_740_991.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // just looked at
    (number.fract() == 0.0 && (0.0..=SAFE).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_none() {
        for (json, text, number) in [
            (r#""a""#, Some("a"), None),
            ("7", None, Some(7)),
            ("-1.5", None, None),
            ("null", None, None),
            ("true", None, None),
            ("[1,[2]]", None, None),
            (r#"{"a":{}}"#, None, None),
        ] {
            let read = || serde_json::from_str::<Value>(json).expect("any value");
            assert_eq!(read().text().as_deref(), text, "{json}");
            assert_eq!(read().integer(), number, "{json}");
        }
    }
}
