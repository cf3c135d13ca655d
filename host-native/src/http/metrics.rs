//! `GET /metrics`.

use std::rc::Rc;

use roomcast_core::Hub;
use roomcast_http::Response;
use tokio::task::spawn_blocking;

use crate::{
    metrics::{
        process::Process,
        scrape::{Gauges, Maxima, Scrape},
    },
    shard::Shard,
};

/// Answers a scrape: asks each shard in turn, and samples the process on a blocking thread.
pub(super) async fn answer(shard: &Rc<Shard>) -> Response {
    let shared = &shard.shared;
    let process = spawn_blocking(Process::sample);
    let mut gauges = Gauges::default();
    for index in 0..shard.shards() {
        let count = move |shard: &Rc<Shard>| count(shard, gauges);
        gauges = shard.on_shard(index, count).await.unwrap_or(gauges);
    }
    gauges.hooks = shared.hooks.counts();
    gauges.ask = shared.ask.counts();
    gauges.spans = shared.spans.counts();
    let settings = &shared.settings;
    let tls = shared.tls.as_ref();
    let scrape = Scrape {
        shards: &shared.metrics,
        connections: shared.connections.taken(),
        gauges,
        maxima: Maxima {
            connections: shared.connections.max(),
            namespaces: settings.namespaces_max,
            history_bytes: settings.hub.history_bytes,
            outbox_bytes: settings.outbox_bytes_max,
        },
        relay: shared.relay.as_ref().map(|relay| relay.counts()),
        process: process.await.unwrap_or_default(),
        start_unix_ms: shared.clock.start_unix_ms(),
        certificate_expiry: tls.and_then(|tls| tls.expiry()),
    };
    Response::metrics(scrape.text())
}

fn count(shard: &Shard, mut gauges: Gauges) -> Gauges {
    for namespace in shard.namespaces() {
        let counts = namespace.ask(Hub::counts);
        gauges.namespaces += 1;
        gauges.rooms += counts.rooms;
        gauges.memberships += counts.memberships;
        gauges.history_bytes += counts.history_bytes;
    }
    let (readers, bytes) = shard.egress.slow_readers();
    gauges.slow_readers += readers;
    gauges.slow_reader_bytes += bytes;
    gauges
}
