//! Hooks of the native server.

mod faults;
mod receivers;
mod reload;

pub(crate) use self::{
    faults::receiver,
    receivers::{Receiver, javascript},
};

use tempfile::TempDir;

use crate::{
    peer::{Peer, Said},
    process::child::Process,
    tokens::{KEY as TOKEN_KEY, OFFER, ask, text, token},
};

pub(crate) const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A folder with that file.
fn config(url: &str, keys: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("rooms.toml"), settings(url, keys)).expect("written");
    folder
}

/// A file that names one endpoint, which is told everything.
pub(crate) fn settings(url: &str, keys: &[&str]) -> String {
    format!(
        "[[hooks]]\ntell = \"{url}\"\nkeys = {keys:?}\n\
         events = [\"room.occupied\", \"room.vacated\", \"user.joined\", \"user.left\", \
         \"connection.opened\", \"connection.closed\", \"message.published\"]\n\
         [[rooms]]\nmatch = \"chat:*\"\npresence = \"members\"\n"
    )
}

fn serve(folder: &TempDir, flags: &[&str]) -> Process {
    let file = folder.path().join("rooms.toml");
    let file = file.to_string_lossy();
    Process::start(&[&["--token-key", TOKEN_KEY, "--config", &*file], flags].concat())
}

/// Connects as `ann`.
fn ann(authority: &str) -> Peer {
    let bearer = format!("Authorization: Bearer {}", token("ann"));
    let (mut peer, head) = ask(authority, "", &[OFFER, &bearer]);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(text(&mut peer).contains("$welcome"));
    peer
}

/// `ann` comes to a room, says something, leaves it, and closes.
pub(crate) fn chat(authority: &str) {
    talk(authority);
}

/// The same; gives the connection after the close. The server's hub may not know of its end yet.
fn talk(authority: &str) -> Peer {
    let mut ann = ann(authority);
    for said in [
        r#"{"event":"$join","id":1,"room":"chat:a"}"#,
        "{\"event\":\"said\",\"id\":2,\"room\":\"chat:a\",\"data\":\"h\u{e9}llo\"}",
        r#"{"event":"$leave","id":3,"room":"chat:a"}"#,
    ] {
        ann.say(said);
        let answer = text(&mut ann);
        assert!(answer.contains(r#""data""#), "{answer}");
    }
    ann.write(&crate::peer::close(1000));
    assert_eq!(ann.next(), Said::Close(1000));
    ann
}
