//! Values of policies. Errors name the key and its allowed values.

use alloc::{format, vec::Vec};
use core::{fmt, time::Duration};

use serde::{Deserializer, Serializer, de};

use super::{Overflow, Pattern, PresencePolicy, RoomPolicy};

/// A whole number within bounds.
struct Number<'a> {
    key: &'a str,
    range: (u64, u64),
    advice: &'a str,
}

impl de::Visitor<'_> for Number<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            range: (least, most),
            advice,
        } = self;
        write!(
            f,
            "`{key}` to be a whole number from {least} to {most}{advice}"
        )
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(u64::MAX))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        let Self {
            key,
            range: (least, most),
            advice,
        } = self;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        let fault = format!("`{key}` must be {least} to {most}{advice}");
        Err(E::custom(fault))
    }
}

fn number<'de, D: Deserializer<'de>, N: TryFrom<u64, Error: fmt::Display>>(
    deserializer: D,
    key: &str,
    range: (u64, u64),
    advice: &str,
) -> Result<N, D::Error> {
    let number = deserializer.deserialize_any(Number { key, range, advice })?;
    N::try_from(number).map_err(de::Error::custom)
}

/// A value that is a word of a list.
struct Word<'a, T> {
    key: &'a str,
    words: &'a [(&'a str, T)],
}

impl<T> fmt::Display for Word<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (word, _)) in self.words.iter().enumerate() {
            let before = match at {
                0 => "",
                at if at + 1 == self.words.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}\"{word}\"")?;
        }
        Ok(())
    }
}

impl<T: Copy> de::Visitor<'_> for Word<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be {self}", self.key)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let found = self.words.iter().find(|(word, _)| *word == text);
        let fault = || E::custom(format!("`{}` must be {self}", self.key));
        found.map(|(_, value)| *value).ok_or_else(fault)
    }
}

/// Yes or no.
struct Flag<'a>(&'a str);

impl de::Visitor<'_> for Flag<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` to be true or false, without quotes", self.0)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<bool, E> {
        Ok(flag)
    }
}

struct PatternText;

impl de::Visitor<'_> for PatternText {
    type Value = Pattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`match` to be a text, such as \"chat:*\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Pattern, E> {
        let fault = |fault| E::custom(format!("`match`: {fault}"));
        text.parse().map_err(fault)
    }
}

struct Rooms;

impl<'de> de::Visitor<'de> for Rooms {
    type Value = Vec<RoomPolicy>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`rooms` to be a list of policies")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Vec<RoomPolicy>, A::Error> {
        let mut rooms = Vec::new();
        while let Some(room) = list.next_element()? {
            rooms.push(room);
        }
        Ok(rooms)
    }
}

pub(super) fn rooms<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RoomPolicy>, D::Error> {
    d.deserialize_any(Rooms)
}

pub(super) fn pattern<'de, D: Deserializer<'de>>(d: D) -> Result<Pattern, D::Error> {
    d.deserialize_any(PatternText)
}

const NO_HISTORY: &str = ": leave all of `history` out for rooms that keep none";

pub(super) fn history_messages<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    number(d, "history.messages", (1, 100_000), NO_HISTORY)
}

pub(super) fn history_bytes<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    number(d, "history.bytes", (1, 1 << 30), NO_HISTORY)
}

pub(super) fn history_age<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    let days = 30 * 24 * 3600;
    number(d, "history.age_s", (1, days), NO_HISTORY).map(Duration::from_secs)
}

pub(super) fn presence<'de, D: Deserializer<'de>>(d: D) -> Result<PresencePolicy, D::Error> {
    d.deserialize_any(Word {
        key: "presence",
        words: &[
            ("off", PresencePolicy::Off),
            ("counts", PresencePolicy::Counts),
            ("members", PresencePolicy::Members),
        ],
    })
}

pub(super) fn grace<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    number(d, "presence_grace_s", (0, 3600), "").map(Duration::from_secs)
}

pub(super) fn publish<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    d.deserialize_any(Flag("publish"))
}

pub(super) fn echo<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    d.deserialize_any(Flag("echo"))
}

pub(super) fn members<'de, D: Deserializer<'de>>(d: D) -> Result<Option<usize>, D::Error> {
    let advice = ": leave it out for no limit";
    number(d, "members", (1, 1 << 20), advice).map(Some)
}

pub(super) fn overflow<'de, D: Deserializer<'de>>(d: D) -> Result<Overflow, D::Error> {
    d.deserialize_any(Word {
        key: "overflow",
        words: &[
            ("close", Overflow::Close),
            ("drop-oldest", Overflow::DropOldest),
            ("latest", Overflow::Latest),
        ],
    })
}

pub(super) fn in_seconds<S: Serializer>(time: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u64(time.as_secs())
}
