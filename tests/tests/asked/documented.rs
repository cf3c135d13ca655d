//! The backends of the documentation, used by the real server.

use std::path::{Path, PathBuf};

use super::{client, config, connect, join, serve};
use crate::{
    hooks::{Receiver, javascript},
    peer::metric,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../../../docs/hooks.md");
const PYTHON: &str = include_str!("../../../docs/receivers/ask_backend.py");

fn check(program: PathBuf, code: &str, name: &str) {
    let backend = Receiver::start_code(program, code, name);
    let url = format!("http://127.0.0.1:{}/", backend.port);
    let folder = config(&url, "");
    let mut server = serve(&folder, &[]);
    let (status, body) = connect(&server, &["Cookie: session=none"]);
    assert_eq!(status, 401, "{body}");
    assert!(body.contains(r#""detail":"log in first""#), "{body}");
    assert!(body.contains(r#""code":"unauthorized""#), "{body}");
    // An invalid cookie name.
    let (status, body) = connect(&server, &["Cookie: a/b=1"]);
    assert_eq!(status, 401, "{body}");
    let mut ann = client(&server, "s3cret");
    let joined = join(&mut ann, "lobby");
    assert!(joined.contains(r#""data":{"epoch""#), "{joined}");
    let joined = join(&mut ann, "team:ann");
    assert!(joined.contains(r#""data":{"epoch""#), "{joined}");
    let refused = join(&mut ann, "team:ben");
    assert!(
        refused.contains(r#""error":{"code":"forbidden","message":"not your team""#),
        "{refused}"
    );
    // Without the backend every connection is refused, with the reason.
    drop(backend);
    let refused = join(&mut ann, "team:cat");
    assert!(
        refused.contains(r#""error":{"code":"unavailable""#),
        "{refused}"
    );
    assert!(refused.contains("cannot be asked: try again"), "{refused}");
    let (status, body) = connect(&server, &["Cookie: session=other"]);
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""code":"unavailable""#), "{body}");
    server.logged("[ask]: ");
    for (name, least) in [
        (r#"roomcast_ask_questions_total{outcome="allowed"}"#, 2),
        (r#"roomcast_ask_questions_total{outcome="refused"}"#, 3),
        (r#"roomcast_ask_questions_total{outcome="unavailable"}"#, 2),
        (r#"roomcast_refused_total{reason="backend"}"#, 3),
        (r#"roomcast_refused_total{reason="backend_unavailable"}"#, 2),
    ] {
        assert_eq!(metric(&server.authority, name), Some(least), "{name}");
    }
}

#[test]
fn the_backend_in_node_lets_in_and_refuses() {
    let (_, section) = PAGE.split_once("\n## Ask a backend\n").expect("a section");
    check("node".into(), javascript(section), "backend.mjs");
}

#[test]
fn the_backend_in_python_lets_in_and_refuses() {
    let python = Path::new(HERE).join(".venv/bin/python");
    check(python, PYTHON, "backend.py");
}
