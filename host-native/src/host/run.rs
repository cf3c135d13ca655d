//! The server: its listeners, shards, start and shutdown.

use std::{
    future::pending,
    io, net,
    rc::Rc,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use roomcast_core::hub::Allowance;
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot, watch},
    task::spawn_local,
    time::{MissedTickBehavior, interval},
};

use super::{
    accept,
    announce::{Mounted, announce},
    descriptors, drain,
    guests::GUESTS_MAX,
    relay,
};
use crate::{
    clock::{Clock, millis, patience},
    metrics::Metrics,
    namespace::{gateways::Gateways, recorder::Recorder},
    settings::{Settings, SettingsError},
    shard::{Hosted, MailBatch, Posts, SWEEP, Shard, Switchboard},
    shared::{
        Shared,
        ask::AskGate,
        hooks::{self, HookThread, Hooks},
        meters::Meters,
        permits::{Connections, Permits},
        relay::{NodeLoad, RelayLink},
        spans::Spans,
        tokens::TokenGate,
    },
    store::{Store, StoreError},
    tls::{TlsError, TlsGate},
};

/// A server that could not start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The settings contradict each other.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The journal cannot be created.
    #[error("--record: a journal in {path} cannot be created: {fault}")]
    Record {
        /// The folder.
        path: String,
        /// The error of the system.
        fault: io::Error,
    },
    /// The gateway of a namespace cannot be created.
    #[error("the gateway of the namespace `{namespace}` could not be created: {fault}")]
    Gateway {
        /// The namespace.
        namespace: String,
        /// The error of its factory.
        fault: String,
    },
    /// The store cannot be used, or has failed. Nothing that was acknowledged is lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A namespace in the store could not start.
    #[error("the namespace `{namespace}` in the store could not start: {fault}")]
    Wake {
        /// The namespace.
        namespace: String,
        /// The reason.
        fault: String,
    },
    /// A key of an endpoint of hooks cannot be read.
    #[error("[[hooks]]: {0}")]
    Hooks(String),
    /// The backend of `[ask]` cannot be asked.
    #[error("[ask]: {0}")]
    Ask(String),
    /// The relay cannot be reached or used.
    #[error("--relay: {0}")]
    Relay(String),
    /// The admin listener cannot be bound.
    #[error("cannot listen on {address}: {fault}: choose another --admin-listen")]
    AdminListen {
        /// The address.
        address: net::SocketAddr,
        /// The error of the system.
        fault: io::Error,
    },
    /// Threads or listeners failed.
    #[error("the server cannot start")]
    Io(#[from] io::Error),
    /// A shard ended without being asked to.
    #[error("an I/O thread ended unexpectedly")]
    ShardEnded,
}

/// The phase of the server, which the shards follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}

/// Binds the listener for [`run`](crate::run()), and returns a handle for each thread, all of the
/// same socket. Port 0 takes any free one.
///
/// Threads share one socket, without `SO_REUSEPORT`: with that, the system would let a second
/// server of the same user bind the port, and each would get a part of the connections.
///
/// # Errors
///
/// When the address cannot be bound, for example because a server uses it already.
pub fn listen(settings: &Settings) -> io::Result<Vec<net::TcpListener>> {
    let listener = bind(settings.listen)?;
    let mut listeners = Vec::with_capacity(settings.threads);
    for _ in 1..settings.threads {
        listeners.push(listener.try_clone()?);
    }
    listeners.push(listener);
    Ok(listeners)
}

/// Binds the admin listener, and returns its address too.
fn bind_admin(address: net::SocketAddr) -> Result<(net::SocketAddr, net::TcpListener), RunError> {
    let bound = bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    bound.map_err(|fault| RunError::AdminListen { address, fault })
}

fn bind(address: net::SocketAddr) -> io::Result<net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    // Old connections of a previous server do not block the port, as a running server does.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(net::TcpListener::from(socket))
}

/// The callback for when connections are accepted.
pub(crate) type Serving = Box<dyn FnOnce() + Send>;

