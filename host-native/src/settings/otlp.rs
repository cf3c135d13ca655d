//! Settings of the span export.

use std::{fmt, str::FromStr};

use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};

/// The export of spans to an OpenTelemetry collector, by OTLP over HTTP in JSON.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OtlpSettings {
    /// The collector; default none: nothing is recorded.
    pub endpoint: Option<OtlpEndpoint>,
    /// Header fields of each request to it, such as its key; default none.
    pub headers: OtlpHeaders,
    /// The percentage of recorded traces among those that start here; default 100. A trace that
    /// comes with a request is recorded according to its own flag.
    pub sample_percent: u32,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: OtlpHeaders::default(),
            sample_percent: 100,
        }
    }
}

/// The address of a collector.
///
/// ```
/// use roomcast::OtlpEndpoint;
///
/// let endpoint: OtlpEndpoint = "http://127.0.0.1:4318".parse()?;
/// assert_eq!(endpoint.to_string(), "http://127.0.0.1:4318/v1/traces");
/// assert!("127.0.0.1:4318".parse::<OtlpEndpoint>().is_err());
/// # Ok::<_, roomcast::OtlpError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

/// Header fields of requests to a collector. They may contain secrets, so `Debug` shows only names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OtlpHeaders(Vec<(HeaderName, HeaderValue)>);

/// A malformed setting; the message names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OtlpError(&'static str);

/// The standard path of OTLP for traces.
const TRACES: &str = "/v1/traces";

impl OtlpEndpoint {
    /// The URL that spans are sent to.
    pub(crate) const fn traces(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for OtlpEndpoint {
    type Err = OtlpError;

    fn from_str(text: &str) -> Result<Self, OtlpError> {
        const MALFORMED: OtlpError =
            OtlpError("must be the URL of a collector, such as http://127.0.0.1:4318");
        let is_http = text.starts_with("http://") || text.starts_with("https://");
        if !is_http || text.contains(['?', '#', '@']) {
            return Err(MALFORMED);
        }
        let base = text.trim_end_matches('/').trim_end_matches(TRACES);
        let url = format!("{}{TRACES}", base.trim_end_matches('/'));
        let uri: Uri = url.parse().map_err(|_| MALFORMED)?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        has_host.then_some(Self(uri)).ok_or(MALFORMED)
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl OtlpHeaders {
    /// The fields, in their order.
    pub(crate) fn fields(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0
    }
}

/// Parses fields as `name=value`, separated by commas.
impl FromStr for OtlpHeaders {
    type Err = OtlpError;

    fn from_str(text: &str) -> Result<Self, OtlpError> {
        const MALFORMED: OtlpError =
            OtlpError("must be header fields such as authorization=Bearer abc,x-team=chat");
        let fields = text.split(',').map(|field| {
            let (name, value) = field.split_once('=').ok_or(MALFORMED)?;
            let name = name.trim().parse().map_err(|_| MALFORMED)?;
            let value = value.trim().parse().map_err(|_| MALFORMED)?;
            Ok((name, value))
        });
        fields.collect::<Result<_, _>>().map(Self)
    }
}

/// Shows only the names.
impl fmt::Debug for OtlpHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_path_however_it_is_written() {
        for (text, url) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://[::1]:4318/", "http://[::1]:4318/v1/traces"),
            ("https://a.example/otlp", "https://a.example/otlp/v1/traces"),
            ("https://a.example/v1/traces", "https://a.example/v1/traces"),
        ] {
            let endpoint: OtlpEndpoint = text.parse().expect("an endpoint");
            assert_eq!(endpoint.to_string(), url);
        }
        for bad in [
            "",
            "collector:4318",
            "grpc://a:4317",
            "http://",
            "http://u:p@a",
        ] {
            assert!(bad.parse::<OtlpEndpoint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn header_fields_are_read_and_never_shown() {
        let text = "authorization=Bearer a=b, x-team=chat";
        let headers: OtlpHeaders = text.parse().expect("fields");
        assert_eq!(headers.fields()[0].1, "Bearer a=b");
        assert_eq!(format!("{headers:?}"), r#"["authorization", "x-team"]"#);
        for bad in ["", "a", "a b=c", "a=b,", "a=\u{1}"] {
            assert!(bad.parse::<OtlpHeaders>().is_err(), "{bad:?}");
        }
    }
}
