//! Formatting of numbers.

/// Formats a count with commas between thousands.
pub(in crate::cli) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is positive
pub(in crate::cli) fn rate(rate: f64) -> String {
    match rate {
        0.0..10.0 => format!("{rate:.1}/s"),
        rate => format!("{}/s", count(rate.round() as u64)),
    }
}

/// A number of bytes.
#[allow(clippy::cast_precision_loss)] // it is rounded
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{value:.1} {unit}"),
    }
}

/// A time in milliseconds.
pub(in crate::cli) fn millis(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{} ms", seconds * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!(rate(0.25), "0.2/s");
        assert_eq!(rate(12_345.6), "12,346/s");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 19), "1.5 MiB");
        assert_eq!(millis(Some(0.0025)), "2.5 ms");
        assert_eq!(millis(None), "-");
    }
}
