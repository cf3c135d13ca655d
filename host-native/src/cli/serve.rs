//! `roomcast serve`.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use roomcast::{Access, Host, Rate, Reloader, Settings, StoreSync};
use roomcast_http::{ApiKey, HostRule, OnOff, OrOff, OriginRule, whole};
use tokio::{
    runtime::{self, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    config::ConfigPath,
    environment::{self, Stray},
    log::Log,
    value,
};

/// Every flag can also be set by the environment variable beside it.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on, or a port of this machine; port 0 takes any free one [default:
    /// 127.0.0.1:3000, or the port that the variable PORT names: then on all addresses, with --api-key
    /// or --insecure]
    #[arg(
        long,
        env = "ROOMCAST_LISTEN",
        value_name = "ADDR",
        value_parser = value::address
    )]
    listen: Option<SocketAddr>,
    /// I/O threads
    #[arg(
        long,
        env = "ROOMCAST_THREADS",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 1
    )]
    threads: usize,
    /// Key of the HTTP API; repeat it, or separate by commas, to change keys without a gap
    #[arg(
        long,
        env = "ROOMCAST_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        value_parser = value::entry::<ApiKey>,
        hide_env_values = true
    )]
    api_key: Vec<ApiKey>,
    /// Let programs on this machine use the HTTP API while it has no key
    #[arg(
        long,
        env = "ROOMCAST_KEYLESS_API",
        value_name = "on|off",
        default_value = "on"
    )]
    keyless_api: OnOff,
    /// Listen beyond loopback without an API key
    #[arg(long, env = "ROOMCAST_INSECURE", value_parser = value::yes_or_no)]
    insecure: bool,
    /// Origin of web pages that may connect, like https://example.com or https://*.example.com
    #[arg(
        long,
        env = "ROOMCAST_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        value_parser = value::entry::<OriginRule>
    )]
    allow_origin: Vec<OriginRule>,
    /// Host name under which a server on loopback may be asked, like chat.example; any port
    #[arg(
        long,
        env = "ROOMCAST_ALLOW_HOST",
        value_name = "HOST",
        value_delimiter = ',',
        value_parser = value::entry::<HostRule>
    )]
    allow_host: Vec<HostRule>,
    /// Serve the page at / to try the server with
    #[arg(
        long,
        env = "ROOMCAST_PAGE",
        value_name = "on|off",
        default_value = "on"
    )]
    page: OnOff,
    /// Serve /metrics
    #[arg(
        long,
        env = "ROOMCAST_METRICS",
        value_name = "on|off",
        default_value = "on"
    )]
    metrics: OnOff,
    /// The namespaces there are, separated by commas; default any
    #[arg(
        long,
        env = "ROOMCAST_NAMESPACES",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = value::entry::<String>
    )]
    namespaces: Vec<String>,
    /// A file in TOML: what rooms are like, API keys, origins; read again on SIGHUP
    #[arg(long, env = "ROOMCAST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the histories of rooms in this folder, so that they outlive the process
    #[arg(long, env = "ROOMCAST_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// When what is stored lasts through a failure of power or system: each second, or always
    #[arg(
        long,
        env = "ROOMCAST_STORE_SYNC",
        value_name = "second|always",
        default_value = "second"
    )]
    store_sync: Sync,
    /// Record every input in this folder, in new files for each start, for `roomcast replay`
    #[arg(long, env = "ROOMCAST_RECORD", value_name = "DIR")]
    record: Option<PathBuf>,
    /// Bytes of a recorded file, which is followed by another one then
    #[arg(
        long,
        env = "ROOMCAST_RECORD_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<u64>,
        default_value_t = 67_108_864
    )]
    record_bytes_max: u64,
    /// What to log: error, warn, info, debug, trace, off, or a filter like roomcast=debug,info
    #[arg(
        long,
        env = "ROOMCAST_LOG",
        value_name = "FILTER",
        value_parser = value::log_filter,
        default_value = "info"
    )]
    log: String,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Sync {
    Second,
    Always,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
    /// Messages a second from one connection, or off
    #[arg(
        long,
        env = "ROOMCAST_INBOUND_RATE",
        value_name = "N|off",
        default_value = "50"
    )]
    inbound_rate: OrOff<u32>,
    /// Messages that one connection may send at once after a rest
    #[arg(
        long,
        env = "ROOMCAST_INBOUND_BURST",
        value_name = "N",
        value_parser = whole::<u32>,
        default_value_t = 100
    )]
    inbound_burst: u32,
    /// Bytes a second from one connection, or off [default: 262144, or off with --inbound-rate off]
    #[arg(long, env = "ROOMCAST_INBOUND_BYTES_RATE", value_name = "BYTES|off")]
    inbound_bytes_rate: Option<OrOff<u32>>,
    /// Pings, pongs and closes a second from one connection, or off
    #[arg(
        long,
        env = "ROOMCAST_CONTROL_RATE",
        value_name = "N|off",
        default_value = "5"
    )]
    control_rate: OrOff<u32>,
    /// Bytes of one message
    #[arg(
        long,
        env = "ROOMCAST_MESSAGE_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 65_536
    )]
    message_bytes_max: usize,
    /// Fragments of one message
    #[arg(
        long,
        env = "ROOMCAST_FRAGMENTS_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 64
    )]
    fragments_max: usize,
    /// Time to finish a message, or the body of an API request
    #[arg(
        long,
        env = "ROOMCAST_MESSAGE_TIME_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 10_000
    )]
    message_time_ms: u64,
    /// Time for a request head
    #[arg(
        long,
        env = "ROOMCAST_HANDSHAKE_TIME_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 5_000
    )]
    handshake_time_ms: u64,
    /// Time without a request after which a connection that was kept alive ends
    #[arg(
        long,
        env = "ROOMCAST_KEEP_ALIVE_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 75_000
    )]
    keep_alive_ms: u64,
    /// Bytes of a request head
    #[arg(
        long,
        env = "ROOMCAST_HEADER_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 8_192
    )]
    header_bytes_max: usize,
    /// Headers of a request
    #[arg(
        long,
        env = "ROOMCAST_HEADERS_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 64
    )]
    headers_max: usize,
    /// Bytes queued for one connection before it is closed as too slow
    #[arg(
        long,
        env = "ROOMCAST_OUTBOX_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 1_048_576
    )]
    outbox_bytes_max: usize,
    /// Frames queued for one connection before it is closed as too slow
    #[arg(
        long,
        env = "ROOMCAST_OUTBOX_FRAMES_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 1_024
    )]
    outbox_frames_max: usize,
    /// Time in which a connection with a queue must take some of it
    #[arg(
        long,
        env = "ROOMCAST_WRITE_STALL_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 10_000
    )]
    write_stall_ms: u64,
    /// Time for a peer to answer a close
    #[arg(
        long,
        env = "ROOMCAST_CLOSE_WAIT_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 5_000
    )]
    close_wait_ms: u64,
    /// Time before a shutdown in which /readyz is 503 and everything else goes on
    #[arg(
        long,
        env = "ROOMCAST_DRAIN_DELAY_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 0
    )]
    drain_delay_ms: u64,
    /// Time over which the closes of a shutdown are spread, when there are many
    #[arg(
        long,
        env = "ROOMCAST_DRAIN_WINDOW_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 15_000
    )]
    drain_window_ms: u64,
    /// Rooms that one connection may be in
    #[arg(
        long,
        env = "ROOMCAST_ROOMS_PER_CONNECTION_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 128
    )]
    rooms_per_connection_max: usize,
    /// Bytes of a room name
    #[arg(
        long,
        env = "ROOMCAST_ROOM_NAME_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 200
    )]
    room_name_bytes_max: usize,
    /// Bytes of memory that all histories take
    #[arg(
        long,
        env = "ROOMCAST_HISTORY_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 67_108_864
    )]
    history_bytes_max: usize,
    /// Rooms without members that are remembered for their history, in each namespace
    #[arg(
        long,
        env = "ROOMCAST_HISTORY_ROOMS_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 10_000
    )]
    history_rooms_max: usize,
    /// Messages that are replayed to one join
    #[arg(
        long,
        env = "ROOMCAST_RECOVERY_MESSAGES_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 500
    )]
    recovery_messages_max: usize,
    /// Bytes of messages that are replayed to one join
    #[arg(
        long,
        env = "ROOMCAST_RECOVERY_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 524_288
    )]
    recovery_bytes_max: usize,
    /// Messages or members in one answer
    #[arg(
        long,
        env = "ROOMCAST_PAGE_ENTRIES_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 100
    )]
    page_entries_max: usize,
    /// Bytes of one answer with messages or members
    #[arg(
        long,
        env = "ROOMCAST_PAGE_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 262_144
    )]
    page_bytes_max: usize,
    /// Users of a room that are listed, and whose coming and going is told
    #[arg(
        long,
        env = "ROOMCAST_PRESENCE_LIST_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 1_000
    )]
    presence_list_max: usize,
    /// Bytes of what presence shows of a user
    #[arg(
        long,
        env = "ROOMCAST_META_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 2_048
    )]
    meta_bytes_max: usize,
    /// Silence after which a connection is pinged, or off
    #[arg(
        long,
        env = "ROOMCAST_HEARTBEAT_MS",
        value_name = "MS|off",
        default_value = "25000"
    )]
    heartbeat_ms: OrOff<u64>,
    /// Silence after the ping that closes the connection
    #[arg(
        long,
        env = "ROOMCAST_HEARTBEAT_WAIT_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 10_000
    )]
    heartbeat_wait_ms: u64,
    /// Connections; never more than open files allow
    #[arg(
        long,
        env = "ROOMCAST_CONNECTIONS_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 100_000
    )]
    connections_max: usize,
    /// Connections from one address, which of IPv6 is a network of 64 bits, or off
    #[arg(
        long,
        env = "ROOMCAST_CONNECTIONS_PER_ADDRESS_MAX",
        value_name = "N|off",
        default_value = "off"
    )]
    connections_per_address_max: OrOff<usize>,
    /// Messages refused for their rate before the connection is closed
    #[arg(
        long,
        env = "ROOMCAST_INBOUND_REFUSALS",
        value_name = "N",
        value_parser = whole::<u32>,
        default_value_t = 100
    )]
    inbound_refusals: u32,
    /// Idempotency keys remembered in each namespace
    #[arg(
        long,
        env = "ROOMCAST_IDEMPOTENCY_KEYS_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 10_000
    )]
    idempotency_keys_max: usize,
    /// Time for which an idempotency key is remembered
    #[arg(
        long,
        env = "ROOMCAST_IDEMPOTENCY_MS",
        value_name = "MS",
        value_parser = whole::<u64>,
        default_value_t = 300_000
    )]
    idempotency_ms: u64,
    /// Namespaces alive at a time
    #[arg(
        long,
        env = "ROOMCAST_NAMESPACES_MAX",
        value_name = "N",
        value_parser = whole::<usize>,
        default_value_t = 1_024
    )]
    namespaces_max: usize,
    /// Bytes of an API request's body
    #[arg(
        long,
        env = "ROOMCAST_API_BODY_BYTES_MAX",
        value_name = "BYTES",
        value_parser = whole::<usize>,
        default_value_t = 1_048_576
    )]
    api_body_bytes_max: usize,
}

