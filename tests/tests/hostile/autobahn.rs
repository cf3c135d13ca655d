//! Autobahn's fuzzing client against the whole host: an application that echoes, behind the
//! server's own sockets, HTTP and framing, plain and with TLS.
//!
//! `tests/run` installs the client, which needs Python 2.7.

use std::{collections::BTreeMap, fs, path::Path, process::Command, thread, time::Duration};

use roomcast::{Frame, Host, Router, Settings};
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::tls::pair::Pairs;

/// Cases of the client without those of compression, which the server does not offer.
const CASES: [&str; 9] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*",
];
const CASES_COUNT: usize = 301;
/// Bytes of the largest message of the cases.
const MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A case of `index.json`.
#[derive(Debug, Deserialize)]
struct Outcome {
    behavior: String,
    #[serde(rename = "behaviorClose")]
    close: String,
}

impl Outcome {
    /// True unless the client calls it a failure. `NON-STRICT` is allowed by the standard.
    fn passed(&self) -> bool {
        let passes = |word: &str| matches!(word, "OK" | "NON-STRICT" | "INFORMATIONAL");
        passes(&self.behavior) && passes(&self.close)
    }
}

fn echo() -> Router {
    Router::default().on_frame(|cx, (), frame| {
        cx.emit_frame(match frame {
            Frame::Text(text) => Frame::Text(text),
            Frame::Binary(bytes) => Frame::Binary(bytes),
        });
    })
}

/// Settings that let the largest and the most fragmented messages of the cases pass.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings.hub.message_bytes = MESSAGE_BYTES;
    settings.hub.inbound_messages = None;
    settings.hub.inbound_bytes = None;
    settings.control = None;
    settings.framing_bytes = None;
    settings.fragments_max = 1_000_000;
    settings.message_time = Duration::from_secs(300);
    settings.write_stall = Duration::from_secs(300);
    settings.outbox_bytes_max = 4 * MESSAGE_BYTES;
    settings.outbox_frames_max = 1_000_000;
    settings
}

/// Runs the client, and gives the outcome of each case.
fn fuzz(wstest: &str, url: &str) -> BTreeMap<String, Outcome> {
    let folder = tempfile::tempdir().expect("a folder");
    let reports = folder.path().join("reports");
    let spec = serde_json::json!({
        "outdir": reports.to_string_lossy(),
        "servers": [{"agent": "roomcast", "url": url}],
        "cases": CASES,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let path = folder.path().join("spec.json");
    fs::write(&path, spec.to_string()).expect("written");
    let output = Command::new(wstest)
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&path)
        .current_dir(folder.path())
        .output()
        .unwrap_or_else(|fault| panic!("{wstest}: {fault}: see tests/run"));
    // It ends with 0, however its cases ended.
    let index = fs::read_to_string(reports.join("index.json")).unwrap_or_else(|fault| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("no index.json: {fault}\n{said}")
    });
    let mut agents: BTreeMap<String, BTreeMap<String, Outcome>> =
        serde_json::from_str(&index).expect("an index");
    agents.remove("roomcast").expect("the server's cases")
}

/// Holds all cases against a server; `url` has its scheme.
fn all_cases_pass(scheme: &str, settings: Settings) {
    if std::env::var("ROOMCAST_AUTOBAHN").as_deref() == Ok("off") {
        eprintln!("SKIPPED: Autobahn's cases over {scheme}: ROOMCAST_AUTOBAHN is off");
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let wstest = here.join(".autobahn/bin/wstest").display().to_string();
    assert!(
        Path::new(&wstest).exists(),
        "{wstest} is missing: tests/run installs it, with Python 2.7; ROOMCAST_AUTOBAHN=off skips \
         these cases"
    );
    let listeners = roomcast::listen(&settings).expect("a free port");
    let address = listeners[0].local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = thread::spawn(move || {
        let host = Host::new(settings).gateway("default", |_| echo());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime
            .expect("a runtime")
            .block_on(host.run(listeners, async {
                let _ = stopped.await;
            }))
    });
    let outcomes = fuzz(&wstest, &format!("{scheme}://{address}/ws"));
    stop.send(()).expect("it runs");
    server.join().expect("no panic").expect("it ends in order");
    let failed: Vec<_> = outcomes.iter().filter(|(_, it)| !it.passed()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(outcomes.len(), CASES_COUNT);
    let strict = outcomes.values().filter(|it| it.behavior == "OK").count();
    eprintln!("Autobahn over {scheme}: {CASES_COUNT} cases, 0 failed, {strict} strictly as told");
}

#[test]
fn autobahn_finds_no_failure() {
    all_cases_pass("ws", settings());
}

#[test]
fn autobahn_finds_no_failure_over_tls() {
    let pairs = Pairs::new();
    let mut settings = settings();
    settings.tls_cert = Some(pairs.path("cert.pem").into());
    settings.tls_key = Some(pairs.path("key.pem").into());
    all_cases_pass("wss", settings);
}

#[test]
fn a_failed_case_is_no_pass() {
    let judge = |behavior: &str, close: &str| {
        let (behavior, close) = (behavior.to_owned(), close.to_owned());
        Outcome { behavior, close }.passed()
    };
    assert!(judge("OK", "OK") && judge("NON-STRICT", "INFORMATIONAL"));
    for wrong in ["FAILED", "UNCLEAN", "WRONG CODE", "UNIMPLEMENTED", ""] {
        assert!(!judge(wrong, "OK") && !judge("OK", wrong), "{wrong}");
    }
}
