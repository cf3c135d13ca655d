//! The cost of TLS in the server: memory of idle connections, and processor time of deliveries,
//! beside the same without it.
#![allow(clippy::print_stdout)] // the figures

use std::{
    cell::Cell,
    fs,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::sleep,
};

use super::{
    client::{Trust, block_on, start},
    pair::Pairs,
};
use crate::{
    crowd::{number, raise_descriptors},
    process::child::{LONGEST, Process},
};

const FLAGS: [&str; 1] = ["--inbound-rate=off"];
/// A letter that each delivery has once, and no head of a frame.
const MARK: u8 = b'!';
const PAYLOAD_BYTES: usize = 128;

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

/// Figures of one server.
struct Cost {
    idle_bytes: u64,
    /// Microseconds of processor time per delivery, one message at a time and in bursts.
    single_us: f64,
    burst_us: f64,
}

/// A frame of a client, with a mask that changes nothing.
fn frame(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("short");
    let mut frame = vec![0x81];
    match u8::try_from(len) {
        Ok(len @ ..126) => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

async fn joined(trust: Option<&Trust>, authority: &str) -> Box<dyn Wire> {
    let mut wire: Box<dyn Wire> = match trust {
        Some(trust) => Box::new(trust.open(authority).await.expect("a handshake")),
        None => Box::new(TcpStream::connect(authority).await.expect("a listener")),
    };
    let head = format!(
        "GET /ws HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    wire.write_all(head.as_bytes()).await.expect("open");
    let join = frame(r#"{"event":"$join","id":1,"room":"r"}"#);
    wire.write_all(&join).await.expect("open");
    wire.flush().await.expect("open");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"epoch\"") {
        let mut bytes = [0; 1024];
        let read = wire.read(&mut bytes).await.expect("open");
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&bytes[..read]);
    }
    wire
}

fn resident_bytes(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.id());
    let status = fs::read_to_string(path).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a size").parse::<u64>().expect("a number") * 1024
}

/// Processor time of all threads, in microseconds.
fn processor_us(process: &Process) -> u64 {
    let folder = fs::read_dir(format!("/proc/{}/task", process.id())).expect("a process");
    let nanos = folder.flatten().map(|task| {
        let times = fs::read_to_string(task.path().join("schedstat")).expect("a thread");
        let first = times.split(' ').next().expect("a time");
        first.parse::<u64>().expect("a number")
    });
    nanos.sum::<u64>() / 1000
}

/// Processor time per delivery, with so many messages at once.
async fn deliveries(
    process: &Process,
    writer: &mut Box<dyn Wire>,
    arrived: &Rc<Cell<u64>>,
    members: u64,
    (rounds, at_once): (u64, u64),
) -> f64 {
    let fill = "x".repeat(PAYLOAD_BYTES);
    let message = frame(&format!(r#"{{"event":"n","room":"r","data":"!{fill}"}}"#));
    let burst = message.repeat(usize::try_from(at_once).expect("few"));
    let (before, began) = (processor_us(process), arrived.get());
    for round in 1..=rounds {
        writer.write_all(&burst).await.expect("open");
        writer.flush().await.expect("open");
        let end = Instant::now() + LONGEST;
        while arrived.get() - began < round * at_once * members {
            assert!(Instant::now() < end, "not all arrived");
            tokio::task::yield_now().await;
        }
        // Each once: or the next round would begin before this one is over.
        assert_eq!(arrived.get() - began, round * at_once * members);
    }
    let spent = processor_us(process) - before;
    spent as f64 / (rounds * at_once * members) as f64
}

async fn measure(process: &Process, trust: Option<&Trust>) -> Cost {
    let (idle, members) = (number("IDLE", 2_000), number("MEMBERS", 500));
    // The first ones pay for what all share.
    let mut writer = joined(trust, &process.authority).await;
    let arrived = Rc::new(Cell::new(0));
    for _ in 0..members {
        let mut wire = joined(trust, &process.authority).await;
        let arrived = arrived.clone();
        spawn_local(async move {
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = wire.read(&mut bytes).await {
                let marks = bytes[..read].iter().filter(|byte| **byte == MARK).count();
                arrived.set(arrived.get() + marks as u64);
            }
        });
    }
    let (mut single_us, mut burst_us) = (f64::MAX, f64::MAX);
    for _ in 0..3 {
        let us = deliveries(process, &mut writer, &arrived, members, (100, 1)).await;
        single_us = us.min(single_us);
        let us = deliveries(process, &mut writer, &arrived, members, (20, 16)).await;
        burst_us = us.min(burst_us);
    }
    let before = resident_bytes(process);
    let mut others = Vec::new();
    for _ in 0..idle {
        others.push(joined(trust, &process.authority).await);
    }
    // The server gives memory back a while after a crowd.
    sleep(Duration::from_secs(3)).await;
    let idle_bytes = resident_bytes(process).saturating_sub(before) / idle;
    drop(others);
    Cost {
        idle_bytes,
        single_us,
        burst_us,
    }
}

/// The pair of figures in `docs/benchmarks.md`, with `ROOMCAST_BIN` as it is deployed.
#[test]
#[ignore = "a measurement"]
fn the_cost_of_tls() {
    raise_descriptors();
    let pairs = Pairs::new();
    let trust = Trust::new(&pairs);
    for (name, process, trust) in [
        ("plain", Process::start(&FLAGS), None),
        ("tls", start(&pairs, &FLAGS), Some(&trust)),
    ] {
        let cost = block_on(LocalSet::new().run_until(measure(&process, trust)));
        let Cost {
            idle_bytes,
            single_us,
            burst_us,
        } = cost;
        println!("{name}: {idle_bytes} bytes, {single_us:.3} and {burst_us:.3} µs");
        assert!(single_us > 0.0 && burst_us > 0.0);
    }
}

/// All connect at once; gives the time, the processor's microseconds for each, and their bytes.
async fn storm(process: &Process, trust: Option<&Trust>) -> (Duration, u64, u64) {
    let count = number("STORM", 5_000);
    // Pays for what is made once.
    drop(joined(trust, &process.authority).await);
    let (memory, spent, began) = (
        resident_bytes(process),
        processor_us(process),
        Instant::now(),
    );
    let all: Vec<_> = (0..count)
        .map(|_| {
            let (trust, authority) = (trust.cloned(), process.authority.clone());
            spawn_local(async move { joined(trust.as_ref(), &authority).await })
        })
        .collect();
    let mut open = Vec::new();
    for client in all {
        open.push(client.await.expect("it is served"));
    }
    let (took, spent) = (began.elapsed(), processor_us(process) - spent);
    let bytes = resident_bytes(process).saturating_sub(memory);
    (took, spent / count, bytes / count)
}

#[test]
#[ignore = "a measurement"]
fn a_storm_of_reconnects() {
    raise_descriptors();
    let pairs = Pairs::new();
    let trust = Trust::new(&pairs);
    for (name, process, trust) in [
        ("plain", Process::start(&FLAGS), None),
        ("tls", start(&pairs, &FLAGS), Some(&trust)),
    ] {
        let (took, us, bytes) = block_on(LocalSet::new().run_until(storm(&process, trust)));
        println!("{name}: all served in {took:?}, {us} µs of processor and {bytes} bytes for each");
        assert!(took < LONGEST);
    }
}
