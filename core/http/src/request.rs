//! The head of a request, as far as the rules read it.

use alloc::borrow::Cow;

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a, H> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path as it came, percent-encoded.
    pub path: &'a str,
    /// The query string as it came, without the question mark; empty when there is none.
    pub query: &'a str,
    /// The header fields.
    pub headers: H,
    /// True when the peer is a program on the host's own machine; always false at the edge.
    pub local: bool,
    /// True when that program is known to run as another user than the host, as a proxy does. A
    /// host finds out only where [`Access::asks_for_user`](crate::Access::asks_for_user).
    pub other_user: bool,
    /// True when only programs on the host's own machine can reach the address that the host
    /// listens on.
    pub loopback_listener: bool,
    /// True when the request came in HTTP/1.0.
    pub http_1_0: bool,
    /// True when the host serves the API, the metrics and the page on another listener than this
    /// request's.
    pub admin_elsewhere: bool,
}

/// The header fields of a request.
pub trait Headers {
    /// The values of all fields with this name, which is in lower case, in order.
    ///
    /// A host that sees several fields only joined by `", "` gives the joined value. Bytes that are
    /// not UTF-8 become replacement characters.
    fn values(&self, name: &'static str) -> impl Iterator<Item = Cow<'_, str>>;

    /// The names of all fields, in lower case, in any order.
    fn names(&self) -> impl Iterator<Item = Cow<'_, str>>;
}

impl<H: Headers> Request<'_, H> {
    /// The first value of a field; `?` for a value that is not visible ASCII, the only text that
    /// all parties read in the same way.
    pub fn first(&self, name: &'static str) -> Option<Cow<'_, str>> {
        let value = self.headers.values(name).next()?;
        Some(if is_text(&value) { value } else { "?".into() })
    }

    /// True when a field that is a list, separated by commas, contains such an item.
    pub fn lists(&self, name: &'static str, item: impl Fn(&str) -> bool) -> bool {
        let mut values = self.headers.values(name);
        values.any(|value| is_text(&value) && value.split(',').any(|found| item(found.trim())))
    }
}

/// Form of a namespace's name.
pub const NAMESPACE_FORM: &str = "1 to 64 of A-Z a-z 0-9 _ -";

/// The bytes of a namespace's name, at most.
pub(crate) const NAMESPACE_BYTES_MAX: usize = 64;

/// True when a text is a namespace name, in its [form](NAMESPACE_FORM).
pub fn is_namespace(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAMESPACE_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// True when a value is visible ASCII; spaces and tabs count as visible.
pub(crate) fn is_text(value: &str) -> bool {
    let is_visible = |byte| matches!(byte, b'\t' | b' '..=b'~');
    value.bytes().all(is_visible)
}

#[cfg(test)]
pub(crate) mod tests;
