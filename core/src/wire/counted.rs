//! Numbers with their nouns, for texts.

use core::fmt;

/// A number of things, for a text.
///
/// ```
/// use roomcast_core::wire::Counted;
///
/// assert_eq!(Counted(1, "member").to_string(), "1 member");
/// assert_eq!(Counted(2, "member").to_string(), "2 members");
/// assert_eq!(Counted(1, "delivery").to_string(), "1 delivery");
/// assert_eq!(Counted(0, "delivery").to_string(), "0 deliveries");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted(
    /// The number of things.
    pub usize,
    /// The noun of one of them. Its plural ends in `s`, or in `ies` in place of a `y`.
    pub &'static str,
);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        match noun.strip_suffix('y') {
            _ if *count == 1 => write!(f, "{count} {noun}"),
            Some(stem) => write!(f, "{count} {stem}ies"),
            None => write!(f, "{count} {noun}s"),
        }
    }
}
