//! The trace of an API call: a log line, and a span.

use std::sync::Arc;

use hyper::{Method, Request};
use roomcast_core::wire::Coded;
use roomcast_http::{Problem, Response, api_pattern};

use crate::shared::spans::{Span, SpanKind, Spans, TraceContext};

/// A call in progress. A call that is cancelled, because its client went away, is recorded too.
pub(super) struct CallTrace {
    /// The context in the client's trace, for a client with a key.
    parent: Option<TraceContext>,
    spans: Arc<Spans>,
    span: Option<Span>,
}

impl CallTrace {
    /// Starts the trace of a call. For a client with a key, as `is_known` tells, its trace decides
    /// whether the call is recorded; the trace of any other client decides nothing.
    pub(super) fn begin(
        spans: &Arc<Spans>,
        request: &Request<()>,
        is_known: impl FnOnce() -> bool,
    ) -> Self {
        let named = TraceContext::of(request.headers());
        let is_known = named.is_some() && is_known();
        let parent = named.filter(|_| is_known);
        let mut span = spans.begin(SpanKind::Server, || name(request), parent);
        if let Some(span) = &mut span {
            span.set_link(named.filter(|_| !is_known));
            // The path is left out: it contains names of rooms and users.
            span.set_text("http.request.method", method(request));
            if let Some(route) = api_pattern(request.uri().path()) {
                span.set_text("http.route", route);
            }
        }
        let spans = spans.clone();
        Self {
            parent,
            spans,
            span,
        }
    }

    /// Logs the call with the ids of its trace, and ends its span.
    pub(super) fn end(mut self, request: &Request<()>, answered: &Result<Response, Problem>) {
        let code = answered.as_ref().err().map(Coded::code);
        let parent = self.parent;
        let span = self.span.as_ref().map(Span::context);
        tracing::debug!(
            method = request.method().as_str(),
            error = code.map(|code| code.as_str()),
            trace_id = parent.or(span).map(|it| format!("{:032x}", it.trace)),
            parent_id = parent.map(|it| format!("{:016x}", it.span)),
            "API call"
        );
        let Some(mut span) = self.span.take() else {
            return;
        };
        let status = match answered {
            Ok(response) => response.status,
            Err(problem) => problem.code().status(),
        };
        span.set_status(status);
        if let Some(code) = code {
            span.set_text("roomcast.error", code.as_str());
        }
        self.spans.end(span);
    }
}

impl Drop for CallTrace {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.set_failed("cancelled");
            self.spans.end(span);
        }
    }
}

/// The name of a call: its method, and the pattern of its path.
fn name(request: &Request<()>) -> String {
    let method = match method(request) {
        OTHER => "HTTP",
        method => method,
    };
    match api_pattern(request.uri().path()) {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// OpenTelemetry's name for all unknown methods.
const OTHER: &str = "_OTHER";

/// The method of a call. Clients may invent methods, and span names must be few.
fn method(request: &Request<()>) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::OtlpSettings;

    const NAMED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// The text that a collector receives of such a call.
    fn recorded(sample_percent: u32, is_known: bool, answered: bool) -> String {
        let endpoint = "http://127.0.0.1:4318".parse().expect("an endpoint");
        let spans = Spans::new(&OtlpSettings {
            endpoint: Some(endpoint),
            sample_percent,
            ..OtlpSettings::default()
        });
        let request = Request::get("/api/v1/default/rooms").header("traceparent", NAMED);
        let request = request.body(()).expect("a request");
        let call = CallTrace::begin(&spans, &request, || is_known);
        if answered {
            call.end(&request, &Ok(Response::health()));
        } else {
            drop(call);
        }
        spans.waiting_json()
    }

    #[test]
    fn a_stranger_has_nothing_recorded_and_nothing_passed_over() {
        let parent = r#""parentSpanId":"00f067aa0ba902b7""#;
        let link = r#""links":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","#;
        let known = recorded(0, true, true);
        assert!(known.contains(parent) && !known.contains(link), "{known}");
        let unrecorded = recorded(0, false, true);
        assert!(unrecorded.contains(r#""spans":[]"#), "{unrecorded}");
        let stranger = recorded(100, false, true);
        assert!(
            stranger.contains(link) && !stranger.contains(parent),
            "{stranger}"
        );
    }

    #[test]
    fn a_call_that_is_given_up_leaves_its_span() {
        let marked = r#"{"key":"error.type","value":{"stringValue":"cancelled"}}"#;
        let given_up = recorded(100, false, false);
        assert!(given_up.contains(marked), "{given_up}");
        assert!(given_up.contains(r#""status":{"code":2}"#), "{given_up}");
        assert!(given_up.contains("/api/v1/{namespace}/rooms"), "{given_up}");
        assert!(!recorded(100, false, true).contains(marked));
    }
}