/// Serves until `shutdown`. Shards can be sent mail as soon as this is called; it waits until they
/// run.
pub(crate) fn serve(
    listeners: Vec<Option<net::TcpListener>>,
    settings: Settings,
    gateways: Gateways,
    switchboard: Arc<Switchboard>,
    serving: Option<Serving>,
    shutdown: impl Future<Output = ()>,
) -> impl Future<Output = Result<(), RunError>> {
    let (posts, mailboxes): (Vec<_>, Vec<_>) =
        listeners.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let posts = Posts::from(posts);
    let open = switchboard.open(posts.clone());
    async move {
        let _open = open;
        let shards = listeners.into_iter().zip(mailboxes).collect();
        run_shards(shards, posts, settings, gateways, serving, shutdown).await
    }
}

type Mailbox = mpsc::UnboundedReceiver<MailBatch>;

async fn run_shards(
    shards: Vec<(Option<net::TcpListener>, Mailbox)>,
    posts: Posts,
    settings: Settings,
    gateways: Gateways,
    serving: Option<Serving>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    settings.check()?;
    settings.check_mounted(gateways.mounted())?;
    if shards.is_empty() {
        return Err(io::Error::other("no listener was given").into());
    }
    let mut admin = settings.admin_listen.map(bind_admin).transpose()?;
    let admin_address = admin.as_ref().map(|(address, _)| *address);
    let relay = relay::start(&settings, &posts).await;
    let (link, relay) = relay.map_err(RunError::Relay)?;
    let shared = Arc::new(share(settings, gateways, shards.len(), link)?);
    descriptors::reserve(shared.connections.max());
    if shared.hooks.is_on() {
        shared.start_hooks()?;
    }
    let spans = shared.spans.start()?;
    let addresses = addresses(&shards)?;
    introduce(&shared, addresses.first().copied());
    let (stop, phase) = watch::channel(Phase::Starting);
    let (ready, mut is_ready) = mpsc::unbounded_channel();
    let mut ends = Vec::new();
    for (index, (listener, mailbox)) in shards.into_iter().enumerate() {
        let (end, ended) = oneshot::channel();
        let (shared, posts) = (shared.clone(), posts.clone());
        let (phase, ready) = (phase.clone(), ready.clone());
        let listeners = Listeners {
            public: listener,
            admin: admin.take().map(|(_, listener)| listener),
        };
        thread::Builder::new()
            .name(format!("roomcast-{index}"))
            .spawn(move || {
                let _ = end.send(shard_thread(
                    index, shared, posts, listeners, mailbox, phase, ready,
                ));
            })?;
        ends.push(ended);
    }
    drop(ready);
    // No thread accepts before all are ready: a rush of clients must not take the descriptors that
    // a later thread needs to start.
    let (mut started, mut mounted) = (0, Vec::new());
    while let Some(more) = is_ready.recv().await {
        started += 1;
        mounted.extend(more);
    }
    if started == posts.len() {
        announce(&shared, &addresses, admin_address, mounted);
        stop.send_replace(Phase::Serving);
        if let Some(serving) = serving {
            serving();
        }
    } // else a thread has failed, and its result has the reason
    let stopping = async {
        shutdown.await;
        tracing::info!("shutting down");
        delay(&shared).await;
        shared.draining.send_replace(true);
        stop.send_replace(Phase::Stopping);
    };
    let ended = wait_for(ends, stopping).await;
    shared.ask.set(None);
    relay.finish().await;
    shared.hook_thread.finish().await;
    spans.finish().await;
    ended?;
    shared.flush_record();
    if let Some(store) = &shared.store {
        store.close()?;
    }
    tracing::info!("shut down");
    Ok(())
}

/// Gives the relay the figures of this server to report to other nodes.
fn introduce(shared: &Arc<Shared>, listen: Option<net::SocketAddr>) {
    if let Some(link) = &shared.relay {
        // A weak reference: the server owns the link, and not the other way round.
        let shared = Arc::downgrade(shared);
        link.set_load(move || {
            let shared = shared.upgrade();
            NodeLoad {
                listen,
                connections: shared.as_ref().map_or(0, |it| it.connections.taken()),
                is_draining: shared.is_some_and(|it| it.ending.load(Relaxed)),
            }
        });
    }
}

