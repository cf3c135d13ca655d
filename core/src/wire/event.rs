//! The name of a push, and its label.

use alloc::{borrow::Cow, boxed::Box, string::String};

use super::{envelope::check_event, error::EncodeError, head::PATH_BYTES_MAX, head::write_string};

/// The name of a push and, where the application gives it one, its label.
///
/// The label travels as the member `path` of the envelope. It is for the client's code; nothing in
/// the protocol depends on it. A name alone is given as a string:
///
/// ```
/// use roomcast_core::{Audience, NamespaceContext, EncodeError, Event};
///
/// fn tell(namespace: &mut NamespaceContext<'_>) -> Result<(), EncodeError> {
///     namespace.send(&Audience::all(), "news", &1)?;
///     namespace.send(&Audience::all(), Event::new("news").at("/front"), &2)?;
///     Ok(())
/// }
/// # let _ = tell;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An event of this name, without a label. A name has 1 to 128 bytes and does not start with
    /// `$`.
    pub const fn new(name: &'a str) -> Self {
        Self { name, path: None }
    }

    /// The same with a label, of 1 to 200 bytes.
    #[must_use]
    pub const fn at(self, path: &'a str) -> Self {
        self.with_path(Some(path))
    }

    /// The same with a label or without one.
    #[must_use]
    pub const fn with_path(mut self, path: Option<&'a str>) -> Self {
        self.path = path;
        self
    }

    /// The name.
    pub const fn name(self) -> &'a str {
        self.name
    }

    /// The label.
    pub const fn path(self) -> Option<&'a str> {
        self.path
    }

    #[inline]
    pub(crate) fn check(self) -> Result<(), EncodeError> {
        check_event(self.name)?;
        match self.path {
            Some(path) if !(1..=PATH_BYTES_MAX).contains(&path.len()) => Err(EncodeError::Path),
            _ => Ok(()),
        }
    }

    /// Appends the member `path`, where there is a label.
    #[inline]
    pub(crate) fn write_path(self, text: &mut String) {
        if let Some(path) = self.path {
            text.push_str(r#","path":"#);
            write_string(text, path);
        }
    }
}

impl<'a> From<&'a str> for Event<'a> {
    fn from(name: &'a str) -> Self {
        Self::new(name)
    }
}

impl<'a> From<&'a String> for Event<'a> {
    fn from(name: &'a String) -> Self {
        Self::new(name)
    }
}

impl<'a> From<&'a Box<str>> for Event<'a> {
    fn from(name: &'a Box<str>) -> Self {
        Self::new(name)
    }
}

impl<'a> From<&'a Cow<'_, str>> for Event<'a> {
    fn from(name: &'a Cow<'_, str>) -> Self {
        Self::new(name)
    }
}
