//! Sessions over TLS.

use tokio_rustls::rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{
    client::{Client, Trust, block_on, start},
    pair::Pairs,
};

/// More than a record of TLS holds.
const LARGE_BYTES: usize = 60_000;

#[test]
fn a_session_works_with_tls_1_2_and_with_1_3() {
    let pairs = Pairs::new();
    let process = start(&pairs, &["--threads=2"]);
    let at = &process.authority;
    block_on(async {
        for (version, expected) in [
            (&TLS12, ProtocolVersion::TLSv1_2),
            (&TLS13, ProtocolVersion::TLSv1_3),
        ] {
            let trust = Trust::with_versions(&pairs, &[version]);
            let mut alice = Client::joined(&trust, at, "r").await;
            let (_, tls) = alice.stream.get_ref().get_ref();
            assert_eq!(tls.protocol_version(), Some(expected));
            assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut bob = Client::joined(&trust, at, "r").await;
            for (number, bytes) in [0, 1, 16_384, LARGE_BYTES].into_iter().enumerate() {
                bob.publish("r", number, bytes).await;
                alice.expect(number..number + 1, bytes).await;
            }
        }
    });
}

#[test]
fn many_messages_of_one_turn_arrive_whole_and_in_order() {
    let pairs = Pairs::new();
    let process = start(&pairs, &["--inbound-rate=off"]);
    block_on(async {
        let trust = Trust::new(&pairs);
        let mut reader = Client::joined(&trust, &process.authority, "r").await;
        let mut writer = Client::joined(&trust, &process.authority, "r").await;
        let count = 500;
        for number in 0..count {
            let text = format!(
                r#"{{"event":"n","room":"r","data":{{"n":{number},"x":"{}"}}}}"#,
                "x".repeat(200)
            );
            writer.send(text).await;
        }
        reader.expect(0..count, 200).await;
    });
}

/// Messages that a slow reader does not take wait in its queue, and in no other place.
#[test]
fn a_slow_reader_is_closed_and_holds_nobody_up() {
    let pairs = Pairs::new();
    let mut process = start(
        &pairs,
        &[
            "--inbound-rate=off",
            "--outbox-bytes-max=262144",
            "--log=debug",
        ],
    );
    let authority = process.authority.clone();
    block_on(async {
        let trust = Trust::new(&pairs);
        let slow = Client::joined(&trust, &authority, "r").await;
        let mut healthy = Client::joined(&trust, &authority, "r").await;
        let mut writer = Client::joined(&trust, &authority, "r").await;
        // More than the kernel holds for one that does not read.
        for number in 0..400 {
            writer.publish("r", number, LARGE_BYTES).await;
            healthy.expect(number..number + 1, LARGE_BYTES).await;
        }
        // The close frame is still to come, and stays unread.
        process.logged("code=4409");
        drop(slow);
        let text = r#"{"event":"$ping","id":2}"#.to_owned();
        let answer = healthy.ask(text).await;
        assert_eq!(answer["id"], 2, "{answer}");
    });
}

#[test]
fn a_thousand_clients_that_come_back_at_once_are_all_served() {
    let pairs = Pairs::new();
    // All of them shake hands on one thread of this test, which may take long.
    let process = start(&pairs, &["--threads=2", "--handshake-time-ms=30000"]);
    crate::crowd::raise_descriptors();
    block_on(async {
        let trust = Trust::new(&pairs);
        let coming = (0..1000).map(|_| Client::joined(&trust, &process.authority, "r"));
        let clients = futures_util::future::join_all(coming).await;
        assert_eq!(clients.len(), 1000);
        // Each of them hears of a message.
        let mut writer = Client::joined(&trust, &process.authority, "r").await;
        writer.publish("r", 7, 10).await;
        for mut client in clients {
            client.expect(7..8, 10).await;
        }
    });
}
