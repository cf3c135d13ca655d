//! The page at `/`, the inspector, recipes of the client and the template of the worker, in
//! Chromium.
#![allow(clippy::print_stdout)] // the figures

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use roomcast_tests::{Edge, Trace};

use super::{HERE, Server, binary, check, python, run};
use crate::peer::free_port;

#[test]
fn two_panes_of_the_page_talk_in_chromium() {
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.toml");
    let policy = "[[rooms]]\nmatch = \"kept\"\nhistory.messages = 300\n";
    fs::write(&config, policy).expect("a file");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let url = format!("http://{}", server.address);
    check("page", "node", &["page.mjs", &url]);
}

/// Rooms with a history and members, but for one, as the script wants them.
const LANES: &str = "[[rooms]]\nmatch = \"loose\"\npresence = \"members\"\n\
                     [[rooms]]\nmatch = \"*\"\nhistory.messages = 300\npresence = \"members\"\n\
                     presence_grace_s = 0\n";

/// The page in both themes and two widths is in the folder for temporary files of the tests.
#[test]
fn lines_of_the_page_are_cut_and_mended_in_chromium() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let config = folder.join("lanes.toml");
    fs::write(&config, LANES).expect("a file");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let url = format!("http://{}", server.address);
    let picture = folder.join("page.png");
    let (folder, picture) = (folder.to_string_lossy(), picture.to_string_lossy());
    check("page", "node", &["lanes.mjs", &url, &folder, &picture]);
}

/// A session that was saved is a trace like those of the project: it passes on the core.
#[test]
fn a_session_that_the_page_has_saved_in_chromium_is_a_trace() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let config = folder.join("session.toml");
    fs::write(&config, LANES).expect("a file");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let url = format!("http://{}", server.address);
    let file = folder.join("session.trace");
    check(
        "page",
        "node",
        &["session.mjs", &url, &file.to_string_lossy()],
    );
    let source = fs::read_to_string(&file).expect("the page has saved it");
    let trace = Trace::parse("session", source).expect("a trace");
    if let Err(error) = trace.run(&mut trace.settings().core()) {
        panic!("{error}");
    }
}

/// A journal of 10,000 inputs in the inspector. Its pictures are in the same folder.
#[test]
fn a_journal_is_stepped_through_in_chromium() {
    let server = Server::start(&[]);
    let (url, folder) = (
        format!("http://{}", server.address),
        env!("CARGO_TARGET_TMPDIR"),
    );
    let args = ["inspect.mjs", &url, "--screenshots", folder];
    let (status, text) = run("page", "node", &args, &[]);
    assert!(status.success(), "{status}\n{text}");
    println!("{text}");
}

/// The same page of the worker.
#[test]
fn lines_of_the_page_of_the_worker_are_cut_and_mended_in_chromium() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("worker-page");
    fs::create_dir_all(&folder).expect("a folder");
    let edge = Edge::start_with_vars(&[("ROOMCAST_CONFIG", LANES)]);
    let url = format!("http://{}", edge.authority(0));
    let key = [("ROOMCAST_API_KEY", Edge::API_KEY)];
    let args = ["lanes.mjs", &url, &folder.to_string_lossy()];
    let (status, text) = run("page", "node", &args, &key);
    assert!(status.success(), "{status}\n{text}");
    assert_eq!(edge.log(), [""; 0]);
}

/// A page with the client is put aside for the way back, frozen, hidden, and without a network.
#[test]
fn a_page_that_nobody_looks_at_loses_nothing_in_chromium() {
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lifecycle.toml");
    fs::write(&config, LANES).expect("a file");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let url = format!("http://{}", server.address);
    let (status, text) = run("page", "node", &["lifecycle.mjs", &url], &[]);
    assert!(status.success(), "{status}\n{text}");
    println!("{text}");
}

/// The same with the worker.
#[test]
fn a_page_of_the_worker_that_nobody_looks_at_loses_nothing_in_chromium() {
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let vars = [
        ("ROOMCAST_CONFIG", LANES),
        ("ROOMCAST_ALLOW_ORIGIN", &*origin),
    ];
    let edge = Edge::start_with_vars(&vars);
    let url = format!("http://{}", edge.authority(0));
    let key = [("ROOMCAST_API_KEY", Edge::API_KEY)];
    let args = ["lifecycle.mjs", &url, &port.to_string()];
    let (status, text) = run("page", "node", &args, &key);
    assert!(status.success(), "{status}\n{text}");
    println!("{text}");
    assert_eq!(edge.log(), [""; 0]);
}

/// The chats of the README, in one file and in React, in several tabs.
#[test]
fn the_chats_of_the_readme_talk_in_chromium() {
    let config = Path::new(HERE).join("../rooms.toml");
    let server = Server::start(&["--config", &config.to_string_lossy()]);
    let url = format!("http://{}", server.address);
    check("page", "node", &["recipe.mjs", &url]);
}

/// Its ports are free ones, and what it installs is there already.
#[test]
fn the_tutorial_leads_to_what_it_promises_in_chromium() {
    let binary = binary().canonicalize().expect("it exists");
    let (binary, ports) = (
        binary.to_string_lossy(),
        [(); 3].map(|()| free_port().to_string()),
    );
    let mut args = vec!["tutorial.mjs", &binary];
    args.extend(ports.iter().map(String::as_str));
    check("page", "node", &args);
}

/// A copy of the template beside the repository.
#[test]
fn the_template_of_the_worker_chats_in_chromium() {
    check("page", "node", &["template.mjs", &free_port().to_string()]);
}

/// A backend in Python signs tokens with PyJWT; two users are in three tabs of the page.
#[test]
fn users_with_tokens_talk_in_three_tabs_in_chromium() {
    const SECRET: &str = "a secret of at least thirty-two bytes";
    let config = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity.toml");
    let policy = "[[rooms]]\nmatch = \"chat:*\"\nhistory.messages = 300\npresence = \"members\"\n\
                  presence_grace_s = 0\n";
    fs::write(&config, policy).expect("a file");
    let (config, token_key) = (config.to_string_lossy(), format!("hs256:{SECRET}"));
    // Each of the two has to know the other's address.
    let port = free_port();
    let origin = format!("http://127.0.0.1:{port}");
    let server = Server::start(&[
        "--allow-origin",
        &origin,
        "--config",
        &config,
        "--api-key",
        "key-of-the-session",
        "--token-key",
        &token_key,
    ]);
    let mut backend = Command::new(python());
    let backend = backend
        .arg("clients/token_backend.py")
        .current_dir(HERE)
        .env("ROOMCAST_SECRET", SECRET)
        .env("ROOMCAST_URL", format!("http://{}", server.address))
        .env("PORT", port.to_string())
        .stdout(Stdio::piped());
    let mut backend = Ended(backend.spawn().expect("the backend starts"));
    let mut address = String::new();
    let out = backend.0.stdout.take().expect("piped");
    BufReader::new(out).read_line(&mut address).expect("a line");
    let url = format!("http://{}", server.address);
    let key = "key-of-the-session";
    check("page", "node", &["identity.mjs", &url, address.trim(), key]);
}

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
