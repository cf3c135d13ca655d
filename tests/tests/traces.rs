//! Every trace holds on the core in process, on the server of this repository, and on one that you
//! name.

use std::{
    env, fs,
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use roomcast_tests::{Driver, Server, Settings, Sleep, Trace, Url};

use crate::{
    applications::{Application, users::users},
    mounted::around::Around,
    served::{Served, host_settings},
    stories::{for_servers, in_time, namespace, tell, traces},
};

fn run(trace: &Trace, mut driver: impl Driver) -> Result<(), String> {
    trace.run(&mut driver).map_err(|fault| fault.to_string())
}

fn url(address: impl Into<String>) -> Url {
    Url::new(address).unwrap_or_else(|fault| panic!("{fault}"))
}

#[test]
fn on_the_core() {
    tell(&traces(), |trace| {
        let core = || trace.settings().core();
        let trace = trace
            .check(&mut core())
            .map_err(|fault| fault.to_string())?;
        // No trace may go another way when the core forgets everything after each step.
        run(&trace, core().with_sleep(Sleep::Saved))
    });
}

/// Each trace for the core alone has a step that takes time or that no server can be told; no other
/// trace has a step that no server can be told.
#[test]
fn what_is_for_the_core_alone_has_to_be() {
    let nowhere = || url("ws://127.0.0.1:1/ws").with_api(None).with_users();
    let (hasty, patient) = (nowhere(), nowhere().with_waits());
    let shared = for_servers();
    for trace in traces() {
        let name = trace.name();
        if shared.iter().any(|other| other.name() == name) {
            assert_eq!(trace.unsupported(&patient), None, "{name} is for no server");
        } else {
            assert!(trace.unsupported(&hasty).is_some(), "{name} is for servers");
        }
    }
}

/// Runs with an application that names the users and changes nothing else.
#[test]
fn on_the_native_host_with_users() {
    on_the_native_host(1);
}

#[test]
fn on_the_native_host_with_users_and_three_threads() {
    on_the_native_host(3);
}

fn on_the_native_host(threads: usize) {
    const USERS: Application = Application {
        name: "users",
        gateway: || Box::new(users()),
        is_raw: false,
    };
    in_this_process(
        |settings| Served::start(&USERS, settings, threads),
        |served| url(served.address()).with_api(None),
    );
}

/// Runs below a path of an axum application, whose middleware names the users.
#[test]
fn on_the_service_in_axum() {
    on_the_service(1);
}

#[test]
fn on_the_service_in_axum_with_three_threads() {
    on_the_service(3);
}

fn on_the_service(threads: usize) {
    in_this_process(
        |settings| {
            let mut settings = host_settings(settings, threads);
            settings.access.api_keys = vec![Around::API_KEY.parse().expect("a key")];
            Around::start(settings)
        },
        |around| url(around.address()).with_api(Some(Around::API_KEY)),
    );
}

/// Traces with equal settings share a server, in a namespace of their own each.
fn in_this_process<S: Sync>(start: impl Fn(&Settings) -> S, reach: impl Fn(&S) -> Url + Sync) {
    let mut servers: Vec<(Settings, S)> = Vec::new();
    let traces = for_servers();
    for settings in traces.iter().map(Trace::settings) {
        if !servers.iter().any(|(known, _)| known == settings) {
            servers.push((settings.clone(), start(settings)));
        }
    }
    tell(&traces, |trace| {
        let mut servers = servers.iter();
        let server = servers.find(|(settings, _)| settings == trace.settings());
        let (_, server) = server.ok_or("no server has its settings")?;
        let start = |attempt| reach(server).with_namespace(namespace(trace, attempt));
        in_time(trace, start, |url| {
            run(trace, url.with_users().with_waits())
        })
    });
}

#[test]
fn on_the_native_server() {
    on_native(&[]);
}

/// Histories are on disk, and frames wait for the writes; no client may notice.
#[test]
fn on_the_native_server_with_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let stores = AtomicU32::new(0);
    on_native_with(|| {
        // Each server has its own.
        let number = stores.fetch_add(1, Ordering::Relaxed);
        let store = folder.path().join(number.to_string());
        vec![format!("--store={}", store.display())]
    });
}

/// Connections and namespaces are spread over threads; nobody may notice.
#[test]
fn on_the_native_server_with_two_threads() {
    on_native(&["--threads=2"]);
}

#[test]
fn on_the_native_server_with_four_threads() {
    on_native(&["--threads=4"]);
}

/// Traces without settings share a server, in a namespace of their own each.
fn on_native(flags: &[&str]) {
    on_native_with(|| flags.iter().map(|&flag| flag.into()).collect());
}

fn on_native_with(flags: impl Fn() -> Vec<String> + Sync) {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |name: &str, settings: &Settings| {
        let mut all = settings.flags();
        all.extend(flags());
        if let Some(policies) = settings.config_file() {
            let path = folder.path().join(format!("{name}.toml"));
            fs::write(&path, policies).expect("written");
            all.push(format!("--config={}", path.display()));
        }
        Server::start(&all)
    };
    let shared = start("shared", &Settings::default());
    let on = |server: &Server, trace: &Trace| {
        let url = url(server.address()).with_api(Some(Server::API_KEY));
        url.with_namespace(trace.name()).with_waits()
    };
    // It knows no users without an application.
    let mut traces = for_servers();
    traces.retain(|trace| trace.unsupported(&on(&shared, trace)).is_none());
    tell(&traces, |trace| {
        if trace.settings().is_empty() {
            run(trace, on(&shared, trace))
        } else {
            let start = |_| start(trace.name(), trace.settings());
            in_time(trace, start, |own| run(trace, on(&own, trace)))
        }
    });
}

/// `ROOMCAST_TEST_URL=ws://host:port/ws`, and `ROOMCAST_TEST_KEY` for the traces that use the HTTP
/// API. The server may be at work: each trace has a namespace of its own. It has to have the
/// default limits and to accept any namespace.
#[test]
fn on_the_server_of_your_choice() {
    let Ok(address) = env::var("ROOMCAST_TEST_URL") else {
        return;
    };
    let key = env::var("ROOMCAST_TEST_KEY").ok();
    // Idempotency keys of an earlier run may still be remembered.
    let run_id = SystemTime::now().duration_since(UNIX_EPOCH);
    let run_id = run_id.unwrap_or_default().as_millis();
    let on = |trace: &Trace| {
        let url = url(address.clone()).with_namespace(format!("{}-{run_id}", trace.name()));
        match &key {
            Some(key) => url.with_api(Some(key)),
            None => url,
        }
    };
    let mut traces = for_servers();
    traces.retain(|trace| trace.settings().is_empty() && trace.unsupported(&on(trace)).is_none());
    tell(&traces, |trace| run(trace, on(trace)));
}
