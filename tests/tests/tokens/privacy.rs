//! A token is in no log and in no journal.

use std::{fs, path::Path};

use super::{KEY, OFFER, OTHER_KEY, ask, auth, text, token, token_for, unidentified};
use crate::{peer::frame, process::child::Process};

/// All that the files of a folder hold.
fn contents(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let texts = paths.map(|path| fs::read_to_string(path).expect("text"));
    texts.collect()
}

#[test]
fn no_token_is_written_down_whether_tokens_are_on_or_off() {
    for on in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let record = folder.path().to_str().expect("text");
        let mut flags = vec!["--record", record, "--log=debug", "--close-wait-ms=200"];
        if on {
            flags.extend(["--token-key", KEY]);
        }
        let mut server = Process::start(&flags);
        let good = token("ann");
        let bad = token_for(OTHER_KEY, "ann", 60);
        for token in [&good, &bad] {
            let bearer = format!("Authorization: Bearer {token}");
            let listed = format!("Sec-WebSocket-Protocol: bearer.{token}");
            ask(&server.authority, "", &[&bearer]);
            ask(&server.authority, "", &[&listed]);
            ask(&server.authority, &format!("?token={token}"), &[]);
            ask(
                &server.authority,
                &format!("?token={token}&refuse=close"),
                &[OFFER],
            );
            let (mut peer, _) = unidentified(&server.authority);
            peer.say(&auth(token));
            text(&mut peer);
            let meant = ["$login", "$AUTH", "auth", "$ping", "$join"].map(|event| {
                let data = format!(r#""token":"{token}","data":{{"token":"{token}"}}"#);
                format!(r#"{{"event":"{event}","id":1,"room":"a",{data}}}"#)
            });
            for broken in [
                format!(r#"{{"event":"$auth","id":"a","data":{{"token":"{token}"}}"#),
                format!(r#"{{"event":"$auth","id":"a","data":{{"token":["{token}"]}}}}"#),
                format!(r#"{{"event":"$auth","id":"a","data":"{token}"}}"#),
                format!(r#"{{"event":"$a\u0075th","id":"a","data":{{"token":"{token}"}}}}"#),
                token.clone(),
                format!("\"{token}\""),
                format!("Bearer {token}"),
                format!(r#"{{"jwt":"{token}"}}"#),
                format!(r#"{{"event":"said","id":1.5,"data":"{token}"}}"#),
            ]
            .into_iter()
            // Whoever is in may say what it likes.
            .chain(meant.into_iter().filter(|_| on))
            {
                let (mut peer, _) = unidentified(&server.authority);
                peer.say(&broken);
                text(&mut peer);
            }
            for bytes in [auth(token), token.clone(), format!("\"{token}\"")] {
                let (mut peer, _) = unidentified(&server.authority);
                peer.write(&frame(0x82, bytes.as_bytes()));
                peer.next();
            }
        }
        server.signal("TERM");
        let log = server.rest_of_log();
        assert!(server.ended().success());
        let journal = contents(folder.path());
        assert!(journal.contains("connect"), "{journal}");
        assert!(log.contains("shut down"), "{log}");
        assert_eq!(log.contains("refused a token"), on, "{log}");
        for token in [good, bad] {
            for part in token.split('.').skip(1) {
                let bytes: Vec<_> = part.bytes().map(|byte| byte.to_string()).collect();
                assert!(!journal.contains(&bytes.join(",")), "{journal}");
                assert!(!journal.contains(part), "{journal}");
                assert!(!log.contains(part), "{log}");
            }
        }
        let secret = KEY.trim_start_matches("hs256:");
        assert!(!log.contains(secret) && !journal.contains(secret));
    }
}
