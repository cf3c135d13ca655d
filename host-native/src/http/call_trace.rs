//! The trace of a call of the API: a line in the log, and a span.

use std::sync::Arc;

use hyper::Method;
use roomcast_core::wire::Coded;
use roomcast_http::{Problem, Response, api_pattern};

use super::Head;
use crate::{
    shard::Shard,
    shared::spans::{Span, SpanKind, Spans, TraceContext},
};

/// A call that has no answer yet.
pub(super) struct CallTrace {
    parent: Option<TraceContext>,
    span: Option<(Arc<Spans>, Span)>,
}

impl CallTrace {
    pub(super) fn begin(shard: &Shard, request: &Head) -> Self {
        let parent = TraceContext::of(request.headers());
        let spans = &shard.shared.spans;
        let span = spans.begin(SpanKind::Server, || name(request), parent);
        Self {
            parent,
            span: span.map(|span| (spans.clone(), span)),
        }
    }

    /// Logs the call with the ids of its trace, and ends its span.
    pub(super) fn end(self, request: &Head, answered: &Result<Response, Problem>) {
        let code = answered.as_ref().err().map(Coded::code);
        let parent = self.parent;
        let span = self.span.as_ref().map(|(_, span)| span.context());
        tracing::debug!(
            method = request.method().as_str(),
            error = code.map(|code| code.as_str()),
            trace_id = parent.or(span).map(|it| format!("{:032x}", it.trace)),
            parent_id = parent.map(|it| format!("{:016x}", it.span)),
            "API call"
        );
        let Some((spans, mut span)) = self.span else {
            return;
        };
        // Names of rooms and users are in the path, and stay out.
        span.set_text("http.request.method", method(request));
        if let Some(route) = api_pattern(request.uri().path()) {
            span.set_text("http.route", route);
        }
        let status = match answered {
            Ok(response) => response.status,
            Err(problem) => problem.code().status(),
        };
        span.set_status(status);
        if let Some(code) = code {
            span.set_text("roomcast.error", code.as_str());
        }
        spans.end(span);
    }
}

/// The name of a call: its method, and the pattern of its path.
fn name(request: &Head) -> String {
    let method = match method(request) {
        OTHER => "HTTP",
        method => method,
    };
    match api_pattern(request.uri().path()) {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// The word of OpenTelemetry for all methods that are none of those known.
const OTHER: &str = "_OTHER";

/// The method. A client may invent any, and names of spans are to be few.
fn method(request: &Head) -> &'static str {
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
