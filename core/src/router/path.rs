//! Patterns of paths, and the parameters in a path.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

/// A pattern such as `/chat/{room}`: segments between slashes, each a text or a parameter.
///
/// Written by hand because the libraries for it need `std`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    Param(Box<str>),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            let slash = if at > 0 { "/" } else { "" };
            match segment {
                Segment::Text(text) => write!(f, "{slash}{text}")?,
                Segment::Param(name) => write!(f, "{slash}{{{name}}}")?,
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// # Panics
    ///
    /// When a parameter has no name, a name occurs twice, or a brace occurs inside a segment.
    pub(super) fn new(pattern: &str) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for segment in pattern.split('/') {
            let name = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
            let text = name.unwrap_or(segment);
            let plain = !text.contains(['{', '}']) && name != Some("");
            assert!(
                plain,
                "a segment of a path is a text or one {{name}}: {pattern}"
            );
            let segment = match name {
                Some(name) => Segment::Param(name.into()),
                None => Segment::Text(segment.into()),
            };
            let twice = matches!(segment, Segment::Param(_)) && segments.contains(&segment);
            assert!(!twice, "a parameter stands twice in a path: {pattern}");
            segments.push(segment);
        }
        Self(segments)
    }

    /// The parameters of a path, in order; `None` when it does not fit. A parameter is never empty.
    pub(super) fn fit<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut params = Vec::new();
        let mut parts = path.split('/');
        for segment in &self.0 {
            let part = parts.next()?;
            match segment {
                Segment::Text(text) if **text == *part => {}
                Segment::Param(name) if !part.is_empty() => params.push((&**name, part)),
                Segment::Text(_) | Segment::Param(_) => return None,
            }
        }
        parts.next().is_none().then_some(params)
    }

    /// True when another pattern fits exactly the same paths.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let same = |(a, b): (&Segment, &Segment)| {
            a == b || matches!((a, b), (Segment::Param(_), Segment::Param(_)))
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }

    /// The rank among patterns that fit the same path: the lowest wins, and texts rank before
    /// parameters.
    pub(super) fn rank(&self) -> Vec<bool> {
        let is_param = |segment: &Segment| matches!(segment, Segment::Param(_));
        self.0.iter().map(is_param).collect()
    }
}

/// The parameters of a path as `T`: one value, a tuple in the order of the path, or a struct or map
/// by their names.
pub(super) fn read<T: DeserializeOwned>(params: &[(&str, &str)]) -> Result<T, Misfit> {
    T::deserialize(Params(params))
}

/// The error of a parameter that the handler cannot take. It says nothing about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a parameter of the path does not fit")]
pub(super) struct Misfit;

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(_text: T) -> Self {
        Self
    }
}

/// Parameters as a deserialiser; for a single value there must be exactly one.
struct Params<'p>(&'p [(&'p str, &'p str)]);

impl<'p> Params<'p> {
    fn only(&self) -> Result<&'p str, Misfit> {
        match *self.0 {
            [(_, value)] => Ok(value),
            _ => Err(Misfit),
        }
    }

    fn each(&self) -> impl Iterator<Item = (&'p str, Self)> {
        self.0.chunks(1).map(|one| (one[0].0, Self(one)))
    }
}

impl<'de> IntoDeserializer<'de, Misfit> for Params<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            visitor.$visit(self.only()?.parse().map_err(|_| Misfit)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Params<'_> {
    type Error = Misfit;

    parse! {
        deserialize_bool visit_bool deserialize_char visit_char
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_i128 visit_i128
        deserialize_u8 visit_u8 deserialize_u16 visit_u16 deserialize_u32 visit_u32
        deserialize_u64 visit_u64 deserialize_u128 visit_u128
        deserialize_f32 visit_f32 deserialize_f64 visit_f64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_str(self.only()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_seq(SeqDeserializer::new(self.each().map(|(_, value)| value)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        if len != self.0.len() {
            return Err(Misfit);
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(MapDeserializer::new(self.each()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum(StrDeserializer::new(self.only()?))
    }

    forward_to_deserialize_any! { str string bytes byte_buf identifier ignored_any }
}

/// The names of the parameters of a path, for people to read.
pub(super) fn names(params: &[(&str, &str)]) -> String {
    let names: Vec<&str> = params.iter().map(|&(name, _)| name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn a_pattern_fits_segment_by_segment() {
        let pattern = Pattern::new("/chat/{room}/by/{user}");
        assert_eq!(
            pattern.fit("/chat/a b/by/é"),
            Some([("room", "a b"), ("user", "é")].into())
        );
        for other in [
            "/chat/a/by/",
            "/chat/a/by",
            "/chat/a/by/b/",
            "chat/a/by/b",
            "",
        ] {
            assert_eq!(pattern.fit(other), None, "{other}");
        }
        assert_eq!(Pattern::new("lobby").fit("lobby"), Some(Vec::new()));
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn a_name_stands_once() {
        Pattern::new("/{a}/{a}");
    }

    #[test]
    fn parameters_are_read_in_every_shape() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Seat {
            row: u8,
            name: Box<str>,
        }

        let (one, two) = ([("row", "7")], [("name", "x"), ("row", "7")]);
        assert_eq!(read::<u64>(&one), Ok(7));
        assert_eq!(read::<String>(&one), Ok("7".into()));
        assert_eq!(read::<(String, i8)>(&two), Ok(("x".into(), 7)));
        let name = "x".into();
        assert_eq!(read(&two), Ok(Seat { row: 7, name }));
        assert_eq!(read::<u64>(&two), Err(Misfit));
        assert_eq!(read::<Seat>(&one), Err(Misfit));
        assert_eq!(read::<u8>(&[("row", "256")]), Err(Misfit));
    }
}
