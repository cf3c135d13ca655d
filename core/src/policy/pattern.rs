//! Patterns of room names.

use alloc::{boxed::Box, string::String};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A pattern of room names: `*` is any run of characters, none included; everything else stands for
/// itself.
///
/// ```
/// use roomcast_core::policy::Pattern;
///
/// let pattern: Pattern = "chat:*:members".parse()?;
/// assert!(pattern.matches("chat:7:members"));
/// assert!(!pattern.matches("chat:7"));
/// # Ok::<(), roomcast_core::policy::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: Box<str>,
    /// The number of bytes before the first `*`. These alone rule out most names, for every
    /// message.
    literal: usize,
}

/// A text that is not a pattern of room names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pattern of room names has 1 to {} bytes and no control characters, like \"chat:*\"; \"*\" \
     alone matches every room",
    Pattern::BYTES_MAX
)]
pub struct PatternError;

impl Pattern {
    /// Bytes of a pattern, at most.
    pub const BYTES_MAX: usize = 256;

    /// True when a room name matches. Work: the lengths of both.
    #[inline(always)] // on the way of each publish with grants
    pub fn matches(&self, name: &str) -> bool {
        if !begins(name.as_bytes(), &self.text.as_bytes()[..self.literal]) {
            return false;
        }
        match self.text.len() - self.literal {
            0 => name.len() == self.literal, // no `*` at all
            1 => true,
            _ => self.matches_rest(&name[self.literal..]),
        }
    }

    /// Matches the part after the literal prefix, for patterns with more than a final `*`.
    fn matches_rest(&self, rest: &str) -> bool {
        let mut parts = self.text[self.literal + 1..].split('*');
        let last = parts.next_back().unwrap_or_default();
        let Some(mut rest) = rest.strip_suffix(last) else {
            return false;
        };
        // Each part matches as early as possible, which leaves the most for those after it.
        for part in parts {
            let Some(at) = rest.find(part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }

    /// The pattern as it is written.
    pub const fn as_str(&self) -> &str {
        &self.text
    }
}

/// `starts_with` without a call: beginnings of patterns are short, and most names differ early.
#[inline]
fn begins(name: &[u8], literal: &[u8]) -> bool {
    let (words, rest) = literal.as_chunks::<8>();
    let (name_words, _) = name.as_chunks::<8>();
    name.len() >= literal.len()
        && words.iter().zip(name_words).all(|(a, b)| a == b)
        && rest
            .iter()
            .zip(&name[words.len() * 8..])
            .all(|(a, b)| a == b)
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if (1..=Self::BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
            let literal = text.find('*').unwrap_or(text.len());
            let text = text.into();
            Ok(Self { text, literal })
        } else {
            Err(PatternError)
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text.into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["", "b", "aa"][..]),
            ("*", &["", "a", "é*"], &[]),
            ("a*", &["a", "ab", "a*"], &["", "ba"]),
            ("*a", &["a", "ba"], &["ab"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("*ab*ab*", &["abab", "xabyabz"], &["ab", "aab", "aba"]),
            ("a*b*c", &["abc", "abcbc"], &["ac", "acb", "abcb"]),
            ("ab*ba", &["abba", "abxba"], &["aba"]),
            (
                "12345678*",
                &["12345678", "123456789"],
                &["1234567", "1234567x"],
            ),
            (
                "123456789",
                &["123456789"],
                &["12345678", "12345678x", "1234567890"],
            ),
        ] {
            let parsed: Pattern = pattern.parse().expect(pattern);
            for name in yes {
                assert!(parsed.matches(name), "{pattern} and {name}");
            }
            for name in no {
                assert!(!parsed.matches(name), "{pattern} and {name}");
            }
        }
    }

    #[test]
    fn what_no_room_can_be_called_is_no_pattern() {
        let long = "x".repeat(257);
        for bad in ["", "a\n", &long] {
            assert_eq!(bad.parse::<Pattern>(), Err(PatternError), "{bad:?}");
        }
    }
}
