//! Measures a relay: `cargo run --release -p roomcast-relay --example figures -- redis://127.0.0.1`.
//!
//! Prints publishes per second, their latency, and the server's processor time for each; then the
//! same for users who join a room and leave it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use roomcast_relay::{
    Address, Once, Owner, Presence, Publish, RedisRelay, Relay, RelayError, Retention, Settings,
};

/// The number of calls of one measurement.
const CALLS: usize = 50_000;

/// The time for which a key is remembered, as for a publish by a node.
const KEY_MS: u64 = 10_000;

#[allow(clippy::print_stdout)] // it is what the example is for
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    for asks_lineage in [false, true] {
        for at_once in [1, 64] {
            let mut settings = Settings::new(url.parse()?);
            settings.asks_lineage = asks_lineage;
            settings.prefix = "figures:".into();
            let (relay, mut events) = RedisRelay::start(settings).await?;
            let taken = tokio::spawn(async move { while events.next().await.is_some() {} });
            let relay = Arc::new(relay);
            let what = format!("asks {asks_lineage}, {at_once} at once");
            for (messages, owned) in [(0, false), (100, false), (0, true), (100, true)] {
                let before = processor_time(&url).await?;
                let measured = publish(&relay, messages, at_once, owned).await?;
                let server = processor_time(&url).await? - before;
                let keys = if owned { "keys of clients" } else { "own keys" };
                let what = format!("{what}, publishes, {messages} kept, {keys}");
                println!("{}", text(&what, measured, server));
            }
            let before = processor_time(&url).await?;
            let measured = enter(&relay, at_once).await?;
            let server = processor_time(&url).await? - before;
            let what = format!("{what}, users");
            println!("{}", text(&what, measured, server));
            relay.retire().await?;
            taken.await?;
        }
    }
    Ok(())
}

/// Latencies of calls, and the time of all.
type Measured = (Vec<Duration>, Duration);

fn text(what: &str, (mut latencies, took): Measured, server: f64) -> String {
    latencies.sort_unstable();
    let at = |part: usize| latencies[latencies.len() * part / 100];
    format!(
        "{what}: {:.0} a second, p50 {:?}, p99 {:?}, server {:.1} µs each",
        latencies.len() as f64 / took.as_secs_f64(),
        at(50),
        at(99),
        server * 1e6 / latencies.len() as f64,
    )
}

/// Lets users join a room and leave it.
async fn enter(
    relay: &Arc<RedisRelay>,
    at_once: usize,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let each = calls(at_once) / 2;
    let began = Instant::now();
    let users = (0..at_once).map(|user| {
        let relay = relay.clone();
        let mut presence = Presence {
            is_awaited: false,
            address: Address::room("figures", "room"),
            user: format!("user-{user}").into(),
            connections: 0,
            meta: Bytes::new(),
        };
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(2 * each);
            for connections in [1, 0].into_iter().cycle().take(2 * each) {
                presence.connections = connections;
                let began = Instant::now();
                relay.set_present(&presence).await?;
                latencies.push(began.elapsed());
            }
            Ok::<_, RelayError>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for user in users.collect::<Vec<_>>() {
        latencies.extend(user.await??);
    }
    Ok((latencies, began.elapsed()))
}

/// The number of calls that each of `at_once` callers makes.
const fn calls(at_once: usize) -> usize {
    if at_once == 1 {
        CALLS / 10
    } else {
        CALLS / at_once
    }
}

/// Publishes to one room that the node is subscribed to, and returns the latencies and the total
/// time.
async fn publish(
    relay: &Arc<RedisRelay>,
    messages: u32,
    at_once: usize,
    owned: bool,
) -> Result<Measured, Box<dyn std::error::Error>> {
    let address = Address::room("figures", "room");
    relay.subscribe(std::slice::from_ref(&address)).await?;
    let publish = Publish {
        address,
        body: vec![b'x'; 200].into(),
        retention: Retention {
            messages,
            bytes: 1 << 20,
            age_ms: 0,
        },
        once: None,
    };
    let each = calls(at_once);
    // Keys of an earlier run may still be known.
    let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let began = Instant::now();
    let publishers = (0..at_once).map(|publisher| {
        let (relay, mut publish) = (relay.clone(), publish.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            for number in 0..each {
                publish.once = Some(Once {
                    key: format!("{run}:{publisher}:{number}").into(),
                    owner: owned.then(|| Owner {
                        name: format!("u{publisher}").into(),
                        earlier: Vec::new(),
                        keys_max: 256,
                        all_max: Some(10_000),
                    }),
                    fingerprint: 0,
                    expiry_ms: KEY_MS,
                    attempt_id: format!("{run}:{publisher}:{number}").into(),
                });
                let began = Instant::now();
                relay.publish(&publish).await?;
                latencies.push(began.elapsed());
            }
            Ok::<_, RelayError>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for publisher in publishers.collect::<Vec<_>>() {
        latencies.extend(publisher.await??);
    }
    Ok((latencies, began.elapsed()))
}

/// The processor time that the server has used, in seconds.
async fn processor_time(url: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut question = redis::cmd("INFO");
    let info: String = question.arg("cpu").query_async(&mut connection).await?;
    let mut seconds = 0.0;
    for line in info.lines() {
        for field in ["used_cpu_sys:", "used_cpu_user:"] {
            if let Some(value) = line.strip_prefix(field) {
                seconds += value.trim().parse::<f64>()?;
            }
        }
    }
    Ok(seconds)
}
