//! The context of a span in its trace, as in W3C Trace Context.

use std::fmt;

use hyper::HeaderMap;

/// The header field `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Never 0, like `span`.
    pub(crate) trace: u128,
    pub(crate) span: u64,
    /// True when the caller recorded the trace.
    pub(crate) is_sampled: bool,
}

impl TraceContext {
    /// Parses the only such field of a request. A malformed field counts as absent, as the standard
    /// requires: no call fails because of its trace.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all("traceparent").iter();
        let text = fields.next()?.to_str().ok()?;
        if fields.next().is_some() {
            return None;
        }
        let mut parts = text.split('-');
        let [version, trace, span, flags] = [(); 4].map(|()| parts.next());
        let version = hex(version?, 2).filter(|version| *version != 0xff)?;
        // Later versions may have more parts.
        if version == 0 && parts.next().is_some() {
            return None;
        }
        Some(Self {
            trace: hex(trace?, 32).filter(|id| *id != 0)?,
            span: u64::try_from(hex(span?, 16)?).ok().filter(|id| *id != 0)?,
            is_sampled: hex(flags?, 2)? & 1 == 1,
        })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(f, "00-{:032x}-{:016x}-{flags:02x}", self.trace, self.span)
    }
}

/// Parses a number with exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != digits || !text.bytes().all(is_hex) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn read(fields: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("traceparent", HeaderValue::from_static(field));
        }
        TraceContext::of(&headers).map(|context| context.to_string())
    }

    #[test]
    fn a_trace_has_the_form_of_the_standard_or_is_none() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(&[trace]), Some(trace.to_owned()));
        // Flags of later versions are not passed on.
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-more";
        assert_eq!(read(&[later]), Some(trace.to_owned()));
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert_eq!(read(&[unsampled]), Some(unsampled.to_owned()));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[trace, trace]), None);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
    }
}
