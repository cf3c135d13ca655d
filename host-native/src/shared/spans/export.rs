//! The thread that sends spans to the collector.

use std::{io, pin::pin, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::{
    BATCH_MAX, Span, Spans,
    collector::{Collector, ExportFailure},
    otlp,
};
use crate::clock::patience;

/// The time in which further spans join the first one of a batch.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// The time limit for one request to the collector.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// The pauses before a batch is sent again, in seconds, when the collector is busy or cannot be
/// reached.
const PAUSES_S: [u64; 4] = [1, 2, 4, 8];
/// The time in which waiting spans are still sent at the end of a server.
const END_TIME: Duration = Duration::from_secs(2);

/// The thread that sends spans, if there is a collector.
#[derive(Debug)]
pub(crate) struct SpanThread(Option<(watch::Sender<bool>, oneshot::Receiver<()>)>);

impl SpanThread {
    /// Waits until all spans are sent: two seconds at most, and a little longer if this thread did
    /// not run. Called when no more spans end.
    pub(crate) async fn finish(self) {
        if let Some((end, ended)) = self.0 {
            end.send_replace(true);
            let _ = ended.await; // or it panicked
        }
    }
}

impl Spans {
    /// Starts the thread that sends spans, if there is a collector.
    ///
    /// # Errors
    ///
    /// When the thread cannot start.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<SpanThread> {
        if self.settings.endpoint.is_none() {
            return Ok(SpanThread(None));
        }
        let (spans, (end, ending)) = (self.clone(), watch::channel(false));
        let (done, ended) = oneshot::channel();
        thread::Builder::new()
            .name("roomcast-spans".into())
            .spawn(move || {
                let mut runtime = Builder::new_current_thread();
                match runtime.enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime.block_on(spans.run(ending)),
                    Err(fault) => tracing::error!(%fault, "spans are not exported"),
                }
                let _ = done.send(()); // nobody waits any more
            })?;
        Ok(SpanThread(Some((end, ended))))
    }

    async fn run(&self, ending: watch::Receiver<bool>) {
        let mut end = ending.clone();
        let mut sending = pin!(self.send_all(Sender::new(self), ending));
        tokio::select! {
            () = &mut sending => return,
            _ = end.wait_for(|ends| *ends) => {} // or the server is gone
        }
        if patience::within(END_TIME, sending).await.is_none() {
            tracing::warn!("the last spans were not exported");
        }
    }

    async fn send_all(&self, mut sender: Sender<'_>, mut ending: watch::Receiver<bool>) {
        loop {
            let (is_empty, is_full) = {
                let waiting = self.waiting();
                (waiting.is_empty(), waiting.len() >= BATCH_MAX)
            };
            if is_empty && *ending.borrow() {
                return;
            }
            if is_empty {
                tokio::select! {
                    () = self.more.notified() => {}
                    _ = ending.wait_for(|ends| *ends) => {}
                }
                continue;
            }
            if !is_full {
                tokio::select! {
                    () = sleep(BATCH_TIME) => {}
                    () = self.more.notified() => {}
                    _ = ending.wait_for(|ends| *ends) => {}
                }
            }
            let batch = self.take_batch();
            sender.send(&batch, &mut ending).await;
        }
    }
}

/// The sender of batches, and the number of failures in a row.
struct Sender<'a> {
    spans: &'a Spans,
    collector: Collector,
    failures: u32,
}

impl<'a> Sender<'a> {
    fn new(spans: &'a Spans) -> Self {
        Self {
            spans,
            collector: Collector::new(&spans.settings),
            failures: 0,
        }
    }

    /// Sends a batch, with retries if the collector may accept it later.
    async fn send(&mut self, batch: &[Span], ending: &mut watch::Receiver<bool>) {
        use std::sync::atomic::Ordering::Relaxed;

        let body = otlp::body(&self.spans.instance, batch);
        let mut pauses = PAUSES_S.iter();
        let refused = loop {
            let sent = timeout(REQUEST_TIME, self.collector.post(body.clone())).await;
            let failure = match sent {
                Ok(Ok(refused)) => break refused,
                Ok(Err(failure)) => failure,
                Err(_) => ExportFailure {
                    cause: format!("no answer within {REQUEST_TIME:?}"),
                    is_passing: true,
                },
            };
            self.failures += 1;
            // Logs the first failure, then ever fewer.
            if self.failures.is_power_of_two() {
                let (failures, cause) = (self.failures, &failure.cause);
                tracing::warn!(failures, "spans cannot be exported: {cause}");
            }
            let pause = pauses.next().filter(|_| failure.is_passing);
            let Some(pause) = pause else {
                self.spans.dropped.fetch_add(batch.len() as u64, Relaxed);
                return;
            };
            tokio::select! {
                () = sleep(Duration::from_secs(*pause)) => {}
                _ = ending.wait_for(|ends| *ends) => pauses = [].iter(),
            }
        };
        if self.failures > 0 {
            tracing::info!("spans are exported again");
            self.failures = 0;
        }
        let count = batch.len() as u64;
        let refused = refused.min(count);
        if refused > 0 {
            tracing::warn!(refused, "the collector took a part of the spans alone");
        }
        self.spans.dropped.fetch_add(refused, Relaxed);
        self.spans.exported.fetch_add(count - refused, Relaxed);
    }
}
