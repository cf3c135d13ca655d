//! The trace of a call, as W3C Trace Context has it.

use std::fmt;

use hyper::HeaderMap;

/// The ids of the header field `traceparent`: lower-case hexadecimal digits, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent<'a> {
    pub(super) trace_id: &'a str,
    pub(super) parent_id: &'a str,
}

impl<'a> TraceParent<'a> {
    /// Reads the one such field of a request. What is malformed counts as none, as the standard
    /// says: no call fails for its trace.
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all("traceparent").iter();
        let text = fields.next()?.to_str().ok()?;
        if fields.next().is_some() {
            return None;
        }
        let mut parts = text.split('-');
        let [version, trace_id, parent_id, flags] = [(); 4].map(|()| parts.next());
        let version = hex(version?, 2).filter(|version| *version != "ff")?;
        // Later versions may have more.
        if version == "00" && parts.next().is_some() {
            return None;
        }
        hex(flags?, 2)?;
        let is_set = |id: &&str| id.bytes().any(|digit| digit != b'0');
        Some(Self {
            trace_id: hex(trace_id?, 32).filter(is_set)?,
            parent_id: hex(parent_id?, 16).filter(is_set)?,
        })
    }
}

impl fmt::Display for TraceParent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.trace_id, self.parent_id)
    }
}

fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_hex)).then_some(text)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn ids(fields: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("traceparent", HeaderValue::from_static(field));
        }
        TraceParent::of(&headers).map(|trace| trace.to_string())
    }

    #[test]
    fn a_trace_has_the_form_of_the_standard_or_is_none() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = Some("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7".to_owned());
        assert_eq!(ids(&[trace]), read);
        assert_eq!(
            ids(&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"]),
            read
        );
        assert_eq!(ids(&[]), None);
        assert_eq!(ids(&[trace, trace]), None);
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
            assert_eq!(ids(&[bad]), None, "{bad}");
        }
    }
}
