//! Many clients of three servers under all kinds of faults, and a judge of everything they saw.
//!
//! A client is a member of one room throughout: it reconnects to any server from its last position.
//! Some publish, each message under a key, until it is acknowledged. The histories of all clients
//! are judged together: see [`check`].
//!
//! The judge is tested too: if servers ignore the lineage of the relay's data, or assume a wrong
//! one, it must find the losses.

mod chaos;
mod check;
mod client;
mod history;
mod proxy;
mod random;
mod servers;
mod tests;
mod world;

use std::{
    env,
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use self::{
    chaos::Chaos,
    check::{Promise, Verdict, judge},
    client::Client,
    servers::{Kind, Servers},
    world::{Phase, Plan, World},
};

/// The time within which all members get the last messages, and see who is present, after the last
/// fault. Servers report presence to the relay once a minute.
const END: Duration = Duration::from_secs(90);

/// Runs clients while a story happens to the servers, and judges what they saw.
async fn run(
    plan: Plan,
    kind: Kind,
    end: Duration,
    story: impl FnOnce(&Servers, &World) + Send + 'static,
) -> Verdict {
    let promise = kind.promise;
    let world = Arc::new(World::new(plan));
    let servers = Servers::start(kind, &world).await;
    let clients = (0..plan.clients).map(|number| tokio::spawn(Client::new(number, &world).live()));
    let clients: Vec<_> = clients.collect();
    let shared = world.clone();
    let servers = tokio::task::spawn_blocking(move || {
        servers.start_nodes();
        shared.wait_until("clients do not join", || shared.has_begun());
        story(&servers, &shared);
        servers.heal();
        shared.phase.send_replace(Phase::Ending);
        let began = Instant::now();
        while shared.done.load(SeqCst) < plan.clients && began.elapsed() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        shared.phase.send_replace(Phase::Over);
        servers
    });
    let servers = servers.await.expect("no panic");
    let mut histories = Vec::new();
    for client in clients {
        histories.push(client.await.expect("no panic"));
    }
    drop(servers);
    let verdict = judge(&histories, promise);
    eprintln!(
        "connects       {:>8}\n{verdict}",
        world.connects.load(SeqCst)
    );
    verdict
}

/// A run of some seconds.
const fn short(seed: u64) -> Plan {
    Plan {
        seed,
        clients: 45,
        publishers: 15,
        logs: 4,
        plains: 1,
        pause_ms: (50, 250),
    }
}

fn kind(promise: Promise, lineage: &str) -> Kind {
    let lineage = lineage.to_owned();
    Kind {
        promise,
        lineage,
        logs: None,
    }
}

/// Publishes go on until each room has so many more that were acknowledged.
fn wait_for_acks(world: &World, more: u64) {
    let before = world.all_acked();
    world.wait_until("publishes are not acknowledged", || {
        let now = world.all_acked();
        now.iter()
            .zip(&before)
            .all(|(now, before)| *now >= before + more)
    });
}

/// A replica is promoted that lacks ten messages of each room, or more.
fn promote_a_stale_replica(servers: &Servers, world: &World) {
    wait_for_acks(world, 10);
    servers.wait_for_replica();
    let before = world.all_acked();
    servers.promote(true, || wait_for_acks(world, 10), || {});
    let lost = most_more(world, &before);
    // Offsets pass those that were given out before.
    wait_for_acks(world, lost + 10);
}

/// The primary becomes a replica of its stale replica, and a primary again.
fn go_there_and_back(servers: &Servers, world: &World) {
    wait_for_acks(world, 10);
    servers.wait_for_replica();
    let before = world.all_acked();
    // Heartbeats are writes: each server is told that it is a replica.
    let all_know = || world.wait_until("a server is still ready", || !servers.is_any_ready());
    servers.go_there_and_back(|| wait_for_acks(world, 10), all_know);
    let lost = most_more(world, &before);
    wait_for_acks(world, lost + 10);
}

fn most_more(world: &World, before: &[u64]) -> u64 {
    let more = world.all_acked();
    let more = more.iter().zip(before).map(|(now, before)| now - before);
    more.max().unwrap_or_default()
}

async fn judge_story(lineage: &str, story: fn(&Servers, &World)) -> Verdict {
    let plan = Plan {
        plains: 0,
        ..short(1)
    };
    let kind = kind(Promise::Told, lineage);
    // A run that hides losses need not reach its end.
    let end = if lineage == "replication" {
        END
    } else {
        Duration::from_secs(3)
    };
    run(plan, kind, end, story).await
}

/// True if the judge found unreported losses.
fn is_found(verdict: &Verdict) -> bool {
    let found = &verdict.violations;
    found.contains_key("unseen") || found.contains_key("missing") || found.contains_key("conflict")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_of_a_stale_replica_are_told() {
    let verdict = judge_story("replication", promote_a_stale_replica).await;
    assert!(verdict.is_clean() && verdict.gaps > 0, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_of_a_failover_there_and_back_are_told() {
    let verdict = judge_story("replication", go_there_and_back).await;
    assert!(verdict.is_clean() && verdict.gaps > 0, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_finds_what_servers_without_the_lineage_lose() {
    let verdict = judge_story("off", promote_a_stale_replica).await;
    assert!(is_found(&verdict), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_finds_what_servers_with_the_run_id_lose() {
    let verdict = judge_story("run_id", go_there_and_back).await;
    assert!(is_found(&verdict), "{verdict}");
}

/// Has all faults at one time.
async fn rage(plan: Plan, kind: Kind, length: Duration) -> Verdict {
    let promise = kind.promise;
    let story = move |servers: &Servers, world: &World| {
        let chaos = Chaos::new(&world.random, length);
        chaos.rage(servers, promise);
        eprintln!("faults\n{chaos}");
    };
    run(plan, kind, END, story).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_without_a_word_while_everything_fails() {
    let kind = kind(Promise::Told, "replication");
    let verdict = rage(short(1), kind, Duration::from_secs(25)).await;
    assert!(verdict.is_clean(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_where_each_write_is_on_the_disk() {
    let plan = Plan {
        plains: 0,
        ..short(1)
    };
    let verdict = rage(plan, kind(Promise::Whole, "data"), Duration::from_secs(15)).await;
    assert!(verdict.is_clean(), "{verdict}");
}

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    match env::var(name).ok().filter(|text| !text.is_empty()) {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text}")),
        None => default,
    }
}

/// The long run: `tests/failover` begins it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn long() {
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    let seed = variable("ROOMCAST_FAILOVER_SEED", now);
    let length = Duration::from_secs(variable("ROOMCAST_FAILOVER_SECONDS", 300));
    let clients = variable("ROOMCAST_FAILOVER_CLIENTS", 300);
    let promise = match &*variable("ROOMCAST_FAILOVER_MODE", "replica".to_owned()) {
        "replica" => Promise::Told,
        "disk" => Promise::Whole,
        other => panic!("ROOMCAST_FAILOVER_MODE is {other}: replica or disk"),
    };
    let (lineage, plains) = match promise {
        Promise::Told => ("replication", 2),
        Promise::Whole => ("data", 0),
    };
    let lineage = variable("ROOMCAST_FAILOVER_LINEAGE", lineage.to_owned());
    let logs = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("failover-{seed}"));
    eprintln!("seed {seed}, {clients} clients, {length:?}, lineage {lineage}; logs in {logs:?}");
    let plan = Plan {
        seed,
        clients,
        publishers: clients / 5,
        logs: 10,
        plains,
        pause_ms: (200, 800),
    };
    let logs = Some(logs);
    let verdict = rage(
        plan,
        Kind {
            promise,
            lineage,
            logs,
        },
        length,
    )
    .await;
    assert!(verdict.is_clean(), "seed {seed}");
}
