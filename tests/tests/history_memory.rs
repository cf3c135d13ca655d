//! The limit on the memory of all histories holds at each input, over all namespaces and threads.
#![allow(clippy::print_stdout)] // the figures

use crate::{
    crowd::policies,
    peer::{self, Peer, Said},
};
use roomcast_tests::{Server, Settings};

const LIMIT: usize = 8 << 20;
const NAMESPACES: usize = 8;
/// Published in each namespace, of so many bytes: together four times the limit.
const MESSAGES: usize = 70;
const BYTES: usize = 60_000;
/// Messages of one namespace in a row.
const BURST: usize = 7;

const POLICY: &str =
    "[[rooms]]\nmatch = \"log\"\nhistory.messages = 1000\nhistory.bytes = 16777216\n";

/// Bytes that histories take, as the server says.
fn held(server: &Server) -> usize {
    let bytes = peer::metric(server.authority(), "roomcast_history_bytes");
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .expect("a metric")
}

fn on_threads(threads: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    flags.extend([
        format!("--threads={threads}"),
        policies(folder.path(), POLICY),
        format!("--history-bytes-max={LIMIT}"),
    ]);
    let server = Server::start(&flags);
    let mut peers: Vec<_> = (0..NAMESPACES)
        .map(|number| {
            let mut peer = Peer::connect(server.authority(), &format!("n{number}"));
            peer.join("log");
            peer
        })
        .collect();
    let pad = "x".repeat(BYTES);
    let text = peer::text(&format!(
        r#"{{"event":"m","id":1,"room":"log","data":"{pad}"}}"#
    ));
    let mut most = 0;
    for _ in 0..MESSAGES / BURST {
        for peer in &mut peers {
            peer.write(&text.repeat(BURST));
            for _ in 0..BURST {
                assert!(matches!(peer.next(), Said::Text(_)));
            }
            most = most.max(held(&server));
        }
    }
    println!("{threads} threads: {most} bytes at a limit of {LIMIT}");
    assert!(
        most <= LIMIT,
        "{most} bytes of histories at a limit of {LIMIT}"
    );
    assert!(held(&server) > LIMIT / 2, "no more goes than has to");
    // Nobody is left without a history because others were there first.
    for peer in &mut peers {
        peer.say(r#"{"event":"$history","id":2,"room":"log"}"#);
        let Said::Text(page) = peer.next() else {
            panic!("no page");
        };
        let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
        let (first, top) = (
            page["data"]["first"].as_u64(),
            page["data"]["offset"].as_u64(),
        );
        assert!(first <= top, "nothing is left: {page}");
    }
}

#[test]
fn histories_of_all_namespaces_keep_to_the_limit_on_one_thread() {
    on_threads(1);
}

#[test]
fn histories_of_all_namespaces_keep_to_the_limit_on_three_threads() {
    on_threads(3);
}
