//! JSON objects without duplicate keys, which are read one member at a time.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
};
use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object. No object in it has a duplicate key, at any depth: parsers that choose
/// different values would read different tokens.
#[derive(Debug)]
pub(crate) struct Object<'a>(BTreeMap<String, &'a RawValue>);

/// The error of a text that is not a JSON object, or has a duplicate key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is not UTF-8, not JSON, or nested deeper than 128 values.
    #[error("is not JSON")]
    Syntax,
    /// The text is JSON, but not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// A key occurs twice in an object.
    #[error("has a key twice in one object")]
    Duplicate,
}

/// The error of a member that has the wrong type.
#[derive(Debug)]
pub(crate) struct WrongType;

impl<'a> Object<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = core::str::from_utf8(bytes).map_err(|_| JsonError::Syntax)?;
        serde_json::from_str::<Unique>(text).map_err(|error| {
            if error.is_data() {
                JsonError::Duplicate
            } else {
                JsonError::Syntax
            }
        })?;
        serde_json::from_str(text)
            .map(Self)
            .map_err(|_| JsonError::NotAnObject)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The JSON of a member.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    /// A member, if it is present. `null` is a value like any other.
    pub(crate) fn get<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, WrongType> {
        let json = self.raw(name).map(RawValue::get);
        json.map(serde_json::from_str)
            .transpose()
            .map_err(|_| WrongType)
    }
}

/// Any value without duplicate keys in it. Strings are decoded, which checks that they are valid
/// Unicode.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut keys = BTreeSet::<String>::new();
        while let Some(key) = members.next_key()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a key twice"));
            }
            members.next_value::<Self>()?;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use super::*;

    #[test]
    fn members_are_read_by_name_and_type() {
        let object = Object::read(br#" {"a":1,"b":null,"c":[{"d":"e"}],"f":-1.5} "#);
        let object = object.expect("an object");
        assert_eq!(object.get("a").ok(), Some(Some(1u8)));
        assert!(object.get::<u8>("b").is_err() && object.get::<u8>("c").is_err());
        assert!(object.has("b") && !object.has("z"));
        assert!(matches!(object.get::<u8>("z"), Ok(None)));
        let json = object.raw("c").map(|json| json.get().to_string());
        assert_eq!(json.as_deref(), Some(r#"[{"d":"e"}]"#));
    }

    #[test]
    fn duplicates_and_broken_texts_are_refused_at_any_depth() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for (text, fault) in [
            (&br#"{"a":1,"a":1}"#[..], JsonError::Duplicate),
            (br#"{"exp":1,"\u0065xp":2}"#, JsonError::Duplicate),
            (br#"{"a":[{"b":1,"c":{},"b":1}]}"#, JsonError::Duplicate),
            (b"{", JsonError::Syntax),
            (b"{} {}", JsonError::Syntax),
            (b"\xef\xbb\xbf{}", JsonError::Syntax),
            (b"{\"a\":\"\xff\"}", JsonError::Syntax),
            (br#"{"a":"\ud800"}"#, JsonError::Syntax),
            (br#"{"a":1e999}"#, JsonError::Syntax),
            (b"{\"a\":1,}", JsonError::Syntax),
            (b"", JsonError::Syntax),
            (b"[]", JsonError::NotAnObject),
            (br#""a""#, JsonError::NotAnObject),
            (deep.as_bytes(), JsonError::Syntax),
        ] {
            let text_shown = String::from_utf8_lossy(text);
            assert_eq!(Object::read(text).err(), Some(fault), "{text_shown}");
        }
    }
}
