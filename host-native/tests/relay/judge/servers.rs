//! Servers, each behind a proxy of its own on the way to the relay, and the relay with its replica.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{check::Promise, proxy::Proxy, world::World};
use crate::relay::{PATIENCE, cluster::Redis, node::Node};

pub(super) const NODES: usize = 3;

/// Histories with room for all messages of a run: a missing one was lost.
const CONFIG: &str = r#"
[[rooms]]
match = "log-*"
history.messages = 100000
history.bytes = 1073741824
history.age_s = 3600
presence = "members"
"#;
/// Each write is on the disk before its answer.
const DISK: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The kind of a relay, and what servers make of its losses.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) promise: Promise,
    /// The setting `relay_lineage`.
    pub(super) lineage: String,
    /// The folder of the servers' logs; they go with the output of the test where there is none.
    pub(super) logs: Option<PathBuf>,
}

/// The servers. Each part is locked while something is done to it.
pub(super) struct Servers {
    kind: Kind,
    world: Arc<World>,
    pub(super) proxies: Vec<Proxy>,
    nodes: Vec<Mutex<Option<Node>>>,
    /// The relay, and a replica of it unless each write is on the disk.
    redis: Vec<Mutex<Redis>>,
    primary: AtomicUsize,
}

impl Servers {
    pub(super) async fn start(kind: Kind, world: &Arc<World>) -> Self {
        let flags: &[&str] = if kind.promise == Promise::Whole {
            &DISK
        } else {
            &[]
        };
        let count = if kind.promise == Promise::Whole { 1 } else { 2 };
        let redis: Vec<_> = (0..count).map(|_| Redis::start(flags)).collect();
        if let [primary, replica] = &redis[..] {
            // The first replica of a primary is another lineage: it is there before the servers.
            replica.follow(primary);
        }
        let mut proxies = Vec::new();
        for _ in 0..NODES {
            proxies.push(Proxy::start(redis[0].port()).await);
        }
        Self {
            kind,
            world: world.clone(),
            proxies,
            nodes: (0..NODES).map(|_| Mutex::default()).collect(),
            redis: redis.into_iter().map(Mutex::new).collect(),
            primary: AtomicUsize::new(0),
        }
    }

    pub(super) fn start_nodes(&self) {
        for node in 0..NODES {
            self.start_node(node);
        }
    }

    /// Starts a server, as often as it takes: one that does not reach the relay ends.
    pub(super) fn start_node(&self, node: usize) {
        let began = Instant::now();
        let started = loop {
            if let Some(started) = self.try_start_node(node) {
                break started;
            }
            assert!(began.elapsed() < PATIENCE, "server {node} does not start");
        };
        self.world
            .set_address(node, Some(started.address().to_owned()));
        *self.nodes[node].lock().expect("no panic") = Some(started);
    }

    fn try_start_node(&self, node: usize) -> Option<Node> {
        let lineage = ["--relay-lineage", &*self.kind.lineage];
        let users = ["--trusted-proxy", "127.0.0.1", "--user-header", "X-User"];
        let flags = [&lineage[..], &users].concat();
        let mut log = self.log(&format!("server-{node}"));
        let write = move |line: &str| match &mut log {
            Some(log) => drop(writeln!(log, "{line}")), // a log may be lost
            None => eprintln!("server {node}: {line}"),
        };
        Node::try_start(&self.proxies[node].url(), CONFIG, &flags, write)
    }

    /// Writes a line to the log of what happened to the servers.
    pub(super) fn note(&self, line: &str) {
        match self.log("faults") {
            Some(mut log) => drop(writeln!(log, "{line}")), // a log may be lost
            None => eprintln!("{line}"),
        }
    }

    fn log(&self, name: &str) -> Option<File> {
        let folder = self.kind.logs.as_ref()?;
        std::fs::create_dir_all(folder).expect("a folder for logs");
        let path = folder.join(format!("{name}.log"));
        Some(
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .expect("a log"),
        )
    }

    /// Ends a server without a word.
    pub(super) fn kill_node(&self, node: usize) {
        let killed = self.nodes[node].lock().expect("no panic").take();
        if let Some(killed) = killed {
            killed.kill();
        }
        self.world.set_address(node, None);
    }

    pub(super) fn signal_node(&self, node: usize, signal: Signal) {
        if let Some(node) = &*self.nodes[node].lock().expect("no panic") {
            node.signal(signal);
        }
    }

    pub(super) fn is_ready(&self, node: usize) -> bool {
        let node = self.nodes[node].lock().expect("no panic");
        node.as_ref().is_some_and(Node::is_ready)
    }

    pub(super) fn is_any_ready(&self) -> bool {
        (0..NODES).any(|node| self.is_ready(node))
    }

    /// Runs a function on the current relay.
    pub(super) fn with_relay<T>(&self, act: impl FnOnce(&mut Redis) -> T) -> T {
        let primary = self.primary.load(SeqCst);
        act(&mut self.redis[primary].lock().expect("no panic"))
    }

    /// Waits until the replica has all that the relay has at this moment.
    pub(super) fn wait_for_replica(&self) {
        let primary = self.primary.load(SeqCst);
        let replica = self.redis[1 - primary].lock().expect("no panic");
        replica.wait_for_all_of(&self.redis[primary].lock().expect("no panic"));
    }

    /// Promotes the replica, which lacks everything published since the start of `meanwhile`. The
    /// old primary dies, or continues as a replica. Servers move one by one, and never write to two
    /// primaries.
    pub(super) fn promote(&self, dies: bool, meanwhile: impl FnOnce(), moves: impl Fn()) {
        let old = self.primary.load(SeqCst);
        let new = 1 - old;
        let mut old_redis = self.redis[old].lock().expect("no panic");
        let new_redis = self.redis[new].lock().expect("no panic");
        new_redis.promote();
        meanwhile();
        if dies {
            old_redis.kill();
        } else {
            old_redis.follow(&new_redis);
        }
        self.primary.store(new, SeqCst);
        for proxy in &self.proxies {
            proxy.lead_to(new_redis.port());
            moves();
        }
        if dies {
            old_redis.start_again();
            old_redis.follow(&new_redis);
        }
    }

    /// Makes the relay a replica of its own replica, which lacks the messages published in
    /// `meanwhile`, and after `then` a primary again. Its process runs throughout.
    pub(super) fn go_there_and_back(&self, meanwhile: impl FnOnce(), then: impl FnOnce()) {
        let old = self.primary.load(SeqCst);
        let old_redis = self.redis[old].lock().expect("no panic");
        let new_redis = self.redis[1 - old].lock().expect("no panic");
        new_redis.promote();
        meanwhile();
        old_redis.follow(&new_redis);
        then();
        old_redis.promote();
        new_redis.follow(&old_redis);
    }

    /// Kills the relay, and starts it with what is on its disk.
    pub(super) fn kill_relay(&self, pause: Duration) {
        self.with_relay(|redis| {
            redis.kill();
            thread::sleep(pause);
            redis.start_again();
        });
    }

    /// Undoes all lasting faults, and waits until all servers are ready.
    pub(super) fn heal(&self) {
        for proxy in &self.proxies {
            proxy.heal();
        }
        for node in 0..NODES {
            self.signal_node(node, Signal::CONT);
            if self.nodes[node].lock().expect("no panic").is_none() {
                self.start_node(node);
            }
        }
        let began = Instant::now();
        while !(0..NODES).all(|node| self.is_ready(node)) {
            assert!(began.elapsed() < PATIENCE, "a server is not ready again");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
