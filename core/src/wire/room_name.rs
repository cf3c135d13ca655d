//! The names of rooms.

use serde::{Deserialize, Serialize};

use super::counted::Counted;

/// The first bytes of control characters: those of ASCII, and the first byte of all characters from
/// U+0080 up to U+00BF.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    suspect[0x7f] = true;
    suspect[0xc2] = true;
    suspect
};

/// The rules for room names.
#[derive(Debug, Clone, Copy)]
pub struct RoomName;

/// A text that is not a room name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[error("a room name has 1 to {} and no control characters", Counted(*.bytes_max, "byte"))]
#[non_exhaustive]
pub struct RoomNameError {
    /// The limit in force.
    pub bytes_max: usize,
}

impl RoomName {
    /// Checks a name: 1 to `bytes_max` bytes, no control characters (Unicode category Cc). Any
    /// other text is a name, byte for byte: there is no normalisation and no reserved word.
    ///
    /// # Errors
    ///
    /// When the name breaks the rules.
    pub fn check(name: &str, bytes_max: usize) -> Result<(), RoomNameError> {
        // Nearly every name is accepted by its bytes alone.
        let is_suspect = |byte: u8| SUSPECT[usize::from(byte)];
        if (1..=bytes_max).contains(&name.len())
            && !(name.bytes().any(is_suspect) && has_control(name))
        {
            Ok(())
        } else {
            Err(RoomNameError { bytes_max })
        }
    }

    /// The bytes that a name takes in a JSON list: with its escapes, quotes and comma.
    pub(crate) fn listed_bytes(name: &str) -> usize {
        let escapes = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
        name.len() + escapes.count() + r#""","#.len()
    }
}

#[inline(never)]
fn has_control(name: &str) -> bool {
    name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_free_of_controls() {
        let fits = "x".repeat(200);
        for good in ["a", "__proto__", "\u{202e}rtl", "é", "\u{a0}", " ", &fits] {
            assert!(RoomName::check(good, 200).is_ok(), "{good:?}");
        }
        let long = "x".repeat(201);
        for bad in ["", "a\n", "\0", "\u{7f}", "\u{85}", "a\u{9f}", &long] {
            assert!(RoomName::check(bad, 200).is_err(), "{bad:?}");
        }
    }
}
