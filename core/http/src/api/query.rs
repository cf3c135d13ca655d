//! The query string of a call.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
    vec::Vec,
};
use core::ops::Bound;

use percent_encoding::percent_decode_str;

use crate::problem::{PAGE_MAX, Problem};

/// The parameters of a call, each at most once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string, a form as browsers encode it: percent-encoded UTF-8, `+` is a space.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8, or names a parameter twice, which would be ambiguous.
    pub(super) fn read(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::Repeated(shown(&name)));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Removes and returns a parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Checks that there are no other parameters than these.
    ///
    /// # Errors
    ///
    /// The answer that names the first unknown parameter, and the known ones.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        let Some(unknown) = names.find(|name| !known.contains(name)) else {
            return Ok(());
        };
        let known = match known {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        Err(Problem::Unknown(shown(unknown), known))
    }

    /// The bound of a history after or before an offset, which is excluded.
    pub(super) fn offset(&self, name: &'static str) -> Result<Bound<u64>, Problem> {
        let edge = |text| number(text).map(Bound::Excluded);
        let offset = self.get(name).map_or(Some(Bound::Unbounded), edge);
        offset.ok_or(Problem::Offset(name))
    }

    /// The number of entries to list; default 100.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.get("limit").map_or(Some(100), number);
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
        limit.ok_or(Problem::PageLimit)
    }
}

/// Parses a number that consists of digits only: no sign, no space.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// True when each `%` of a text is followed by two hexadecimal digits.
pub(super) fn is_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|behind| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Decodes a name or a value.
fn decoded(text: &str) -> Result<String, Problem> {
    if !is_encoded(text) {
        return Err(Problem::QueryEncoding);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Cow::into_owned).map_err(|_| Problem::QueryText)
}

/// A parameter's name as an error may show it: in full if it is a word, otherwise not at all.
fn shown(name: &str) -> String {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=32).contains(&name.len()) && name.bytes().all(word) {
        format!("`{name}`")
    } else {
        "whose name is not a word".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number("5"), Some(5));
        assert_eq!(number("005"), Some(5));
        for bad in [
            "",
            "+5",
            " 5",
            "5 ",
            "-1",
            "1e3",
            "\u{665}",
            "99999999999999999999",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_parameter_when_it_is_a_word() {
        let refused = |query| {
            let query = Query::read(query).expect("a form");
            let problem = query.only(&["after", "limit"]).expect_err("unknown");
            problem.to_string()
        };
        assert!(refused("limit=1&limti=2").contains("unknown parameter `limti`"));
        assert!(refused("limti").contains("takes after, limit"));
        for strange in ["%3Cscript%3E=1", "%22", "=1", "a%0Ab=1", &"x".repeat(33)] {
            let text = refused(strange);
            assert!(text.contains("whose name is not a word"), "{text}");
        }
    }

    #[test]
    fn what_nobody_could_read_in_one_way_is_refused() {
        for bad in [
            "limit=1&limit=1",
            "a=%FF",
            "%FF=a",
            "limit=1&%6Cimit=2",
            "room=50%",
            "room=%",
            "room=%2",
            "room=a%zzb",
            "room=%2%46",
            "%=1",
            "room=%\u{fc}1",
        ] {
            assert!(Query::read(bad).is_err(), "{bad}");
        }
        assert!(is_encoded("a%2Fb%25%c3%BC") && is_encoded(""));
        let query = Query::read("room=a+b%2Bc&&after=").expect("a form");
        assert_eq!(query.get("room"), Some("a b+c"));
        assert_eq!(query.get("after"), Some(""));
        assert_eq!(query.only(&["room", "after"]), Ok(()));
    }
}
