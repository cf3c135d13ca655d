//! The check of what a fault says to write.

use core::{fmt::Debug, str::FromStr};

/// Checks that what a fault says to write is taken as it stands.
pub(crate) fn assert_accepted<T: FromStr<Err: Debug>>(fault: &str) {
    let Some((_, advice)) = fault.split_once(": write ") else {
        assert!(!fault.contains("write "), "{fault}");
        return;
    };
    for text in advice.replace(" and ", ", ").split(", ") {
        assert!(text.parse::<T>().is_ok(), "{text:?} of {fault}");
    }
}