/// The addresses of the shards' listeners.
fn addresses(shards: &[(Option<net::TcpListener>, Mailbox)]) -> io::Result<Vec<net::SocketAddr>> {
    let listeners = shards.iter().filter_map(|(listener, _)| listener.as_ref());
    let addresses = listeners.map(net::TcpListener::local_addr);
    addresses.collect()
}

/// Creates the state that all threads share: opens the store, and starts the journal.
fn share(
    settings: Settings,
    gateways: Gateways,
    threads: usize,
    relay: Option<Arc<RelayLink>>,
) -> Result<Shared, RunError> {
    let store = match &settings.store {
        Some(folder) => Some(Store::open(folder, settings.store_sync)?),
        None => None,
    };
    let stored = store.as_ref().map(Store::namespaces).transpose()?;
    let stored = stored.unwrap_or_default();
    settings.check_stored(stored.len())?;
    let tls = TlsGate::open(&settings)?.map(Arc::new);
    // The descriptors of the listener, its connections, and one that waits.
    let admin = settings.admin_listen.map_or(0, |_| 2 + GUESTS_MAX);
    let own = descriptors::of_its_own(threads) + admin;
    // Stored times must be valid after a restart.
    let clock = Clock::start(store.is_some());
    let records = settings.record.is_some();
    let tokens = TokenGate::new(&settings.access.tokens, clock, records);
    let tokens = tokens.map_err(SettingsError::from)?;
    let hooks = Hooks::open(&settings, clock).map_err(|fault| match fault {
        hooks::OpenError::Key(fault) => RunError::Hooks(fault),
        hooks::OpenError::Store(fault) => fault.into(),
    })?;
    let spans = Spans::new(&settings.otlp);
    let ask = AskGate::open(settings.ask.as_ref(), clock, &spans);
    let ask = ask.map_err(|fault| RunError::Ask(fault.to_string()))?;
    Ok(Shared {
        clock,
        hooks: Arc::new(hooks),
        hook_thread: HookThread::default(),
        ask,
        spans,
        metrics: (0..threads)
            .map(|_| Metrics::new(settings.slow_turn))
            .collect(),
        recorder: record(&settings, clock)?,
        connections: Connections::new(
            descriptors::connections_max(settings.connections_max, own),
            (
                settings.connections_per_address_max,
                settings.connections_per_user_max,
            ),
            Meters::new(
                Allowance::new(
                    settings.user_messages,
                    settings.user_bytes,
                    settings.hub.inbound_refusals,
                ),
                settings.users_resting_max,
            ),
            descriptors::all_max(own),
            clock,
        ),
        namespaces: Permits::new(settings.namespaces_max),
        history_bytes: AtomicUsize::new(0),
        client_keys: AtomicUsize::new(0),
        access: RwLock::new(Arc::new(settings.access.clone())),
        tokens,
        tls,
        accepted: AtomicUsize::new(0),
        ending: AtomicBool::new(false),
        draining: watch::Sender::new(false),
        // Trusted networks in the settings mean that there is a proxy.
        proxied: AtomicBool::new(!settings.proxy_trust.networks.is_empty()),
        notices: Mutex::default(),
        first_serial: getrandom::u32().unwrap_or_default().into(),
        store,
        relay,
        stored,
        settings,
        gateways,
    })
}

/// Waits until all threads have ended. An end before `stopping` is done is an error.
async fn wait_for(
    ends: Vec<oneshot::Receiver<Result<(), RunError>>>,
    stopping: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let ended = futures_util::future::select_all(ends);
    tokio::pin!(ended);
    let (first, rest) = tokio::select! {
        () = stopping => {
            let (first, _, rest) = ended.await;
            (first, Some(rest))
        }
        (first, ..) = &mut ended => (first, None),
    };
    first.map_err(|_| RunError::ShardEnded)??;
    for end in rest.ok_or(RunError::ShardEnded)? {
        end.await.map_err(|_| RunError::ShardEnded)??;
    }
    Ok(())
}

