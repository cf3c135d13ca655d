//! The ids of connections.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Names one connection, and never another one; in a cluster, not within
/// [`SERIALS`](Self::SERIALS) connections.
///
/// The low 20 bits are a slot, small and dense, so that a host may index a table with it; the 33
/// bits above are a serial number that the hub gives out once. An id is below 2<sup>53</sup>, a
/// lossless JavaScript number, and sorts by age, until serials begin again. Its text form, used in
/// JSON, is decimal.
///
/// ```
/// use roomcast_core::ConnId;
///
/// let id: ConnId = "4194305".parse()?;
/// assert_eq!((id.serial(), id.slot()), (4, 1));
/// assert_eq!(id.to_string(), "4194305");
/// # Ok::<(), roomcast_core::hub::ParseConnIdError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

// A list of recipients has one for each of them: a fan-out to 10,000 copies 80 kB.
const _: () = assert!(size_of::<ConnId>() <= 8 && size_of::<Option<ConnId>>() <= 16);

impl ConnId {
    const SLOT_BITS: u32 = 20;
    const SERIAL_BITS: u32 = 33;
    /// The maximum number of simultaneous connections of a hub: 2<sup>20</sup>.
    pub const SLOTS: usize = 1 << Self::SLOT_BITS;
    /// Serials that there are: 2<sup>33</sup>, at 1,000 connections a second enough for 99 days. A
    /// hub of its own refuses at the end. A cluster has one count for all its hubs, and begins
    /// again: a live connection keeps its slot, and so its id, to itself within its hub.
    pub const SERIALS: u64 = 1 << Self::SERIAL_BITS;

    /// The id of no connection, above all assigned ids.
    pub(crate) const NOBODY: Self = Self(u64::MAX);

    pub(crate) const fn new(serial: u64, slot: u32) -> Self {
        debug_assert!(serial < Self::SERIALS && (slot as usize) < Self::SLOTS);
        Self(serial << Self::SLOT_BITS | slot as u64)
    }

    /// The table index of the connection while it lives; reused after its end.
    #[allow(clippy::cast_possible_truncation)] // 20 bits
    pub const fn slot(self) -> usize {
        (self.0 & (Self::SLOTS as u64 - 1)) as usize
    }

    /// The number of the connection in the order of opening.
    pub const fn serial(self) -> u64 {
        self.0 >> Self::SLOT_BITS
    }

    /// The id as one number below 2<sup>53</sup>.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id that is this number.
    ///
    /// # Errors
    ///
    /// When the number is 2<sup>53</sup> or above.
    pub const fn from_u64(number: u64) -> Result<Self, ParseConnIdError> {
        if number >> (Self::SLOT_BITS + Self::SERIAL_BITS) == 0 {
            Ok(Self(number))
        } else {
            Err(ParseConnIdError)
        }
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a connection id is a decimal number below 2^53")]
pub struct ParseConnIdError;

impl FromStr for ConnId {
    type Err = ParseConnIdError;

    fn from_str(text: &str) -> Result<Self, ParseConnIdError> {
        let number: u64 = text.parse().map_err(|_| ParseConnIdError)?;
        // There is one text per id: the output of `Display`. Texts like `+7` or `007` are not ids.
        let canonical = text.len() == 1 || !text.starts_with(['0', '+']);
        if canonical {
            Self::from_u64(number)
        } else {
            Err(ParseConnIdError)
        }
    }
}

impl Serialize for ConnId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ConnId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a connection id: a decimal number below 2^53 in a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ConnId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_sort_by_age_and_fit_a_javascript_number() {
        let last = ConnId::new(ConnId::SERIALS - 1, (1 << 20) - 1);
        assert_eq!(last.as_u64(), (1 << 53) - 1);
        assert!(ConnId::new(1, 9) < ConnId::new(2, 0));
        assert_eq!(last.to_string().parse(), Ok(last));
    }

    #[test]
    fn only_the_canonical_text_is_an_id() {
        for text in ["", "-1", "+1", "01", "1.0", " 1", "9007199254740992", "x"] {
            assert_eq!(text.parse::<ConnId>(), Err(ParseConnIdError), "{text:?}");
        }
        assert!("0".parse::<ConnId>().is_ok());
    }
}
