//! The table of the server's settings.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use roomcast_core::Rate;
use roomcast_http::{
    UserHeader, UserHeaderNameError,
    settings::{
        DAY_MS,
        Group::{Access, Http, Inbound, Operation, Outbound},
        Setting, api_body_bytes_max, connections_max, list, message_time_ms, outbox_bytes_max,
    },
};

use super::{OtlpError, RelayAddressError, RelayLineage, Settings, relay::check_prefix};
use crate::store::StoreSync;

type Row = Setting<Settings>;

/// Far above what any machine can hold.
const CONNECTIONS_MAX: u64 = 1 << 24;
/// Ten times this number still fits in 32 bits.
const RATE_MAX: u64 = 100_000_000;

#[rustfmt::skip] // Few lines for each setting.
pub(super) const TABLE: &[Row] = &[
    Row::text("listen", "ADDR", |it| it.listen.to_string(),
        |it, text| read_address(text).map(|address| it.listen = address))
        .help(Access, "Address to listen on, or a port of this machine; port 0 takes a free one. \
            Without it the variable PORT is read: then on all addresses, with --api-key or \
            --insecure"),
    Row::text("admin-listen", "ADDR",
        |it| it.admin_listen.map_or_else(String::new, |address| address.to_string()),
        |it, text| read_address(text).map(|address| it.admin_listen = Some(address)))
        .help(Access, "Address of a listener of its own for the HTTP API, /metrics and the page: the \
            other one is then for WebSockets, /client.js and probes alone"),
    Row::permission("admin-tls", |it| &mut it.admin_tls)
        .help(Access, "Speak TLS at --admin-listen too"),
    Row::permission("insecure", |it| &mut it.insecure)
        .help(Access, "Listen beyond loopback without an API key: anybody can send to everybody"),
    Row::text("tls-cert", "FILE", |it| shown(it.tls_cert.as_ref()),
        |it, text| read_file(text, &mut it.tls_cert))
        .help(Access, "Certificate in PEM, with its chain: the server speaks TLS"),
    Row::text("tls-key", "FILE", |it| shown(it.tls_key.as_ref()),
        |it, text| read_file(text, &mut it.tls_key))
        .help(Access, "Key of the certificate, in PEM"),
    Row::number("tls-check-ms", 1..=DAY_MS, |it| &mut it.tls_check)
        .help(Access, "Time between two looks at the files of the certificate, which may be renewed"),
    connections_max(CONNECTIONS_MAX, |it: &mut Settings| &mut it.connections_max),
    Row::number("connections-per-address-max", 1..=CONNECTIONS_MAX,
        |it| &mut it.connections_per_address_max).or_off()
        .help(Access, "WebSocket connections from one address, or one IPv6 network of 64 bits"),
    Row::number("connections-per-user-max", 1..=CONNECTIONS_MAX,
        |it| &mut it.connections_per_user_max).or_off()
        .help(Access, "WebSocket connections of one user in one namespace"),
    Row::list("trusted-proxy", "CIDR",
        |it, text| list(text).map(|list| it.proxy_trust.networks = list))
        .help(Access, "Address or network of proxies that may name a client's address, and with \
            --user-header the user: 10.0.0.7, 10.0.0.0/8"),
    Row::text("user-header", "NAME", show_user_header, read_user_header)
        .help(Access, "Header in which a trusted proxy names the user: X-Auth-Request-User"),
    Row::number("namespaces-max", 1..=1_000_000_000, |it| &mut it.namespaces_max)
        .help(Access, "Namespaces alive at one time"),
    Row::number("client-keys-max", 1..=1_000_000_000, |it| &mut it.client_keys_max)
        .help(Http, "Idempotency keys of clients that all namespaces remember together"),
    Row::number("threads", 1..=1024, |it| &mut it.threads)
        .help(Access, "I/O threads; one serves some 400,000 deliveries a second"),

    Row::number("handshake-time-ms", 1..=DAY_MS, |it| &mut it.handshake_time)
        .help(Http, "Time for the head of a request from its first byte on; past it 408"),
    Row::number("keep-alive-ms", 1..=DAY_MS, |it| &mut it.keep_alive)
        .help(Http, "Time without a request after which a connection ends; longer than that \
            of a proxy in front, which must be the one to end it"),
    // The minimum is hyper's.
    Row::number("header-bytes-max", 8192..=1 << 20, |it| &mut it.header_bytes_max)
        .help(Http, "Bytes of the head of a request; past it 431"),
    // Bounded, since memory for all of them is reserved per request.
    Row::number("headers-max", 1..=4096, |it| &mut it.headers_max)
        .help(Http, "Headers of a request; past it 431"),
    api_body_bytes_max(|it: &mut Settings| &mut it.api_body_bytes_max),

    Row::number("fragments-max", 1..=1_000_000, |it| &mut it.fragments_max)
        .help(Inbound, "Fragments of one message; more close the connection with 1008"),
    message_time_ms(|it: &mut Settings| &mut it.message_time),
    Row::computed("user-rate", 1..=RATE_MAX, |it| shown_rate(it.user_messages),
        |it, number| it.user_messages = tenfold(number)).or_off()
        .help(Inbound, "Messages per second from all connections of one user in one namespace, or \
            ten times as many at once"),
    Row::computed("user-bytes-rate", 1..=RATE_MAX, |it| shown_rate(it.user_bytes),
        |it, number| it.user_bytes = tenfold(number)).or_off()
        .help(Inbound, "Bytes read per second from all connections of one user in one namespace, \
            or ten times as many at once"),
    Row::number("users-resting-max", 0..=1_000_000_000, |it| &mut it.users_resting_max)
        .help(Inbound, "Users without a connection of whom the rest of these rates is remembered"),
    Row::computed("framing-bytes-rate", 1..=RATE_MAX, |it| shown_rate(it.framing_bytes),
        |it, number| it.framing_bytes = tenfold(number)).or_off()
        .help(Inbound, "Bytes per second from one connection that are in no message, such as \
            pings and heads of fragments, or ten times as many at once"),
    Row::computed("control-rate", 1..=RATE_MAX, |it| shown_rate(it.control),
        |it, number| it.control = tenfold(number)).or_off()
        .help(Inbound, "Pings, pongs and closes per second from one connection, or ten times as \
            many at once"),

    outbox_bytes_max(1 << 32, |it: &mut Settings| &mut it.outbox_bytes_max),
    Row::number("outbox-frames-max", 1..=1_000_000_000, |it| &mut it.outbox_frames_max)
        .help(Outbound, "Frames queued for one connection before it is closed as too slow"),
    Row::number("write-stall-ms", 1..=DAY_MS, |it| &mut it.write_stall)
        .help(Outbound, "Time in which a connection with a queue must take some of it"),
    Row::number("close-wait-ms", 0..=DAY_MS, |it| &mut it.close_wait)
        .help(Outbound, "Time for a connection to read its queue and answer a close"),
    Row::number("drain-delay-ms", 0..=DAY_MS, |it| &mut it.drain_delay)
        .help(Outbound, "Time before a shutdown in which /readyz is 503 and all else goes on"),
    Row::number("drain-window-ms", 0..=DAY_MS, |it| &mut it.drain_window)
        .help(Outbound, "Time over which the closes of a shutdown are spread, when there are many"),

    Row::text("store", "DIR", |it| shown(it.store.as_ref()),
        |it, text| read_path(text, &mut it.store))
        .help(Operation, "Folder in which histories outlive the process"),
    Row::text("store-sync", "second|always", show_sync, read_sync)
        .help(Operation, "When what is stored survives a failure of power or system: within a \
            second, or always"),
    Row::text("relay", "URL",
        |it| it.relay.as_ref().map_or_else(String::new, ToString::to_string),
        |it, text| text.parse().map(|relay| it.relay = Some(relay))
            .map_err(|fault: RelayAddressError| fault.to_string()))
        .help(Operation, "Redis or Valkey, version 7 or newer, that servers share their rooms through: \
            redis://user:password@host:6379, redis+sentinel://host:26379,host:26379/SERVICE or \
            redis+cluster://host:6379,host:6379"),
    Row::text("relay-prefix", "TEXT", |it| it.relay_prefix.clone(), read_prefix)
        .help(Operation, "Beginning of all keys and topics of the relay: servers with one prefix share \
            their rooms"),
    Row::text("relay-lineage", "replication|data", |it| it.relay_lineage.name().to_owned(),
        |it, text| RelayLineage::read(text).map(|lineage| it.relay_lineage = lineage))
        .help(Operation, "Mark by which a loss of the relay's data is noticed: its replication, another \
            one after each failover and restart; or a value in the data, for a relay with \
            appendfsync always and without a replica"),
    Row::permission("relay-asks-lineage", |it| &mut it.relay_asks_lineage)
        .help(Operation, "Read the lineage in each script, and not only every 3 s: some 7 µs of the \
            relay for each publish"),
    Row::number("relay-replicas-ack", 0..=16, |it| &mut it.relay_replicas_ack)
        .help(Operation, "Replicas of the relay that must have a message before its publish is answered"),
    Row::permission("relay-checked-by-hand", |it| &mut it.relay_checked_by_hand)
        .help(Operation, "Start although the relay hides INFO or CONFIG: it is version 7, a primary, \
            noeviction and appendfsync always; with --relay-lineage data"),
    Row::text("record", "DIR", |it| shown(it.record.as_ref()),
        |it, text| read_path(text, &mut it.record))
        .help(Operation, "Folder in which every input is recorded, for `roomcast replay`"),
    Row::number("record-bytes-max", 1..=1 << 40, |it| &mut it.record_bytes_max)
        .help(Operation, "Bytes of one recorded file; then the next one begins"),
    Row::number("slow-turn-ms", 1..=DAY_MS, |it| &mut it.slow_turn).or_off()
        .help(Operation, "Time for which an I/O thread serves nobody else, from which on the log says so"),
    Row::text("otlp-endpoint", "URL",
        |it| it.otlp.endpoint.as_ref().map_or_else(String::new, ToString::to_string),
        |it, text| read_parsed(text, |endpoint| it.otlp.endpoint = Some(endpoint)))
        .help(Operation, "Collector of OpenTelemetry that spans of calls and hooks are sent to: \
            http://127.0.0.1:4318"),
    Row::text("otlp-headers", "NAME=VALUE,..", |_| String::new(),
        |it, text| read_parsed(text, |headers| it.otlp.headers = headers))
        .help(Operation, "Header fields of requests to the collector, such as its key"),
    Row::number("otlp-sample-percent", 0..=100, |it| &mut it.otlp.sample_percent)
        .help(Operation, "Recorded traces of 100 that begin here; others are recorded as their flag says"),
];

