//! The verb `$auth`.

use super::{
    JOIN, KEY, OTHER_KEY, auth, ends, serve, text, token, token_for, unidentified, unix_s,
};
use crate::peer::{self, Peer, Said};

/// The seconds after its end for which a token is still taken.
const LEEWAY_S: i64 = 10;

#[test]
fn a_client_without_a_token_says_who_it_is_before_anything_else() {
    for threads in ["--threads=1", "--threads=3"] {
        let server = serve(&[threads]);
        let (mut peer, welcome) = unidentified(&server.authority);
        assert!(welcome.contains(r#""auth_in_ms":5000"#), "{welcome}");
        peer.say(JOIN);
        let refused = text(&mut peer);
        assert!(refused.contains(r#""code":"unauthorized""#), "{refused}");
        peer.say(&auth(&token("ann")));
        let known = text(&mut peer);
        assert!(
            known.contains(r#""id":"a""#) && known.contains(r#""user":"ann""#),
            "{known}"
        );
        assert!(peer.join("chat:a").contains(r#""epoch""#));
    }
}

#[test]
fn what_comes_behind_it_in_one_segment_is_done_behind_it() {
    for threads in ["--threads=1", "--threads=3"] {
        let server = serve(&[threads]);
        for _ in 0..6 {
            let (mut peer, _) = unidentified(&server.authority);
            let segment = [
                peer::text(&auth(&token("ann"))),
                peer::text(JOIN),
                peer::text(&auth(&token("bob")).replace(r#""id":"a""#, r#""id":"b""#)),
                peer::text(r#"{"event":"$rooms","id":"r"}"#),
                peer::close(1000),
            ];
            peer.write(&segment.concat());
            let said = peer.rest();
            let texts: Vec<&str> = said
                .iter()
                .filter_map(|said| match said {
                    Said::Text(text) => Some(&**text),
                    Said::Ping | Said::Pong | Said::Close(_) | Said::End => None,
                })
                .collect();
            assert_eq!(texts.len(), 4, "{said:?}");
            assert!(texts[0].contains(r#""user":"ann""#), "{said:?}");
            assert!(texts[1].contains(r#""epoch""#), "{said:?}");
            // Another user is no renewal.
            assert!(texts[2].contains(r#""id":"b","error""#), "{said:?}");
            assert!(texts[3].contains(r#"["chat:a"]"#), "{said:?}");
            assert_eq!(said.last(), Some(&Said::Close(1000)));
        }
    }
}

#[test]
fn a_first_token_that_is_bad_ends_the_connection() {
    for threads in ["--threads=1", "--threads=3"] {
        let server = serve(&[threads]);
        for bad in [
            auth(&token_for(KEY, "ann", -60)),
            auth(&token_for(OTHER_KEY, "ann", 60)),
            auth(""),
            r#"{"event":"$auth","id":"a"}"#.to_owned(),
            r#"{"event":"$auth","id":"a","data":{"token":1}}"#.to_owned(),
        ] {
            let (mut peer, _) = unidentified(&server.authority);
            peer.say(&bad);
            let refused = text(&mut peer);
            assert!(refused.contains(r#""id":"a","error""#), "{refused}");
            ends(&mut peer, 4401);
        }
    }
}

#[test]
fn who_does_not_say_it_in_time_is_closed() {
    let server = serve(&["--auth-time-ms=50"]);
    let (mut peer, welcome) = unidentified(&server.authority);
    assert!(welcome.contains(r#""auth_in_ms":50"#), "{welcome}");
    let said = peer.rest();
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
}

/// Shows a token that ended up to ten seconds ago, which the server still takes. `None` where this
/// machine stood still until those were over.
fn auth_late(peer: &mut Peer, left_s: i64) -> Option<()> {
    let end_s = unix_s().saturating_add_signed(left_s + LEEWAY_S);
    peer.say(&auth(&token_for(KEY, "ann", left_s)));
    let told = text(peer);
    if told.contains(r#""expires_in_ms":"#) {
        return Some(());
    }
    assert!(unix_s() >= end_s, "{told}");
    None
}

#[test]
fn without_a_notice_a_token_ends_unannounced() {
    let server = serve(&["--expiry-notice-ms=0", "--token-grace-ms=0"]);
    let taken = (0..20).find_map(|_| {
        let (mut peer, _) = unidentified(&server.authority);
        auth_late(&mut peer, -8).map(|()| peer)
    });
    let mut peer = taken.expect("a machine that is quick enough at some time");
    let said = peer.rest();
    let notices = said
        .iter()
        .filter(|said| matches!(said, Said::Text(text) if text.contains("$expiring")));
    assert_eq!(notices.count(), 0, "{said:?}");
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
}

#[test]
fn a_token_is_renewed_and_one_that_runs_out_ends_the_connection() {
    let server = serve(&["--token-grace-ms=100"]);
    let renewed = (0..20).find_map(|_| {
        let (mut peer, _) = unidentified(&server.authority);
        // The leeway is in it: two seconds are left.
        let end_s = unix_s().saturating_add_signed(LEEWAY_S - 8);
        auth_late(&mut peer, -8)?;
        assert!(text(&mut peer).contains(r#""event":"$expiring""#));
        // Half of it is left when the notice comes.
        peer.say(&auth(&token_for(KEY, "ann", -4)));
        let told = text(&mut peer);
        if told.contains(r#""user":"ann""#) {
            return Some(peer);
        }
        assert!(unix_s() >= end_s, "{told}");
        None
    });
    let mut peer = renewed.expect("a machine that is quick enough at some time");
    let said = peer.rest();
    assert!(
        matches!(&said[0], Said::Text(text) if text.contains("$expiring")),
        "{said:?}"
    );
    assert_eq!(said.last(), Some(&Said::Close(4401)), "{said:?}");
}
