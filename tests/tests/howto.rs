//! Code of the how-tos, as their readers copy it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use roomcast_tests::Server;
use tempfile::TempDir;

use crate::readme::{binary, blocks, client, says};

const HERE: &str = env!("CARGO_MANIFEST_DIR");
const BACKEND: &str = include_str!("../../docs/backend.md");
const TESTING: &str = include_str!("../../docs/testing.md");
/// Time that anything may take: a fault when it passes, never a way to decide.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program with a file of this code; gives what it printed, and whether it succeeded.
fn run(program: &Path, code: &str, folder: &TempDir, env: &[(&str, &str)]) -> (bool, String) {
    fs::write(folder.path().join("code.mjs"), code).expect("written");
    let output = Command::new(program)
        .arg("code.mjs")
        .current_dir(folder.path())
        .envs(env.iter().copied())
        .output();
    let output = output.unwrap_or_else(|fault| panic!("{}: {fault}", program.display()));
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// A language: its program, the function of the page, the page's calls of it or the like, and a
/// call that the server refuses.
struct Language {
    program: PathBuf,
    code: String,
    calls: String,
    refused: String,
}

fn languages() -> [Language; 2] {
    let [function, calls] = blocks(BACKEND, "js")[..] else {
        panic!("a function, and calls of it");
    };
    let [python] = blocks(BACKEND, "python")[..] else {
        panic!("a function");
    };
    let node = Language {
        program: "node".into(),
        code: function.to_owned(),
        calls: calls.to_owned(),
        refused: "await send({ rooms: 1 }, 'paid');".to_owned(),
    };
    let said = r#"{"order": 1018}, "order-1018-paid")"#;
    let notice = r#"send({"users": ["ann"]}, "notice", {"text": "in every tab of hers"})"#;
    let python = Language {
        program: Path::new(HERE).join(".venv/bin/python"),
        code: python.to_owned(),
        calls: format!("send({{\"rooms\": [\"lobby\"]}}, \"paid\", {said}\n{notice}"),
        refused: "send({'rooms': 1}, 'paid', None)".to_owned(),
    };
    [node, python]
}

/// The key that the command prints is that of the backend, its hash that of the server.
fn key() -> (String, String) {
    let commands = blocks(BACKEND, "sh");
    assert_eq!(commands[0], "roomcast key --scope publish");
    let arguments = commands[0].split(' ').skip(1);
    let output = Command::new(binary()).args(arguments).output();
    let printed = String::from_utf8(output.expect("a key").stdout).expect("text");
    let lines: Vec<_> = printed.lines().map(ToOwned::to_owned).collect();
    let [key, hash] = &lines[..] else {
        panic!("two lines: {printed}");
    };
    // The page shows the hash where the server reads it.
    let (variable, shown) = commands[1].split_once('=').expect("a variable");
    assert_eq!(variable, "ROOMCAST_API_KEY");
    let shown = shown.strip_suffix(" roomcast").expect("the server");
    assert_eq!(shown.len(), hash.len(), "{shown}");
    (key.clone(), hash.clone())
}

#[test]
fn a_backend_sends_once_however_often_it_does() {
    let (key, hash) = key();
    let server = Server::start(&[format!("--api-key={hash}")]);
    let url = format!("http://{}", server.authority());
    let mut member = client(server.authority(), "ann");
    says(
        &mut member,
        "ann",
        r#"{"event":"$join","id":1,"room":"lobby"}"#,
    );
    let env = [("ROOMCAST_URL", &*url), ("ROOMCAST_API_KEY", &*key)];
    let folder = tempfile::tempdir().expect("a folder");
    for language in languages() {
        let Language {
            program,
            code,
            calls,
            refused,
        } = &language;
        for _ in 0..2 {
            let (ok, said) = run(program, &format!("{code}\n{calls}\n"), &folder, &env);
            assert!(ok, "{said}");
        }
        let (ok, said) = run(program, &format!("{code}\n{refused}\n"), &folder, &env);
        assert!(!ok && said.contains("rooms"), "{said}");
    }
    let got = says(&mut member, "ann", r#"{"event":"$ping","id":2}"#);
    let paid = |order| format!(r#"{{"event":"paid","room":"lobby","data":{{"order":{order}}}}}"#);
    let compact: Vec<_> = got.iter().map(|frame| frame.replace(": ", ":")).collect();
    assert_eq!(compact[..2], [paid(1017), paid(1018)], "{got:?}");
    assert_eq!(compact.len(), 3, "{got:?}");
}

/// Reads a request; gives its idempotency key.
fn idempotency_key(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let field = |name| {
        let rest = head.split_once(name).map(|(_, rest)| rest);
        let value = rest.and_then(|rest| rest.split("\r\n").next());
        value.expect("a field").trim().to_owned()
    };
    let length = field("content-length:").parse().expect("a number");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    field("idempotency-key:")
}

/// A server that is away, by a closed connection and by 503, is called again under the same key.
#[test]
fn a_backend_tries_again_while_the_server_is_away() {
    for Language {
        program,
        code,
        calls,
        ..
    } in languages()
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let away = thread::spawn(move || {
            let answers = ["", "503 Service Unavailable", "200 OK", "200 OK"];
            answers.map(|answer| {
                let (mut stream, _) = listener.accept().expect("a call");
                let key = idempotency_key(&mut stream);
                if !answer.is_empty() {
                    let rest = "Content-Length: 2\r\nConnection: close\r\n\r\n{}";
                    let answer = format!("HTTP/1.1 {answer}\r\n{rest}");
                    stream.write_all(answer.as_bytes()).expect("answered");
                }
                key
            })
        });
        let env = [("ROOMCAST_URL", &*url), ("ROOMCAST_API_KEY", "key")];
        let folder = tempfile::tempdir().expect("a folder");
        let (ok, said) = run(&program, &format!("{code}\n{calls}\n"), &folder, &env);
        assert!(ok, "{said}");
        let [first, second, third, other] = away.join().expect("four calls");
        assert_eq!([&second, &third], [&first, &first]);
        assert_ne!(other, first, "another message");
    }
}

/// The client and `ws` as npm would have installed them.
#[test]
fn the_test_with_a_server_of_its_own_passes() {
    let [code] = blocks(TESTING, "js")[..] else {
        panic!("a test");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let modules = folder.path().join("node_modules");
    fs::create_dir(&modules).expect("a folder");
    let here = Path::new(HERE);
    symlink(here.join("../client"), modules.join("roomcast")).expect("a link");
    symlink(here.join("clients/node_modules/ws"), modules.join("ws")).expect("a link");
    symlink(binary(), folder.path().join("roomcast")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", folder.path().display());
    let (ok, said) = run(Path::new("node"), code, &folder, &[("PATH", &path)]);
    assert!(ok && said.contains("pass 1"), "{said}");
}
