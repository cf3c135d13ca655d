//! The validity of a certificate.

use std::ops::Range;

use chrono::{DateTime, NaiveDateTime, Utc};

/// The tags of the DER elements that are read here.
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The validity period of a certificate in DER; `None` if it cannot be parsed (RFC 5280, section
/// 4.1).
pub(super) fn validity(certificate: &[u8]) -> Option<Range<DateTime<Utc>>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = skip(fields)?;
    }
    // Skips the serial number, the algorithm and the issuer.
    for _ in 0..3 {
        fields = skip(fields)?;
    }
    let (validity, _) = element(fields, SEQUENCE)?;
    Some(time(validity)?..time(skip(validity)?)?)
}

/// The time in the first element.
fn time(bytes: &[u8]) -> Option<DateTime<Utc>> {
    let (&tag, _) = bytes.split_first()?;
    let (text, _) = element(bytes, tag)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        // A year of two digits is from 1950 to 2049.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some(time.and_utc())
}

/// The content of the first element, which must have this tag, and the bytes after it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0x00..=0x7f => (usize::from(len), rest),
        // More length bytes are not needed: no certificate has gigabytes.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            let len = digits
                .iter()
                .fold(0, |len, &digit| len << 8 | usize::from(digit));
            (len, rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(len)).flatten()
}

fn skip(bytes: &[u8]) -> Option<&[u8]> {
    element(bytes, *bytes.first()?).map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let len = u8::try_from(content.len()).expect("short");
        [&[tag, len], content].concat()
    }

    fn certificate(tag: u8, end: &str) -> Vec<u8> {
        let begin = wrap(UTC_TIME, b"200101000000Z");
        let validity = wrap(SEQUENCE, &[begin, wrap(tag, end.as_bytes())].concat());
        let fields = [
            wrap(VERSION, &wrap(2, &[2])),
            wrap(2, &[1]),
            wrap(SEQUENCE, &[]),
            wrap(SEQUENCE, &[]),
            validity,
        ];
        wrap(SEQUENCE, &wrap(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (tag, end, time) in [
            (UTC_TIME, "300102030405Z", "2030-01-02 03:04:05 UTC"),
            (UTC_TIME, "991231235959Z", "1999-12-31 23:59:59 UTC"),
            (
                GENERALIZED_TIME,
                "20510102030405Z",
                "2051-01-02 03:04:05 UTC",
            ),
        ] {
            let found = validity(&certificate(tag, end)).expect(end);
            assert_eq!(found.start.to_string(), "2020-01-01 00:00:00 UTC");
            assert_eq!(found.end.to_string(), time);
        }
        assert_eq!(validity(&certificate(UTC_TIME, "tomorrow")), None);
    }

    #[test]
    fn bytes_that_are_cut_short_have_no_time() {
        let whole = certificate(UTC_TIME, "300102030405Z");
        for len in 0..whole.len() {
            assert_eq!(validity(&whole[..len]), None, "{len}");
        }
    }
}
