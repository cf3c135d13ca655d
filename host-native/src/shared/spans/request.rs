//! The span of a request to a backend.

use std::sync::Arc;

use hyper::Uri;

use super::{Span, SpanKind, Spans, TraceContext};

/// A request to a backend in progress. If it is cancelled, it counts as unanswered.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    spans: Arc<Spans>,
    span: Option<Span>,
}

impl RequestSpan {
    /// Starts the span of a request to this URL. The query is not recorded, since it may contain a
    /// secret. `link` is the trace of the client that caused the request.
    pub(crate) fn begin(
        spans: &Arc<Spans>,
        name: &'static str,
        url: &str,
        link: Option<TraceContext>,
    ) -> Self {
        let mut span = spans.begin(SpanKind::Client, || name.to_owned(), None);
        if let Some(span) = &mut span {
            let shown = url.split('?').next().unwrap_or(url);
            span.set_link(link);
            span.set_text("http.request.method", "POST");
            span.set_text("url.full", shown.to_owned());
            let uri = url.parse::<Uri>().ok();
            if let Some(host) = uri.as_ref().and_then(Uri::host) {
                span.set_text("server.address", host.to_owned());
            }
        }
        let spans = spans.clone();
        Self { spans, span }
    }

    /// The trace context of the request, if it is recorded.
    pub(crate) fn context(&self) -> Option<TraceContext> {
        self.span.as_ref().map(Span::context)
    }

    /// Ends the span with the status of the answer.
    pub(crate) fn answered(mut self, status: u16) {
        if let Some(mut span) = self.span.take() {
            span.set_status(status);
            self.spans.end(span);
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.set_failed("no_answer");
            self.spans.end(span);
        }
    }
}
