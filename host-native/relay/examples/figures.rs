//! Measures a relay: `cargo run --release -p roomcast-relay --example figures -- redis://127.0.0.1`.
//!
//! Prints publishes a second, their latency, and the processor time of the server for each.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use roomcast_relay::{Address, Once, Publish, RedisRelay, Relay, Retention, Settings};

/// Publishes of one measurement.
const PUBLISHES: usize = 50_000;

/// The time for which a key is remembered, as that of a publish of a node.
const KEY_MS: u64 = 10_000;

#[allow(clippy::print_stdout)] // it is what the example is for
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    for asks_lineage in [false, true] {
        for messages in [0, 100] {
            for at_once in [1, 64] {
                let mut settings = Settings::new(url.parse()?);
                settings.asks_lineage = asks_lineage;
                settings.prefix = "figures:".into();
                let (relay, mut events) = RedisRelay::start(settings).await?;
                let taken = tokio::spawn(async move { while events.next().await.is_some() {} });
                let relay = Arc::new(relay);
                let before = processor_time(&url).await?;
                let mut latencies = publish(&relay, messages, at_once).await?;
                let took: f64 = latencies.1.as_secs_f64();
                let server = processor_time(&url).await? - before;
                latencies.0.sort_unstable();
                let at = |part: usize| latencies.0[latencies.0.len() * part / 100];
                println!(
                    "asks {asks_lineage}, keeps {messages}, {at_once} at once: {:.0} publishes/s, \
                     p50 {:?}, p99 {:?}, server {:.1} µs each",
                    latencies.0.len() as f64 / took,
                    at(50),
                    at(99),
                    server * 1e6 / latencies.0.len() as f64,
                );
                relay.retire().await?;
                taken.await?;
            }
        }
    }
    Ok(())
}

/// Publishes to one room that the node is subscribed to, and answers with the latencies and the
/// time.
async fn publish(
    relay: &Arc<RedisRelay>,
    messages: u32,
    at_once: usize,
) -> Result<(Vec<Duration>, Duration), Box<dyn std::error::Error>> {
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
    let each = if at_once == 1 {
        PUBLISHES / 10
    } else {
        PUBLISHES / at_once
    };
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
                    earlier: Vec::new(),
                    print: 0,
                    expiry_ms: KEY_MS,
                });
                let began = Instant::now();
                relay.publish(&publish).await?;
                latencies.push(began.elapsed());
            }
            Ok::<_, roomcast_relay::RelayError>(latencies)
        })
    });
    let mut latencies = Vec::new();
    for publisher in publishers.collect::<Vec<_>>() {
        latencies.extend(publisher.await??);
    }
    Ok((latencies, began.elapsed()))
}

/// Seconds of the processor that the server has used.
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
