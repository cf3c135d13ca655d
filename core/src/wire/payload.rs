//! The `data` of an envelope: raw JSON that is safe to relay.

use memchr::memchr2;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// JSON text that may be relayed as it is: well-formed, at most 64 levels deep, surrogates paired.
///
/// Its bytes pass through unchanged, numbers and spaces included; it is never made into a tree.
///
/// ```
/// use roomcast_core::Payload;
///
/// let payload = Payload::parse(r#"{ "n": 12345678901234567890 }"#)?;
/// assert_eq!(payload.as_str(), r#"{ "n": 12345678901234567890 }"#);
/// assert!(Payload::parse("{").is_err());
/// # Ok::<(), roomcast_core::wire::PayloadError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'a>(&'a str);

/// JSON that is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
#[non_exhaustive]
pub enum PayloadError {
    /// Not JSON.
    #[error("`data` must be JSON")]
    Syntax,
    /// Nested too deep: a receiver's parser may not survive it.
    #[error("`data` must not be nested deeper than {} levels", Payload::DEPTH_MAX)]
    Depth,
    /// Half of a surrogate pair: a receiver cannot turn it into text.
    #[error("`data` must not hold a lone surrogate: write both halves of the pair")]
    Surrogate,
}

impl<'a> Payload<'a> {
    /// The deepest nesting of arrays and objects that is relayed.
    pub const DEPTH_MAX: usize = 64;
    /// `null`, what an absent `data` means.
    pub const NULL: Payload<'static> = Payload("null");

    /// Checks a text; white space around the value is removed. It takes one pass for the syntax and
    /// one for depth and surrogates, without allocation.
    ///
    /// # Errors
    ///
    /// When the text is not JSON or must not be relayed.
    pub fn parse(text: &'a str) -> Result<Self, PayloadError> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| PayloadError::Syntax)?;
        Self::from_raw(raw)
    }

    /// Checks a text that the parser has accepted as JSON.
    pub(crate) fn from_raw(raw: &'a RawValue) -> Result<Self, PayloadError> {
        scan(raw.get().as_bytes())?;
        Ok(Self(raw.get()))
    }

    /// Checks JSON that a serialiser wrote for content that may not be relayed.
    pub(crate) fn from_serialized(json: &'a str) -> Result<Self, PayloadError> {
        scan(json.as_bytes())?;
        Ok(Self(json))
    }

    /// The JSON text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// Checks depth and surrogates, which `serde_json` does not for raw values.
fn scan(json: &[u8]) -> Result<(), PayloadError> {
    if is_plain(json) {
        return Ok(());
    }
    let (mut depth, mut at) = (0, 0);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => at = string_end(json, at + 1)?,
            b'[' | b'{' => {
                depth += 1;
                if depth > Payload::DEPTH_MAX {
                    return Err(PayloadError::Depth);
                }
            }
            // The syntax is valid: every closing bracket has its opening one.
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// True when a text has no escape, and too few opening brackets to be too deep. Nearly all payloads
/// are such, and the compiler vectorizes this loop.
fn is_plain(json: &[u8]) -> bool {
    let (mut opening, mut escape) = (0, false);
    // The chunks are small enough that a count of one byte cannot overflow.
    for chunk in json.chunks(usize::from(u8::MAX)) {
        let mut count = 0;
        for &byte in chunk {
            count += u8::from(byte | 0x20 == b'{'); // and '['
            escape |= byte == b'\\';
        }
        opening += usize::from(count);
    }
    opening <= Payload::DEPTH_MAX && !escape
}

/// The index of the quote that ends the string whose content starts at `at`.
fn string_end(json: &[u8], mut at: usize) -> Result<usize, PayloadError> {
    while let Some(step) = memchr2(b'"', b'\\', &json[at..]) {
        at += step;
        if json[at] == b'"' {
            return Ok(at);
        }
        at += 2; // the backslash and what it escapes
        match hex(json, at - 1) {
            Some(0xd800..=0xdbff) => {
                at += 4;
                let paired = json.get(at) == Some(&b'\\')
                    && matches!(hex(json, at + 1), Some(0xdc00..=0xdfff));
                if !paired {
                    return Err(PayloadError::Surrogate);
                }
                at += 6;
            }
            Some(0xdc00..=0xdfff) => return Err(PayloadError::Surrogate),
            _ => {}
        }
    }
    debug_assert!(false, "a string without an end passed the parser");
    Err(PayloadError::Syntax)
}

/// The code unit of the `uXXXX` at `at`, if there is one.
fn hex(json: &[u8], at: usize) -> Option<u16> {
    let escape = json.get(at..at + 5)?.strip_prefix(b"u")?;
    u16::from_str_radix(core::str::from_utf8(escape).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        let wide: String = "[".repeat(100);
        assert!(Payload::parse(&nested(64)).is_ok());
        assert_eq!(Payload::parse(&nested(65)), Err(PayloadError::Depth));
        assert_eq!(Payload::parse(&nested(100_000)), Err(PayloadError::Depth));
        assert!(Payload::parse(&alloc::format!("\"{wide}\"")).is_ok());
        assert!(Payload::parse(r#"[[],{"a":[]},"\"[[",[]]"#).is_ok());
        // More brackets than a count of one byte can hold, none of them deep.
        let flat = alloc::format!("[{}[]]", "[],{},".repeat(500).replace("{}", r#"{"":0}"#));
        assert!(Payload::parse(&flat).is_ok());
        let deep = flat.replacen("0", &nested(64), 1);
        assert_eq!(Payload::parse(&deep), Err(PayloadError::Depth));
    }

    /// Every payload that the quick check lets pass passes the scan.
    #[test]
    fn a_plain_payload_is_neither_deep_nor_escaped() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_plain(nested(64).as_bytes()) && !is_plain(nested(65).as_bytes()));
        assert!(is_plain(b"{}") && is_plain(b"\"}]\"") && !is_plain(br#""\n""#));
        let late = alloc::format!("{}{}", " ".repeat(300), r#""\n""#);
        assert!(!is_plain(late.as_bytes()));
    }

    #[test]
    fn surrogates_come_in_pairs() {
        for good in [
            r#""\ud83d\ude00""#,
            r#""\\ud83d""#,
            r#""\u0041\ud83d\ude00x\n""#,
            r#"{"\uD83D\uDE00":"\u00e9"}"#,
        ] {
            assert!(Payload::parse(good).is_ok(), "{good}");
        }
        for bad in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\ud83d\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#"{"\ude00":1}"#,
        ] {
            assert_eq!(Payload::parse(bad), Err(PayloadError::Surrogate), "{bad}");
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "{", "NaN", "1 2", "\u{feff}1", "'a'", "[1,]", "\"\n\""] {
            assert_eq!(Payload::parse(bad), Err(PayloadError::Syntax), "{bad:?}");
        }
    }

    #[test]
    fn bytes_pass_through() {
        for text in ["1e999", "-0.0", "18446744073709551616", "[ 1 , 2 ]"] {
            assert_eq!(Payload::parse(text).map(Payload::as_str), Ok(text));
        }
    }
}
