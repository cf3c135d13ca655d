//! The limit on the keys of clients holds over all namespaces and threads.

use crate::{
    crowd::policies,
    peer::{Peer, Said},
};
use roomcast_tests::{Server, Settings};

const LIMIT: usize = 20;
const NAMESPACES: usize = 4;
/// Published in each namespace, each under its own key.
const KEYS: usize = 15;

/// Publishes under a key; gives the offset that the message has.
fn publish(peer: &mut Peer, key: usize) -> u64 {
    peer.say(&format!(
        r#"{{"event":"m","room":"log","id":1,"key":"k{key}"}}"#
    ));
    let Said::Text(text) = peer.next() else {
        panic!("the client was closed");
    };
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    answer["data"]["offset"].as_u64().expect("an offset")
}

fn on_threads(threads: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut flags = Settings::default().flags();
    flags.extend([
        format!("--threads={threads}"),
        policies(
            folder.path(),
            "[[rooms]]\nmatch = \"log\"\nhistory.messages = 100\n",
        ),
        format!("--client-keys-max={LIMIT}"),
    ]);
    let server = Server::start(&flags);
    let mut peers: Vec<_> = (0..NAMESPACES)
        .map(|number| {
            let mut peer = Peer::connect(server.authority(), &format!("n{number}"));
            peer.join("log");
            peer
        })
        .collect();
    for peer in &mut peers {
        for key in 0..KEYS {
            assert_eq!(publish(peer, key), key as u64 + 1);
        }
    }
    // The newest key of the last one is known: there was room for it.
    let last = peers.last_mut().expect("a peer");
    assert_eq!(publish(last, KEYS - 1), KEYS as u64);
    // Trying an unknown key publishes a message and evicts another key. So the keys of each
    // namespace are tried from the newest, as long as they are known.
    let known: usize = peers
        .iter_mut()
        .map(|peer| {
            let tried = (0..KEYS).rev();
            tried
                .take_while(|&key| publish(peer, key) == key as u64 + 1)
                .count()
        })
        .sum();
    assert!((1..=LIMIT).contains(&known), "{known} keys are known");
}

#[test]
fn on_one_thread() {
    on_threads(1);
}

#[test]
fn on_two_threads() {
    on_threads(2);
}