impl ServeArgs {
    fn settings(self) -> Settings {
        let limits = self.limits;
        let millis = Duration::from_millis;
        let rate = |per_second, burst| Rate { per_second, burst };
        let mut settings = Settings::default();
        if let Some(listen) = self.listen {
            settings.listen = listen;
        }
        settings.threads = self.threads;
        settings.insecure = self.insecure;
        let access = &mut settings.access;
        access.api_keys = self.api_key;
        access.keyless_api = self.keyless_api.0;
        access.allow_origins = self.allow_origin;
        access.allow_hosts = self.allow_host;
        access.page = self.page.0;
        access.metrics = self.metrics.0;
        access.namespaces = Some(self.namespaces).filter(|names| !names.is_empty());
        settings.store = self.store;
        settings.store_sync = match self.store_sync {
            Sync::Second => StoreSync::Second,
            Sync::Always => StoreSync::Always,
        };
        settings.record = self.record;
        settings.record_bytes_max = self.record_bytes_max;
        settings.namespaces_max = limits.namespaces_max;
        settings.connections_max = limits.connections_max;
        settings.connections_per_address_max = limits.connections_per_address_max.0;
        let hub = &mut settings.hub;
        hub.inbound_refusals.burst = limits.inbound_refusals;
        hub.idempotency_keys = limits.idempotency_keys_max;
        hub.idempotency = millis(limits.idempotency_ms);
        hub.message_bytes = limits.message_bytes_max;
        hub.rooms_per_connection = limits.rooms_per_connection_max;
        hub.room_name_bytes = limits.room_name_bytes_max;
        hub.history_bytes = limits.history_bytes_max;
        hub.history_rooms = limits.history_rooms_max;
        hub.recovery_messages = limits.recovery_messages_max;
        hub.recovery_bytes = limits.recovery_bytes_max;
        hub.page_entries = limits.page_entries_max;
        hub.page_bytes = limits.page_bytes_max;
        hub.presence_list = limits.presence_list_max;
        hub.meta_bytes = limits.meta_bytes_max;
        hub.inbound_messages = limits
            .inbound_rate
            .0
            .map(|per_second| rate(per_second, limits.inbound_burst));
        let bytes_rate = match (limits.inbound_bytes_rate, limits.inbound_rate) {
            (Some(OrOff(rate)), _) => rate,
            (None, OrOff(None)) => None,
            (None, OrOff(Some(_))) => Some(262_144),
        };
        hub.inbound_bytes = bytes_rate.map(|per_second| rate(per_second, per_second));
        hub.heartbeat = limits.heartbeat_ms.0.map(millis);
        hub.heartbeat_wait = millis(limits.heartbeat_wait_ms);
        settings.control = limits
            .control_rate
            .0
            .map(|per_second| rate(per_second, per_second.saturating_mul(10)));
        settings.fragments_max = limits.fragments_max;
        settings.message_time = millis(limits.message_time_ms);
        settings.handshake_time = millis(limits.handshake_time_ms);
        settings.keep_alive = millis(limits.keep_alive_ms);
        settings.header_bytes_max = limits.header_bytes_max;
        settings.headers_max = limits.headers_max;
        settings.outbox_bytes_max = limits.outbox_bytes_max;
        settings.outbox_frames_max = limits.outbox_frames_max;
        settings.write_stall = millis(limits.write_stall_ms);
        settings.close_wait = millis(limits.close_wait_ms);
        settings.drain_delay = millis(limits.drain_delay_ms);
        settings.drain_window = millis(limits.drain_window_ms);
        settings.api_body_bytes_max = limits.api_body_bytes_max;
        settings
    }

