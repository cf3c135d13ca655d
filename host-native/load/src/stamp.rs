//! The stamp that identifies a message, at the end of its payload, where it is found fast.

use std::io::Write as _;

/// The identity of a message of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The room, below a million.
    pub room: u32,
    /// The number of the message in its room.
    pub number: u32,
}

/// The end of the numbers of messages.
const NUMBERS: u64 = 10_000_000_000;

impl Stamp {
    /// The digits of a stamp: six for the room, and ten for the number.
    pub const BYTES: usize = 16;

    /// Appends a payload of `bytes` bytes, or of the stamp alone if that is longer.
    pub fn write(self, bytes: usize, out: &mut Vec<u8>) {
        out.resize(out.len() + bytes.saturating_sub(Self::BYTES), b'x');
        let _ = write!(out, "{:06}{:010}", self.room, self.number);
    }

    /// Reads the stamp at the end of a payload.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let digits = number(payload.last_chunk::<{ Self::BYTES }>()?)?;
        Some(Self {
            room: u32::try_from(digits / NUMBERS).ok()?,
            number: u32::try_from(digits % NUMBERS).ok()?,
        })
    }
}

/// Reads a number.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        number = number.checked_mul(10)?.checked_add(digit.into())?;
        if digit > 9 {
            return None;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written() {
        for (room, number) in [(0, 0), (7, 12), (999_999, u32::MAX)] {
            let stamp = Stamp { room, number };
            for bytes in [0, Stamp::BYTES, 128] {
                let mut payload = b"data:".to_vec();
                stamp.write(bytes, &mut payload);
                assert_eq!(payload.len() - 5, bytes.max(Stamp::BYTES));
                assert_eq!(Stamp::read(&payload), Some(stamp));
            }
        }
        for payload in [
            "",
            "000001000000001",
            "00000x0000000001",
            "0000019999999999",
        ] {
            assert_eq!(Stamp::read(payload.as_bytes()), None, "{payload}");
        }
    }
}
