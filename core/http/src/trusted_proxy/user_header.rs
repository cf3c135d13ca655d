//! The header field in which a proxy names the user.

use alloc::{borrow::ToOwned, boxed::Box, string::String};
use core::str::FromStr;

use roomcast_core::{
    ErrorCode,
    wire::{Coded, Details},
};

/// The bytes of a user's name, at most; the same limit as for an application.
const USER_BYTES_MAX: usize = 200;
/// Bytes of the name of a field, at most.
const NAME_BYTES_MAX: usize = 100;

/// Name of the header field in which a proxy names the user, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserHeader(String);

/// The error of a text that cannot be the name of a header field for users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the name of a header field that no browser sends, such as X-Auth-Request-User")]
pub struct UserHeaderNameError;

/// Names of fields that every client may send: any of them would name a user.
const OF_CLIENTS: [&str; 8] = [
    "authorization",
    "connection",
    "cookie",
    "host",
    "origin",
    "upgrade",
    "user-agent",
    "x-forwarded-for",
];

impl UserHeader {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserHeader {
    type Err = UserHeaderNameError;

    fn from_str(text: &str) -> Result<Self, UserHeaderNameError> {
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let name = text.to_ascii_lowercase();
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(is_of_a_name)
            && !OF_CLIENTS.contains(&&*name)
            && !name.starts_with("sec-");
        fits.then_some(Self(name)).ok_or(UserHeaderNameError)
    }
}

/// A header field that names a user and is refused. No error repeats its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamedUserError {
    /// The peer is not a proxy that may name users.
    #[error(
        "this peer may not name a user: a proxy that may is listed in ROOMCAST_TRUSTED_PROXY \
         (--trusted-proxy)"
    )]
    Untrusted,
    /// The field is there several times, or several fields were joined into one.
    #[error(
        "the proxy names several users: it has to replace the header field of the client, and the \
         user has no comma"
    )]
    Several,
    /// The field is empty.
    #[error("the proxy names an empty user: it has to leave the header field out")]
    Empty,
    /// The field is not a valid user.
    #[error(
        "the proxy names no valid user: one has 1 to {USER_BYTES_MAX} bytes of UTF-8 without control \
         characters"
    )]
    Invalid,
}

impl Coded for NamedUserError {
    fn row(&self) -> (ErrorCode, Option<Details>) {
        match self {
            Self::Untrusted => (ErrorCode::Forbidden, None),
            Self::Several | Self::Empty => (ErrorCode::BadRequest, None),
            Self::Invalid => (ErrorCode::BadRequest, Some(Details::limit(USER_BYTES_MAX))),
        }
    }
}

/// Reads the user from the values of all fields of that name; `None` when there are none.
pub(super) fn read<'v>(
    values: impl IntoIterator<Item = &'v [u8]>,
) -> Result<Option<Box<str>>, NamedUserError> {
    let mut values = values.into_iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    // Another proxy may have joined several fields by commas.
    if values.next().is_some() || value.contains(&b',') {
        return Err(NamedUserError::Several);
    }
    let user = core::str::from_utf8(value).map_err(|_| NamedUserError::Invalid)?;
    let user = user.trim_matches([' ', '\t']);
    if user.is_empty() {
        return Err(NamedUserError::Empty);
    }
    if user.len() > USER_BYTES_MAX || user.contains(char::is_control) {
        return Err(NamedUserError::Invalid);
    }
    Ok(Some(user.to_owned().into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn one_valid_user_is_taken() {
        let longest = "x".repeat(200);
        for (value, user) in [
            ("ann", "ann"),
            (" ann\t", "ann"),
            ("ann@example.com", "ann@example.com"),
            ("Jos\u{e9} M\u{fc}ller", "Jos\u{e9} M\u{fc}ller"),
            ("*", "*"),
            (&longest, &longest),
        ] {
            let read = read([value.as_bytes()]).expect(value);
            assert_eq!(read.as_deref(), Some(user));
        }
        assert_eq!(read([]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = [b'x'; 201];
        for (values, fault) in [
            (&[&b"ann"[..], b"ann"][..], NamedUserError::Several),
            (&[b"", b"ann"], NamedUserError::Several),
            (&[b"eve, ann"], NamedUserError::Several),
            (&[b","], NamedUserError::Several),
            (&[b""], NamedUserError::Empty),
            (&[b" \t "], NamedUserError::Empty),
            (&[b"a\tb"], NamedUserError::Invalid),
            (&[b"a\x7f"], NamedUserError::Invalid),
            (&[b"a\xc2\x85"], NamedUserError::Invalid),
            (&[b"\xff\xfe"], NamedUserError::Invalid),
            (&[&too_long], NamedUserError::Invalid),
        ] {
            let values: Vec<&[u8]> = values.to_vec();
            assert_eq!(read(values.clone()), Err(fault), "{values:?}");
        }
    }

    #[test]
    fn a_field_of_clients_names_nobody() {
        let name: UserHeader = "X-Auth-Request-User".parse().expect("a name");
        assert_eq!(name.as_str(), "x-auth-request-user");
        for bad in [
            "",
            "a b",
            "a:",
            "x-us\u{e9}r",
            "Cookie",
            "HOST",
            "Authorization",
            "X-Forwarded-For",
            "Sec-WebSocket-Protocol",
        ] {
            assert_eq!(bad.parse::<UserHeader>(), Err(UserHeaderNameError), "{bad}");
        }
    }
}
