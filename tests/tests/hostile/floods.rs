//! Floods, plain and with TLS: the memory that they take is bounded, and is printed with their
//! processor time.
#![cfg(target_os = "linux")]

use std::{
    fs,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    crowd::PATIENCE,
    peer::{frame, metric},
    process::child::Process,
    tls::{
        client::{Trust, block_on, start},
        pair::Pairs,
    },
};

/// Memory that a flood may take: the buffers of one connection, and some of the allocator's.
const GROWTH_MIB_MAX: f64 = 16.0;
const TEXT_BEGINS: u8 = 0x01;
const CONTINUATION: u8 = 0x00;
const PING: u8 = 0x89;

trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire for T {}

async fn open(trust: Option<&Trust>, authority: &str) -> Box<dyn Wire> {
    match trust {
        Some(trust) => Box::new(trust.open(authority).await.expect("a handshake")),
        None => Box::new(TcpStream::connect(authority).await.expect("a listener")),
    }
}

fn upgrade(authority: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nhost: {authority}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

async fn upgraded(trust: Option<&Trust>, authority: &str) -> Box<dyn Wire> {
    let mut wire = open(trust, authority).await;
    wire.write_all(upgrade(authority).as_bytes())
        .await
        .expect("open");
    wire.flush().await.expect("open");
    answered(&mut wire).await;
    wire
}

/// Reads the head of the answer to an upgrade.
async fn answered(wire: &mut Box<dyn Wire>) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, wire.read_u8()).await.expect("in time");
        seen.push(byte.expect("an answer"));
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"));
}

/// Writes pieces, as many times, until the server ends the connection; reads nothing.
async fn flood(wire: &mut Box<dyn Wire>, piece: &[u8], times: usize) {
    for _ in 0..times {
        let written = timeout(PATIENCE, wire.write_all(piece)).await;
        if written.expect("the server reads or ends it").is_err() {
            return;
        }
    }
}

/// The most memory that the process had, in MiB.
fn peak_mib(process: &Process) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.expect("a size").parse::<f64>().expect("a number") / 1024.0
}

/// Processor time of all threads.
fn processor(process: &Process) -> Duration {
    let folder = fs::read_dir(format!("/proc/{}/task", process.id())).expect("it runs");
    let nanos = folder.flatten().map(|task| {
        let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let first = times.split(' ').next().and_then(|time| time.parse().ok());
        first.unwrap_or(0)
    });
    Duration::from_nanos(nanos.sum())
}

async fn floods(name: &str, process: &Process, trust: Option<&Trust>) {
    let authority = process.authority.as_str();
    // Allocates everything that is allocated once.
    drop(upgraded(trust, authority).await);
    let mut declared = vec![0x81, 0xff];
    declared.extend((1_u64 << 62).to_be_bytes());
    declared.extend([0; 4]);
    let begin = frame(TEXT_BEGINS, b"");
    let empty = frame(CONTINUATION, b"").repeat(10_000);
    let pings = frame(PING, &[b'x'; 125]).repeat(500);
    for (flood_name, head, piece, times) in [
        ("a declared length of 2^62", &declared, &pings, 10),
        ("a million empty continuations", &begin, &empty, 100),
        ("a flood of pings", &Vec::new(), &pings, 200),
    ] {
        let (memory, spent, began) = (peak_mib(process), processor(process), Instant::now());
        let mut wire = upgraded(trust, authority).await;
        let _ = wire.write_all(head).await;
        flood(&mut wire, piece, times).await;
        drop(wire);
        let growth = peak_mib(process) - memory;
        let (spent, took) = (processor(process) - spent, began.elapsed());
        eprintln!("{name}: {flood_name}: {growth:.1} MiB, {spent:?} of processor in {took:?}");
        assert!(
            growth < GROWTH_MIB_MAX,
            "{name}: {flood_name}: {growth:.1} MiB"
        );
    }
    // Each byte alone.
    let mut slow = open(trust, authority).await;
    for byte in upgrade(authority).into_bytes() {
        slow.write_all(&[byte]).await.expect("open");
        slow.flush().await.expect("open");
    }
    answered(&mut slow).await;
}

#[test]
fn floods_take_no_memory() {
    let process = Process::start(&["--close-wait-ms=300"]);
    block_on(floods("plain", &process, None));
    let floods = metric(&process.authority, "roomcast_connections_closed_total");
    assert!(floods >= Some(3), "they are counted: {floods:?}");
}

#[test]
fn floods_take_no_memory_over_tls() {
    let pairs = Pairs::new();
    let trust = Trust::new(&pairs);
    let process = start(&pairs, &["--close-wait-ms=300"]);
    block_on(floods("tls", &process, Some(&trust)));
}

/// Bytes after a fault are meaningless. A peer that keeps sending fills its own buffers, and uses
/// no processor.
async fn goes_on_after_a_fault(process: &Process, trust: Option<&Trust>) {
    let mut wire = upgraded(trust, &process.authority).await;
    wire.write_all(&frame(0x83, b"")).await.expect("open");
    let (piece, mut taken) = (vec![0; 64 * 1024], 0);
    while taken < 1024
        && let Ok(()) = timeout(PATIENCE, wire.write_all(&piece))
            .await
            .expect("it is cut off")
    {
        taken += 1;
    }
    eprintln!("{} KiB were taken behind a fault", taken * 64);
    // What the kernels of both sides buffer, and the little that is read.
    assert!(taken < 1024, "64 MiB are taken");
}

#[test]
fn peers_that_go_on_after_a_fault_are_not_read() {
    let flags = ["--close-wait-ms=2000"];
    block_on(goes_on_after_a_fault(&Process::start(&flags), None));
    let pairs = Pairs::new();
    let (process, trust) = (start(&pairs, &flags), Trust::new(&pairs));
    block_on(goes_on_after_a_fault(&process, Some(&trust)));
}