fn shown_rate(rate: Option<Rate>) -> Option<u64> {
    let rate = rate?;
    Some(rate.per_second.min(rate.burst).into())
}

/// A rate of `number` per second, with a burst of ten times as many.
fn tenfold(number: Option<u64>) -> Option<Rate> {
    let rate = number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    rate.map(|per_second| Rate {
        per_second,
        burst: per_second.saturating_mul(10),
    })
}

fn show_user_header(settings: &Settings) -> String {
    let name = settings.proxy_trust.user_header.as_ref();
    name.map_or_else(String::new, |name| name.as_str().to_owned())
}

fn read_user_header(settings: &mut Settings, text: &str) -> Result<(), String> {
    let name: UserHeader = text
        .parse()
        .map_err(|fault: UserHeaderNameError| fault.to_string())?;
    settings.proxy_trust.user_header = Some(name);
    Ok(())
}

fn read_parsed<T: FromStr<Err = OtlpError>>(text: &str, set: impl FnOnce(T)) -> Result<(), String> {
    text.parse().map(set).map_err(|fault| fault.to_string())
}

fn shown(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}

fn read_path(text: &str, path: &mut Option<PathBuf>) -> Result<(), String> {
    if text.is_empty() {
        return Err("must be the path of a folder".to_owned());
    }
    *path = Some(text.into());
    Ok(())
}