    /// Serves until it is told to stop; a second such signal ends at once.
    pub(crate) fn run(mut self, hangups: Option<Hangups>) -> anyhow::Result<ExitCode> {
        let hangups = hangups.map_or_else(Hangups::begin, Ok)?;
        let port = match self.listen {
            Some(_) => None,
            None => match platform_port(std::env::var("PORT").ok().as_deref()) {
                Ok(port) => port,
                Err(fault) => {
                    say!("roomcast: {fault}");
                    return Ok(ExitCode::from(2));
                }
            },
        };
        let filter: Targets = self.log.parse()?; // checked when it was read
        let config = self.config.take().map(ConfigPath::new);
        let mut settings = self.settings();
        let flags = settings.access.clone();
        if let Some(config) = &config {
            match config.read(&flags) {
                Ok(read) => {
                    settings.policies = read.policies;
                    settings.access.api_keys = read.api_keys;
                    settings.access.allow_origins = read.allow_origins;
                }
                Err(fault) => {
                    say!("roomcast: --config: {fault}");
                    return Ok(ExitCode::from(2));
                }
            }
        }
        if let Some(port) = port {
            settings.listen = port_address(&settings, port);
        }
        if let Err(fault) = settings.check() {
            say!("roomcast: {fault}");
            return Ok(ExitCode::from(2));
        }
        let log = Log::of_process().context("cannot start the thread of the log")?;
        let lines = log.clone();
        let layer = fmt::layer()
            .with_writer(move || lines.clone())
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
        tracing_subscriber::registry()
            .with(layer)
            .with(filter)
            .init();
        let set = std::env::vars_os().filter_map(|(name, value)| {
            let value = value.to_string_lossy().into_owned();
            name.into_string().ok().map(|name| (name, value))
        });
        for Stray { name, nearest } in environment::strays(set) {
            match nearest {
                Some(nearest) => tracing::warn!("{name} is not read: {nearest} may be meant"),
                None => tracing::warn!("{name} is not read: no setting is called so"),
            }
        }
        if port.is_some() {
            say_port(&settings);
        }
        raise_descriptors();
        let served = serve(settings, &flags, config.as_ref(), log, hangups);
        log.flush();
        served
    }
}

