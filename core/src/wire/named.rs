//! Structs that are read only from named members.

use core::{fmt, marker::PhantomData};

use serde::{
    Deserializer, de::DeserializeSeed, de::Error, de::MapAccess, de::Visitor,
    forward_to_deserialize_any,
};

/// A deserializer that accepts no lists for structs. Derived code accepts a list of the members in
/// order: `history = []` would then be a history with all its defaults.
///
/// For structs only.
pub(crate) struct Named<D> {
    pub(crate) deserializer: D,
    /// The error for a struct without any given member; `None` when that is allowed.
    pub(crate) fault_of_none: Option<&'static str>,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Named<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let by_name = ByName {
            visitor,
            fault_of_none: self.fault_of_none,
            lifetime: PhantomData,
        };
        self.deserializer.deserialize_map(by_name)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// A visitor of maps only.
struct ByName<'de, V> {
    visitor: V,
    fault_of_none: Option<&'static str>,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ByName<'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Members {
            map,
            fault_of_none: self.fault_of_none,
        })
    }
}

/// The members of a struct. At least one must be given, unless none is required.
struct Members<A> {
    map: A,
    fault_of_none: Option<&'static str>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let key = self.map.next_key_seed(seed)?;
        match self.fault_of_none.take() {
            Some(fault) if key.is_none() => Err(A::Error::custom(fault)),
            _ => Ok(key),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

/// Implements the serde traits by the inherent functions that `#[serde(remote = "Self")]` derives,
/// so that a struct is read by name only. `read` is for structs that are never written. With a text
/// after the name at least one member must be given; otherwise the text is the error.
macro_rules! by_name {
    ($type:ty, $fault_of_none:literal) => {
        $crate::wire::named::by_name!(read $type, Some($fault_of_none));
        $crate::wire::named::by_name!(write $type);
    };
    (write $type:ty) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
    (read $type:ty, $fault_of_none:expr) => {
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let fault_of_none = $fault_of_none;
                Self::deserialize($crate::wire::named::Named { deserializer, fault_of_none })
            }
        }
    };
    ($type:ty) => {
        $crate::wire::named::by_name!(read $type, None);
        $crate::wire::named::by_name!(write $type);
    };
}
pub(crate) use by_name;