fn read_file(text: &str, path: &mut Option<PathBuf>) -> Result<(), String> {
    if text.is_empty() {
        return Err("must be the path of a file".to_owned());
    }
    *path = Some(text.into());
    Ok(())
}

fn read_prefix(settings: &mut Settings, text: &str) -> Result<(), String> {
    check_prefix(text)?;
    text.clone_into(&mut settings.relay_prefix);
    Ok(())
}

fn show_sync(settings: &Settings) -> String {
    match settings.store_sync {
        StoreSync::Second => "second".to_owned(),
        StoreSync::Always => "always".to_owned(),
    }
}

fn read_sync(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.store_sync = match text {
        "second" => StoreSync::Second,
        "always" => StoreSync::Always,
        _ => return Err("must be one of second, always".to_owned()),
    };
    Ok(())
}

/// Parses an address to listen on. A bare port is on loopback, where nobody outside reaches it.
fn read_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| is_number(text));
    let at_home = match text.rsplit_once(':') {
        None => port(text),
        Some((host, text)) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            port(text)
        }
        Some(_) => None,
    };
    match (at_home, text.parse()) {
        (Some(port), _) => Ok((loopback, port).into()),
        (None, Ok(address)) => Ok(address),
        (None, Err(_)) => Err(
            "must be an IP address and a port, such as 127.0.0.1:3000, 0.0.0.0:3000 or [::]:3000; \
             localhost:3000, :3000 and 3000 are 127.0.0.1:3000"
                .to_owned(),
        ),
    }
}
