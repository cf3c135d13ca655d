//! The place in a payload at which a deserialiser stopped.

use alloc::{format, string::String};
use core::{cell::RefCell, fmt, marker::PhantomData};

use serde::{
    Deserializer, de::DeserializeOwned, de::DeserializeSeed, de::EnumAccess, de::IntoDeserializer,
    de::MapAccess, de::SeqAccess, de::VariantAccess, de::Visitor,
};

/// The path of the member that does not fit `T`: `items[3].price`. It is empty when the value as a
/// whole does not fit, and `None` when all of it fits.
///
/// It contains only names that `T` itself has. The key of a map is the client's text, and appears
/// as `*`.
///
/// Written by hand because the library for it repeats the name that a client gave to an unknown
/// field. It reads the text a second time, so that payloads that fit are not slowed down.
pub(super) fn stop<T: DeserializeOwned>(json: &str) -> Option<String> {
    let found = RefCell::new(None);
    let way = Way {
        found: &found,
        parent: None,
        step: Step::Key,
    };
    let mut json = serde_json::Deserializer::from_str(json);
    let read = PhantomData::<T>.deserialize(way.trace(&mut json));
    let path = found.into_inner();
    read.err().and(path)
}

/// A path as a member of `data`: `data.items[3].price`.
pub(super) fn of_data(path: &str) -> String {
    let dot = if path.is_empty() || path.starts_with('[') {
        ""
    } else {
        "."
    };
    format!("data{dot}{path}")
}

/// A path with one more name.
pub(super) fn below(path: &str, name: &str) -> String {
    match path {
        "" => name.into(),
        path => format!("{path}.{name}"),
    }
}

/// The fields of a struct, or the variants of an enum.
type Names = &'static [&'static str];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A field or a variant, by its name in the type.
    Name(&'static str),
    /// An element of an array.
    Index(usize),
    /// A value of a map.
    Key,
}

impl Step {
    fn named(names: Names, name: &str) -> Self {
        let known = names.iter().find(|known| **known == name);
        known.map_or(Self::Key, |name| Self::Name(name))
    }
}

/// The path to a value, linked from the inside out.
#[derive(Clone, Copy)]
struct Way<'w> {
    /// The path at which reading stopped.
    found: &'w RefCell<Option<String>>,
    parent: Option<&'w Self>,
    step: Step,
}

impl<'w> Way<'w> {
    const fn to(&'w self, step: Step) -> Self {
        Self {
            found: self.found,
            parent: Some(self),
            step,
        }
    }

    fn path(&self) -> String {
        let Some(parent) = self.parent else {
            return String::new();
        };
        let path = parent.path();
        match self.step {
            Step::Name(name) => below(&path, name),
            Step::Index(index) => format!("{path}[{index}]"),
            Step::Key => below(&path, "*"),
        }
    }