fn record(settings: &Settings, clock: Clock) -> Result<Option<Arc<Recorder>>, RunError> {
    let Some(folder) = &settings.record else {
        return Ok(None);
    };
    let recorder = Recorder::create(folder, settings.record_bytes_max, clock);
    let recorder = recorder.map_err(|fault| RunError::Record {
        path: folder.display().to_string(),
        fault,
    });
    recorder.map(|recorder| Some(Arc::new(recorder)))
}

/// Announces the shutdown, and gives health checks the time to notice it.
async fn delay(shared: &Shared) {
    shared.ending.store(true, Relaxed);
    let delay = shared.settings.drain_delay;
    if !delay.is_zero() {
        let delay_ms = millis(delay);
        tracing::info!(delay_ms, "/readyz is 503; connections are served meanwhile");
        tokio::time::sleep(delay).await;
    }
}

/// The listeners of a shard; only the first shard has the admin listener. Without a public one,
/// connections come from the server of another program.
struct Listeners {
    public: Option<net::TcpListener>,
    admin: Option<net::TcpListener>,
}

fn shard_thread(
    index: usize,
    shared: Arc<Shared>,
    posts: Posts,
    listeners: Listeners,
    mailbox: Mailbox,
    mut phase: watch::Receiver<Phase>,
    ready: mpsc::UnboundedSender<Vec<Mounted>>,
) -> Result<(), RunError> {
    let (waking, waiting) = (shared.clone(), shared.clone());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_unpark(move || waking.metrics[index].wakes())
        .on_thread_park(move || waiting.metrics[index].waits())
        .build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let public = listeners.public.map(tokio::net::TcpListener::from_std);
        let public = public.transpose()?;
        let admin = listeners.admin.map(tokio::net::TcpListener::from_std);
        let admin = admin.transpose()?;
        let shard = Shard::new(index, shared, posts);
        spawn_local(shard.clone().end_turns());
        spawn_local(shard.newcomers.clone().call());
        spawn_local(shard.clone().read_mail(mailbox));
        spawn_local(sweeps(shard.clone()));
        spawn_local(shard.clone().keep_schedules());
        if index == 0 {
            spawn_local(keep_tokens_fresh(shard.shared.clone()));
            if let Some(tls) = shard.shared.tls.clone() {
                spawn_local(tls.keep_fresh());
            }
        }
        let mounted = shard.open_namespaces(shard.shared.gateways.mounted());
        let mounted = mounted.map_err(|(namespace, fault)| {
            let fault = fault.to_string();
            RunError::Gateway { namespace, fault }
        })?;
        let events = |namespace: &Rc<Hosted>| (namespace.name.clone(), namespace.events());
        let mounted = mounted.iter().map(events).collect();
        let woken = shard.open_namespaces(shard.shared.stored.iter());
        woken.map_err(|(namespace, fault)| {
            let fault = fault.to_string();
            RunError::Wake { namespace, fault }
        })?;
        let _ = ready.send(mounted);
        drop(ready);
        // An error means that the server is gone: this thread then ends too.
        let _ = phase.wait_for(|phase| *phase != Phase::Starting).await;
        if let Some(admin) = admin {
            let shard = shard.clone();
            spawn_local(async move { accept::accept_admin(&shard, admin).await });
        }
        let accepting = async {
            match public {
                Some(listener) => accept::accept(&shard, listener).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopping) => {}
            fault = shard.egress.store_failure() => return Err(fault.into()),
        }
        tokio::select! {
            () = drain::drain(&shard) => {}
            fault = shard.egress.store_failure() => return Err(fault.into()),
        }
        shard.egress.commit();
        shard.egress.send_relayed();
        Ok(())
    })
}

async fn keep_tokens_fresh(shared: Arc<Shared>) {
    shared.tokens.keep_fresh().await;
}

async fn sweeps(shard: Rc<Shard>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        patience::turn().await;
        shard.sweep();
    }
}