/// Reads the variable `PORT`, by which platforms for containers say where a server is to listen.
fn platform_port(port: Option<&str>) -> Result<Option<u16>, &'static str> {
    match port {
        None | Some("") => Ok(None),
        // A sign is no digit, though `parse` takes one.
        Some(port) => match port.parse() {
            Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(number)),
            _ => Err(
                "PORT must be 0 to 65535: it is read where --listen (ROOMCAST_LISTEN) is not given",
            ),
        },
    }
}

/// Listens on the port that a platform gives. Such a platform comes from outside: all addresses, but not
/// where nobody said who may come in.
fn port_address(settings: &Settings, port: u16) -> SocketAddr {
    let guarded = settings.insecure || !settings.access.api_keys.is_empty();
    let address = if guarded {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    (address, port).into()
}

/// Says in the log where the port of a platform led.
fn say_port(settings: &Settings) {
    if settings.listen.ip().is_unspecified() {
        tracing::info!("listening on all addresses, since PORT is set and --listen is not");
    } else {
        tracing::warn!(
            "listening on loopback only, though PORT is set: with an API key (--api-key, ROOMCAST_API_KEY) \
             or --insecure it is all addresses; --listen says it outright"
        );
    }
}

fn serve(
    settings: Settings,
    flags: &Access,
    config: Option<&ConfigPath>,
    log: &Log,
    Hangups(runtime, mut hangups): Hangups,
) -> anyhow::Result<ExitCode> {
    runtime.block_on(async {
        let mut stops = Stops::new()?;
        // A file that grows to its limit is a fault of a write, and not the end.
        let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
        let listeners = roomcast::listen(&settings).with_context(|| {
            format!(
                "cannot listen on {}: choose another --listen",
                settings.listen
            )
        })?;
        let log = log.clone();
        let stop = async move {
            stops.next().await;
            // The next one is not waited for politely.
            tokio::spawn(async move {
                stops.next().await;
                tracing::warn!("stopped by a second signal");
                log.flush();
                std::process::exit(1);
            });
        };
        let mut policies = !settings.policies.is_empty();
        let host = Host::new(settings);
        let reloader = host.reloader();
        let running = host.run(listeners, stop);
        let reloads = async {
            while hangups.recv().await.is_some() {
                reload(&reloader, flags, config, &mut policies).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = running => ended?,
            () = reloads => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// A runtime, and the signals that have the file of `--config` read again. From the first of these values
/// on they do not end the process.
#[derive(Debug)]
pub(crate) struct Hangups(Runtime, Signal);

impl Hangups {
    /// Begins, when arguments are those of a server; `None` too when that cannot be done yet.
    pub(crate) fn of_server(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let first = arguments.map(OsString::into_encoded_bytes).nth(1);
        let serves = first.is_none_or(|first| first == b"serve" || first.starts_with(b"-"));
        if serves { Self::begin().ok() } else { None }
    }

    fn begin() -> std::io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let hangups = signal(SignalKind::hangup())?;
        drop(entered);
        Ok(Self(runtime, hangups))
    }
}

/// The signals that stop a server.
struct Stops([Signal; 3]);

impl Stops {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::quit())?,
        ]))
    }

    async fn next(&mut self) {
        let Self([interrupt, terminate, quit]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// Reads the file of `--config` again. `policies` says whether there are some in force.
async fn reload(
    reloader: &Reloader,
    flags: &Access,
    config: Option<&ConfigPath>,
    policies: &mut bool,
) {
    let Some(config) = config else {
        tracing::warn!("SIGHUP: there is nothing to read again, for --config is not given");
        return;
    };
    let file = config.name();
    let read = match config.read_again(flags, *policies).await {
        Ok(Some(read)) => read,
        Ok(None) => {
            tracing::warn!(
                "{file} is no regular file, and is read at the start alone; nothing was changed"
            );
            return;
        }
        Err(fault) => {
            tracing::error!("--config: {fault}; nothing was changed");
            return;
        }
    };
    let more = !read.policies.is_empty();
    match reloader.reload(read).await {
        Ok(changed) => {
            *policies = more;
            tracing::info!(%changed, "read {file} again");
        }
        Err(fault) => tracing::error!("{file} cannot be used: {fault}; nothing was changed"),
    }
}

/// As many descriptors as the system allows: the usual soft limit is for programs that use select.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(fault) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%fault, "cannot raise the limit of open files");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use clap::Parser;
    use roomcast_core::Limits;
    use roomcast_http::{Access, SettingError, Vars, limits_from_vars};

    use super::*;

    #[derive(Parser)]
    struct Bare {
        #[command(flatten)]
        serve: ServeArgs,
    }

    #[test]
    fn without_flags_the_settings_are_the_defaults() {
        let parsed = Bare::try_parse_from(["roomcast"]).expect("valid").serve;
        let defaults = Settings::default();
        assert_eq!(format!("{:?}", parsed.settings()), format!("{defaults:?}"));
    }

    /// Other hosts read the same variables without flags: each must mean the same.
    #[test]
    fn a_flag_means_what_its_variable_means() {
        type Reader<'a> = &'a dyn Fn(&'static str) -> Option<String>;
        let read = |vars: Reader<'_>| -> Result<(Limits, Access), SettingError> {
            let vars = Vars::new(vars);
            Ok((limits_from_vars(&vars)?, Access::from_vars(&vars)?))
        };
        let names = RefCell::new(Vec::new());
        read(&|name| {
            names.borrow_mut().push(name);
            None
        })
        .expect("the defaults");
        let mut compared = 0;
        for name in names.into_inner() {
            let flag = name.strip_prefix("ROOMCAST_").expect("the prefix");
            let flag = flag.to_ascii_lowercase().replace('_', "-");
            for value in ["90001", "off", "https://a.com"] {
                let set = |other| (other == name).then(|| value.to_owned());
                let arguments = ["roomcast".to_owned(), format!("--{flag}={value}")];
                let parsed = Bare::try_parse_from(arguments).ok();
                let settings = parsed.map(|parsed| parsed.serve.settings());
                let settings = settings.filter(|settings| settings.check().is_ok());
                let by_flag = settings.map(|settings| (settings.hub, settings.access));
                assert_eq!(by_flag, read(&set).ok(), "{name}={value}");
                compared += usize::from(by_flag.is_some());
            }
        }
        assert!(compared >= 14, "{compared} values were good");
    }

    #[test]
    fn a_port_of_a_platform_is_open_only_where_somebody_said_who_may_come_in() {
        assert_eq!(platform_port(None), Ok(None));
        assert_eq!(platform_port(Some("")), Ok(None));
        assert_eq!(platform_port(Some("8080")), Ok(Some(8080)));
        for bad in [
            "x",
            "70000",
            "tcp://10.0.0.1:3000",
            "-1",
            "+80",
            " 80",
            "80.5",
        ] {
            let fault = platform_port(Some(bad)).expect_err(bad);
            assert!(fault.contains("PORT") && fault.contains("--listen"));
        }
        let listens = |flags: &[&str]| {
            let arguments = ["roomcast"].iter().chain(flags);
            let parsed = Bare::try_parse_from(arguments).expect("valid").serve;
            let mut settings = parsed.settings();
            settings.listen = port_address(&settings, 8080);
            assert_eq!(settings.check(), Ok(()));
            settings.listen.to_string()
        };
        assert_eq!(listens(&[]), "127.0.0.1:8080");
        assert_eq!(listens(&["--api-key", "k"]), "0.0.0.0:8080");
        assert_eq!(listens(&["--insecure"]), "0.0.0.0:8080");
    }

    #[test]
    fn a_bad_value_names_its_flag() {
        let fault = Bare::try_parse_from(["roomcast", "--inbound-rate", "fast"])
            .err()
            .expect("not a number")
            .to_string();
        assert!(
            fault.contains("--inbound-rate") && fault.contains("off"),
            "{fault}"
        );
    }
}
