//! Payloads: padding, and at the end the number of the message, where it is found at once.

const DIGITS: usize = 12;

/// The payload of message `number`, of this many bytes.
pub fn text(number: u64, bytes: usize) -> String {
    format!(
        "{}{number:0DIGITS$}",
        "x".repeat(bytes.saturating_sub(DIGITS))
    )
}

/// The number at the end of a payload.
pub fn number(payload: &[u8]) -> Option<u64> {
    let mut number = 0;
    for digit in payload.last_chunk::<DIGITS>()? {
        number = number * 10 + u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(number)
}
