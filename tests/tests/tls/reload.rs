//! Certificates that change while the server runs.

use super::{
    client::{Client, Trust, block_on, start},
    pair::Pairs,
};
use crate::peer::metric;

#[test]
fn a_pair_swapped_under_load_loses_no_message() {
    let pairs = Pairs::new();
    let mut process = start(&pairs, &["--threads=2", "--inbound-rate=off"]);
    let authority = process.authority.clone();
    let trust = Trust::new(&pairs);
    let second = pairs.make(2101);
    let (rounds, each) = (4, 100);
    block_on(async {
        let mut readers = Vec::new();
        for _ in 0..8 {
            readers.push(Client::joined(&trust, &authority, "r").await);
        }
        let first = readers[0].certificate();
        assert_ne!(first, second.der);
        let mut writer = Client::joined(&trust, &authority, "r").await;
        for round in 0..rounds {
            for number in 0..each {
                if round == 1 && number == each / 2 {
                    pairs.put(&second);
                    process.signal("HUP");
                }
                writer.publish("r", round * each + number, 100).await;
            }
            if round == 1 {
                process.logged("the certificate is another");
                let late = Client::joined(&trust, &authority, "r").await;
                assert_eq!(late.certificate(), second.der);
            }
        }
        for reader in &mut readers {
            assert_eq!(reader.certificate(), first);
            reader.expect(0..rounds * each, 100).await;
        }
    });
}

#[test]
fn files_that_change_are_noticed_without_a_signal() {
    let pairs = Pairs::new();
    let mut process = start(&pairs, &["--tls-check-ms=20"]);
    let second = pairs.make(2101);
    pairs.put(&second);
    process.logged("valid until 2101-01-01");
    block_on(async {
        let client = Client::connect(&Trust::new(&pairs), &process.authority).await;
        assert_eq!(client.certificate(), second.der);
    });
}

#[test]
fn the_end_of_the_certificate_is_in_the_metrics() {
    let pairs = Pairs::new();
    let flags = ["--tls-check-ms=20", "--admin-listen=127.0.0.1:0"];
    let mut process = start(&pairs, &flags);
    let line = process.logged("administration at http://");
    let (_, rest) = line.split_once("http://").expect("an address");
    let admin = rest.split_once(": ").expect("an address").0;
    let expiry = || metric(admin, "roomcast_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry(), Some(4_102_444_800), "the first day of 2100");
    pairs.put(&pairs.make(2101));
    process.logged("valid until 2101-01-01");
    assert_eq!(expiry(), Some(4_133_980_800), "the first day of 2101");
}

#[test]
fn a_broken_pair_keeps_the_old_one_and_says_why() {
    let pairs = Pairs::new();
    let mut process = start(&pairs, &[]);
    let trust = Trust::new(&pairs);
    let authority = process.authority.clone();
    let other = pairs.make(2101);
    block_on(async {
        let mut early = Client::joined(&trust, &authority, "r").await;
        let first = early.certificate();
        for (name, text, why) in [
            (
                "key.pem",
                other.key.as_str(),
                "does not fit the certificate",
            ),
            ("key.pem", "", "has no private key"),
            ("cert.pem", "nothing", "has no certificate"),
        ] {
            pairs.put_text(name, text);
            process.signal("HUP");
            let line = process.logged("the certificate stays as it was");
            assert!(line.contains(why) && line.contains(name), "{line}");
            let mut late = Client::joined(&trust, &authority, "r").await;
            assert_eq!(late.certificate(), first);
            late.publish("r", 1, 10).await;
            early.expect(1..2, 10).await;
        }
    });
    // Mended, it is taken.
    pairs.put(&other);
    process.signal("HUP");
    process.logged("the certificate is another");
}
