//! Spans for OpenTelemetry: of API calls, and of requests to backends.
//!
//! Not from the OpenTelemetry SDK, which brings a second HTTP client and as many crates as the
//! whole server: only a queue and one request are needed.

mod collector;
mod context;
mod export;
mod otlp;
mod request;

use std::{
    borrow::Cow,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

pub(crate) use self::{context::TraceContext, request::RequestSpan};
use crate::settings::OtlpSettings;

/// The number of spans that may wait for export; further ones are dropped. Some 600 KB.
const WAITING_MAX: usize = 2048;
/// The maximum number of spans in one request to the collector.
const BATCH_MAX: usize = 512;

/// Spans on their way to a collector.
#[derive(Debug)]
pub(crate) struct Spans {
    settings: OtlpSettings,
    /// The id that distinguishes this process from others of the same service.
    instance: String,
    waiting: Mutex<Vec<Span>>,
    /// Notified for the first span of a batch, and when a batch is full.
    more: Notify,
    exported: AtomicU64,
    dropped: AtomicU64,
}

/// The side that recorded a span, with the numbers of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// A request that this server answers.
    Server = 2,
    /// A request that this server sends.
    Client = 3,
}

/// The value of an attribute.
#[derive(Debug)]
enum Value {
    Text(Cow<'static, str>),
    Number(i64),
}

/// A span that has not ended.
#[derive(Debug)]
pub(crate) struct Span {
    context: TraceContext,
    parent: Option<u64>,
    /// The trace context of an unknown client.
    link: Option<TraceContext>,
    kind: SpanKind,
    name: String,
    begun: SystemTime,
    clock: Instant,
    took: Duration,
    is_failed: bool,
    attributes: Vec<(&'static str, Value)>,
}

impl Span {
    /// The context of the span, which is the parent of everything that it causes.
    pub(crate) const fn context(&self) -> TraceContext {
        self.context
    }

    /// Links the span to the trace context of an unknown client, which decides nothing.
    pub(crate) const fn set_link(&mut self, link: Option<TraceContext>) {
        self.link = link;
    }

    pub(crate) fn set_text(&mut self, key: &'static str, value: impl Into<Cow<'static, str>>) {
        self.attributes.push((key, Value::Text(value.into())));
    }

    /// Sets the status of the answer, and whether it is a failure from the point of view of this
    /// side.
    pub(crate) fn set_status(&mut self, status: u16) {
        let number = Value::Number(status.into());
        self.attributes.push(("http.response.status_code", number));
        // A server that refused a request did its work; a client that was refused did not get what
        // it wanted.
        let failed = match self.kind {
            SpanKind::Server => 500,
            SpanKind::Client => 400,
        };
        if status >= failed {
            self.set_failed(status.to_string());
        }
    }

    /// Marks the span as failed: there was no answer, or a failure.
    pub(crate) fn set_failed(&mut self, cause: impl Into<Cow<'static, str>>) {
        self.is_failed = true;
        self.set_text("error.type", cause);
    }
}

impl Spans {
    /// Creates spans for the collector in the settings. Without one nothing is recorded.
    pub(crate) fn new(settings: &OtlpSettings) -> Arc<Self> {
        Arc::new(Self {
            settings: settings.clone(),
            instance: format!("{:016x}", getrandom::u64().unwrap_or_default()),
            waiting: Mutex::default(),
            more: Notify::new(),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// Starts a span; `None` when its trace is not recorded. The origin of the trace decides that:
    /// the sender of `parent`, who must be known, or this server.
    pub(crate) fn begin(
        &self,
        kind: SpanKind,
        name: impl FnOnce() -> String,
        parent: Option<TraceContext>,
    ) -> Option<Span> {
        self.settings.endpoint.as_ref()?;
        let trace = match parent {
            Some(parent) => parent.is_sampled.then_some(parent.trace)?,
            None => {
                if getrandom::u32().ok()? % 100 >= self.settings.sample_percent {
                    return None;
                }
                let halves = [getrandom::u64().ok()?, getrandom::u64().ok()?];
                u128::from(halves[0]) << 64 | u128::from(halves[1])
            }
        };
        let context = TraceContext {
            trace: trace.max(1),
            span: getrandom::u64().ok()?.max(1),
            is_sampled: true,
        };
        Some(Span {
            context,
            parent: parent.map(|parent| parent.span),
            link: None,
            kind,
            name: name(),
            begun: SystemTime::now(),
            clock: Instant::now(),
            took: Duration::ZERO,
            is_failed: false,
            attributes: Vec::new(),
        })
    }

    /// Ends a span, and queues it for export.
    pub(crate) fn end(&self, mut span: Span) {
        span.took = span.clock.elapsed();
        let mut waiting = self.waiting();
        if waiting.len() == WAITING_MAX {
            drop(waiting);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        waiting.push(span);
        let count = waiting.len();
        drop(waiting);
        if count == 1 || count == BATCH_MAX {
            self.more.notify_one();
        }
    }

    /// The numbers of exported and of dropped spans; `None` without a collector.
    pub(crate) fn counts(&self) -> Option<[(&'static str, u64); 2]> {
        self.settings.endpoint.as_ref()?;
        Some([
            ("exported", self.exported.load(Relaxed)),
            ("dropped", self.dropped.load(Relaxed)),
        ])
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Span>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waiting spans, in the form for a collector.
    #[cfg(test)]
    pub(crate) fn waiting_json(&self) -> String {
        otlp::body("", &self.take_batch())
    }

    /// The oldest spans that fit into one request.
    fn take_batch(&self) -> Vec<Span> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH_MAX);
        let rest = waiting.split_off(count);
        mem::replace(&mut *waiting, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(sample_percent: u32) -> Arc<Spans> {
        let endpoint = "http://127.0.0.1:4318".parse().expect("an endpoint");
        let settings = OtlpSettings {
            endpoint: Some(endpoint),
            sample_percent,
            ..OtlpSettings::default()
        };
        Spans::new(&settings)
    }

    #[test]
    fn whoever_began_a_trace_decides_whether_it_is_recorded() {
        let mut parent = TraceContext {
            trace: 7,
            span: 9,
            is_sampled: true,
        };
        for percent in [0, 100] {
            let spans = spans(percent);
            let own = spans.begin(SpanKind::Server, || "call".into(), None);
            assert_eq!(own.is_some(), percent == 100);
            parent.is_sampled = true;
            let child = spans.begin(SpanKind::Server, || "call".into(), Some(parent));
            let child = child.expect("recorded by the parent");
            assert_eq!((child.context().trace, child.parent), (7, Some(9)));
            parent.is_sampled = false;
            assert!(
                spans
                    .begin(SpanKind::Server, || "call".into(), Some(parent))
                    .is_none()
            );
        }
    }

    #[test]
    fn no_more_spans_wait_than_may() {
        let spans = spans(100);
        for _ in 0..WAITING_MAX + 3 {
            let span = spans.begin(SpanKind::Client, || "tell".into(), None);
            spans.end(span.expect("recorded"));
        }
        assert_eq!(spans.counts(), Some([("exported", 0), ("dropped", 3)]));
        for _ in 0..WAITING_MAX / BATCH_MAX {
            assert_eq!(spans.take_batch().len(), BATCH_MAX);
        }
        assert_eq!(spans.take_batch().len(), 0);
    }
}
