//! Values of settings: reading them, and the types of their fields.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

/// A day in milliseconds: the upper bound of times that are waited for.
pub const DAY_MS: u64 = 24 * 3600 * 1000;

/// Types of fields that whole numbers set; times are in milliseconds.
pub trait Number {
    /// The number; `None` when it is off.
    fn get(&self) -> Option<u64>;

    /// Sets the number. A number that is too large for the type becomes its maximum. Types that
    /// cannot be off ignore `None`.
    fn set(&mut self, number: Option<u64>);
}

macro_rules! whole_numbers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn get(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }

            fn set(&mut self, number: Option<u64>) {
                if let Some(number) = number {
                    *self = Self::try_from(number).unwrap_or(Self::MAX);
                }
            }
        }
    )*};
}

whole_numbers!(usize u32 u64);

impl Number for Duration {
    fn get(&self) -> Option<u64> {
        Some(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }

    fn set(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            *self = Self::from_millis(number);
        }
    }
}

impl<N: Number + Default> Number for Option<N> {
    fn get(&self) -> Option<u64> {
        self.as_ref().and_then(Number::get)
    }

    fn set(&mut self, number: Option<u64>) {
        *self = number.map(|number| {
            let mut value = N::default();
            value.set(Some(number));
            value
        });
    }
}

/// Reads a whole number in a range, or `off`. The error gives the range even for a number that is
/// too large for any type.
pub(super) fn whole(
    text: &str,
    range: &RangeInclusive<u64>,
    may_be_off: bool,
) -> Result<Option<u64>, String> {
    if may_be_off && text == "off" {
        return Ok(None);
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "must be a whole number, {}",
            words(range, may_be_off)
        ));
    }
    let number = text.parse().unwrap_or(u64::MAX);
    within(number, range, may_be_off).map(|()| Some(number))
}

/// Checks that a number is in a range.
pub(super) fn within(
    number: u64,
    range: &RangeInclusive<u64>,
    may_be_off: bool,
) -> Result<(), String> {
    if range.contains(&number) {
        return Ok(());
    }
    Err(format!("must be {}", words(range, may_be_off)))
}

fn words(range: &RangeInclusive<u64>, may_be_off: bool) -> String {
    let or_off = if may_be_off { ", or off" } else { "" };
    format!("{} to {}{or_off}", range.start(), range.end())
}

/// Reads `on` or `off`.
pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

/// Reads a yes or a no. Any other word is refused, since its meaning would be a guess.
pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true, yes, on or 1, or else false, no, off or 0".to_owned()),
    }
}

/// Reads values separated by commas, without the blanks and line ends around them.
///
/// # Errors
///
/// The first that is wrong.
pub fn list<V: FromStr<Err: Display>>(text: &str) -> Result<Vec<V>, String> {
    let entries = text.split(',').map(|entry| entry.trim().parse());
    let entries: Result<_, V::Err> = entries.collect();
    entries.map_err(|fault| format!("has a wrong entry: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_for_yes_are_yes() {
        for yes in ["true", "TRUE", "yes", "on", "1"] {
            assert_eq!(yes_or_no(yes), Ok(true), "{yes}");
        }
        for no in ["false", "False", "no", "off", "0"] {
            assert_eq!(yes_or_no(no), Ok(false), "{no}");
        }
        for neither in [
            "disabled", "none", "never", "-1", "False ", " true", "", "n", "2", "enabled", "null",
        ] {
            let fault = yes_or_no(neither).expect_err(neither);
            assert!(fault.contains("true") && fault.contains("off"), "{fault}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off_and_nothing_else() {
        assert_eq!((on_or_off("on"), on_or_off("off")), (Ok(true), Ok(false)));
        for wrong in ["", "true", "1", "On", "off ", "no"] {
            let fault = "must be on or off".to_owned();
            assert_eq!(on_or_off(wrong), Err(fault), "{wrong}");
        }
    }
}
