//! The client of the collector.

use http_body_util::{BodyExt, Limited};
use hyper::{
    Request, Uri,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::task::JoinSet;

use crate::{
    settings::OtlpSettings,
    shared::{call_failure::CallFailure, wire::Trust},
};

/// The number of bytes that are read of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The number of refused spans in an answer, given as a number or as a text.
fn refused(answer: &[u8]) -> u64 {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let refused = &answer["partialSuccess"]["rejectedSpans"];
    let text = refused.as_str().and_then(|text| text.parse().ok());
    refused.as_u64().or(text).unwrap_or(0)
}

/// The failure of an export.
pub(super) struct ExportFailure {
    pub(super) cause: String,
    /// True when a retry may succeed.
    pub(super) is_passing: bool,
}

/// The client of the collector.
pub(super) struct Collector {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    trust: Trust,
}

impl Collector {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        let endpoint = settings.endpoint.as_ref();
        Self {
            uri: endpoint.map_or_else(Uri::default, |it| it.traces().clone()),
            headers: settings.headers.fields().to_vec(),
            trust: Trust::default(),
        }
    }

    /// Sends the body once; returns the number of refused spans.
    pub(super) async fn post(&self, body: String) -> Result<u64, ExportFailure> {
        let passing = |fault: CallFailure| ExportFailure {
            cause: fault.to_string(),
            is_passing: true,
        };
        let mut request = Request::builder()
            .method("POST")
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut driver = JoinSet::new();
        let sent = self
            .trust
            .send(&self.uri, request, body.into(), &mut driver);
        let response = sent.await.map_err(passing)?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(ExportFailure {
                cause: format!("status {status}"),
                // The retryable statuses of OTLP.
                is_passing: matches!(status, 429 | 502 | 503 | 504),
            });
        }
        // The export succeeded even if the answer cannot be read.
        let answer = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let answer = answer.await.map(|body| body.to_bytes());
        Ok(answer.map_or(0, |answer| refused(&answer)))
    }
}