    const fn trace<T>(&'w self, inner: T) -> Traced<'w, T> {
        Traced { inner, way: self }
    }

    const fn watch<V>(&'w self, visitor: V, names: Names) -> Watched<'w, V> {
        Watched {
            visitor,
            way: self,
            names,
        }
    }

    /// Records that reading stopped here, unless it stopped further inside.
    fn stopped<E>(&self, fault: E) -> E {
        let mut found = self.found.borrow_mut();
        if found.is_none() {
            *found = Some(self.path());
        }
        fault
    }

    /// Forgets a fault inside a value that was read in spite of it.
    fn passed(&self) {
        *self.found.borrow_mut() = None;
    }
}

/// A deserialiser or a seed, with the path to its value.
struct Traced<'w, T> {
    inner: T,
    way: &'w Way<'w>,
}

macro_rules! read {
    ($names:expr; $($method:ident $(($($arg:ident: $kind:ty),*))?),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(
            self,
            $($($arg: $kind,)*)?
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let way = self.way;
            let visitor = way.watch(visitor, $names);
            let read = self.inner.$method($($($arg,)*)? visitor);
            read.map_err(|fault| way.stopped(fault))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Traced<'_, D> {
    type Error = D::Error;

    read! {
        &[];
        deserialize_any, deserialize_bool, deserialize_char, deserialize_str, deserialize_string,
        deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64, deserialize_i128,
        deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64, deserialize_u128,
        deserialize_f32, deserialize_f64, deserialize_bytes, deserialize_byte_buf,
        deserialize_option, deserialize_unit, deserialize_seq, deserialize_map,
        deserialize_identifier, deserialize_ignored_any,
        deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str),
        deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
    }

    read! {
        names;
        deserialize_struct(name: &'static str, names: Names),
        deserialize_enum(name: &'static str, names: Names),
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A visitor of a value with these fields or variants.
struct Watched<'w, V> {
    visitor: V,
    way: &'w Way<'w>,
    names: Names,
}

macro_rules! visit {
    ($($method:ident $kind:ty),* $(,)?) => {
        $(fn $method<E: serde::de::Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visitor.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Watched<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool bool, visit_char char,
        visit_i8 i8, visit_i16 i16, visit_i32 i32, visit_i64 i64, visit_i128 i128,
        visit_u8 u8, visit_u16 u16, visit_u32 u32, visit_u64 u64, visit_u128 u128,
        visit_f32 f32, visit_f64 f64,
        visit_str &str, visit_borrowed_str &'de str, visit_string String,
        visit_bytes &[u8], visit_borrowed_bytes &'de [u8], visit_byte_buf alloc::vec::Vec<u8>,
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(self.way.trace(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(self.way.trace(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let (way, index) = (self.way, 0);
        self.visitor.visit_seq(Elements { inner, way, index })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor
            .visit_map(Members::new(inner, self.way, self.names))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor
            .visit_enum(Members::new(inner, self.way, self.names))
    }
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Traced<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        let value = self.inner.deserialize(self.way.trace(inner))?;
        self.way.passed();
        Ok(value)
    }
}

struct Elements<'w, A> {
    inner: A,
    way: &'w Way<'w>,
    index: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let way = self.way.to(Step::Index(self.index));
        self.index += 1;
        self.inner.next_element_seed(way.trace(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The members of a struct or a map, or the variant of an enum.
struct Members<'w, A> {
    inner: A,
    way: &'w Way<'w>,
    names: Names,
    /// The step to the value whose key was read.
    step: Step,
}

impl<'w, A> Members<'w, A> {
    const fn new(inner: A, way: &'w Way<'w>, names: Names) -> Self {
        let step = Step::Key;
        Self {
            inner,
            way,
            names,
            step,
        }
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        if self.names.is_empty() {
            return self.inner.next_key_seed(seed);
        }
        let Some(key) = self.inner.next_key::<String>()? else {
            return Ok(None);
        };
        self.step = Step::named(self.names, &key);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let way = self.way.to(self.step);
        self.inner.next_value_seed(way.trace(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'w, A: EnumAccess<'de>> EnumAccess<'de> for Members<'w, A> {
    type Error = A::Error;
    type Variant = Members<'w, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<(T::Value, Self::Variant), A::Error> {
        let (name, inner) = self.inner.variant::<String>()?;
        let mut members = Members::new(inner, self.way, self.names);
        members.step = Step::named(self.names, &name);
        let variant = seed.deserialize(name.into_deserializer())?;
        Ok((variant, members))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Members<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        let way = self.way.to(self.step);
        self.inner
            .unit_variant()
            .map_err(|fault| way.stopped(fault))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let way = self.way.to(self.step);
        self.inner.newtype_variant_seed(way.trace(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let way = self.way.to(self.step);
        let visitor = way.watch(visitor, &[]);
        let read = self.inner.tuple_variant(len, visitor);
        read.map_err(|fault| way.stopped(fault))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: Names,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let way = self.way.to(self.step);
        let visitor = way.watch(visitor, names);
        let read = self.inner.struct_variant(names, visitor);
        read.map_err(|fault| way.stopped(fault))
    }
}

#[cfg(test)]
mod tests;
