//! Settings that each host has in a struct of its own.

use super::{
    setting::{
        Group::{Access, Http, Inbound, Outbound},
        Setting,
    },
    value::{DAY_MS, Number},
};

/// Default of [`api_body_bytes_max`].
pub const API_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Default of [`message_time_ms`], in milliseconds.
pub const MESSAGE_TIME_MS: u32 = 10_000;

/// Bytes of the body of an API request.
pub const fn api_body_bytes_max<T>(field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("api-body-bytes-max", 1..=1 << 30, field).help(
        Http,
        "Bytes of the body of an API request; a longer one is answered with 413",
    )
}

/// Time for a message, or the body of an API request.
pub const fn message_time_ms<T>(field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("message-time-ms", 1..=DAY_MS, field).help(
        Inbound,
        "Time from the first byte of a message, or of an API request's body, to the last",
    )
}

/// Connections of the host, or of its namespace, and the most that they may be.
pub const fn connections_max<T>(most: u64, field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("connections-max", 1..=most, field).help(
        Access,
        "Open WebSocket connections; never more than open files allow",
    )
}

/// Bytes queued for one connection, and the most that they may be.
pub const fn outbox_bytes_max<T>(most: u64, field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("outbox-bytes-max", 1..=most, field).help(
        Outbound,
        "Bytes queued for one connection before it is closed as too slow, with 4409",
    )
}
