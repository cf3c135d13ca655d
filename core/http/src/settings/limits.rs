//! The settings of [`Limits`], and shared settings that each host has in its own struct.

use alloc::format;

use roomcast_core::{Limits, Rate};

use super::{
    setting::{
        Group::{Access, Heartbeat, Http, Inbound, Outbound, Rooms},
        Setting, SettingError, check_ranges,
    },
    value::{DAY_MS, Number},
};

type Limit = Setting<Limits>;

/// Upper bound of rates and bursts.
const RATE_MAX: u64 = 1_000_000_000;
/// Upper bound of rates in bytes.
const BYTES_RATE_MAX: u64 = 4_000_000_000;

/// Settings of [`Limits`], which every host has.
///
/// Upper bounds are far above sensible values: they catch typing errors.
#[rustfmt::skip] // Few lines for each setting.
pub const LIMITS: &[Limit] = &[
    Limit::number("auth-time-ms", 1..=DAY_MS, |it| &mut it.auth_timeout)
        .help(Access, "Time for a client that connected without a token to send $auth; past it 4401"),
    Limit::number("expiry-notice-ms", 0..=DAY_MS, |it| &mut it.expiry_notice)
        .help(Access, "Time before the end of a token at which $expiring asks for another"),
    Limit::number("token-grace-ms", 0..=DAY_MS, |it| &mut it.expiry_grace)
        .help(Access, "Time that a connection has to renew a token that has expired; past it 4401"),
    Limit::number("admission-time-ms", 1..=DAY_MS, |it| &mut it.admission_timeout)
        .help(Access, "Time for an application's on_upgrade, on_connect or guard that waits; past it 1013"),
    Limit::number("withdrawn-users-max", 1..=1_000_000, |it| &mut it.withdrawn_users)
        .help(Access, "Withdrawn users remembered in each namespace; past it the earliest time is for all"),

    Limit::number("idempotency-keys-max", 0..=1_000_000_000, |it| &mut it.idempotency_keys)
        .help(Http, "Idempotency keys remembered in each namespace; the oldest go first"),
    Limit::number("idempotency-keys-per-client-max", 0..=10_000, |it| &mut it.idempotency_keys_per_client)
        .help(Http, "Keys remembered of one user, or of one connection without a user"),
    Limit::number("idempotency-ms", 0..=30 * DAY_MS, |it| &mut it.idempotency)
        .help(Http, "Time for which an idempotency key is remembered: longer than any sane retry"),

    Limit::number("message-bytes-max", 1..=1 << 30, |it| &mut it.message_bytes)
        .help(Inbound, "Bytes of one message; a longer one closes the connection with 1009"),
    Limit::computed("inbound-rate", 1..=RATE_MAX,
        |it| Some(it.inbound_messages?.per_second.into()), set_inbound_rate).or_off()
        .help(Inbound, "Messages per second from one connection; more are refused: rate_limited"),
    Limit::computed("inbound-burst", 1..=RATE_MAX,
        |it| Some(it.inbound_messages?.burst.into()), set_inbound_burst)
        .help(Inbound, "Messages that one connection may send at once after a rest"),
    // Must come after the rate of messages, which switches it off.
    Limit::computed("inbound-bytes-rate", 1..=BYTES_RATE_MAX,
        |it| Some(it.inbound_bytes?.per_second.into()), set_bytes_rate).or_off()
        .help(Inbound, "Bytes per second from one connection; off with --inbound-rate off"),
    Limit::number("inbound-refusals", 0..=RATE_MAX, |it| &mut it.inbound_refusals.burst)
        .help(Inbound, "Refusals for the rate before a connection is closed with 4429"),

    Limit::number("rooms-per-connection-max", 1..=1_000_000, |it| &mut it.rooms_per_connection)
        .help(Rooms, "Rooms of one connection; bounds what a disconnect costs everybody"),
    Limit::number("room-name-bytes-max", 1..=65_536, |it| &mut it.room_name_bytes)
        .help(Rooms, "Bytes of a room name"),
    Limit::number("history-bytes-max", 1..=1 << 40, |it| &mut it.history_bytes)
        .help(Rooms, "Bytes of memory of all histories; silent rooms lose theirs first"),
    Limit::number("history-rooms-max", 1..=1_000_000_000, |it| &mut it.history_rooms)
        .help(Rooms, "Rooms without members that a namespace remembers for their history"),
    Limit::number("recovery-messages-max", 1..=1_000_000, |it| &mut it.recovery_messages)
        .help(Rooms, "Messages replayed to one join; when it missed more, none are"),
    Limit::number("recovery-bytes-max", 1..=1 << 30, |it| &mut it.recovery_bytes)
        .help(Rooms, "Bytes of messages replayed to one join; when it missed more, none are"),
    Limit::number("page-entries-max", 1..=1_000_000, |it| &mut it.page_entries)
        .help(Rooms, "Messages or members in one answer to $history or $members"),
    Limit::number("page-bytes-max", 1..=1 << 30, |it| &mut it.page_bytes)
        .help(Rooms, "Bytes of one answer to $history or $members"),
    Limit::number("presence-list-max", 1..=1_000_000, |it| &mut it.presence_list)
        .help(Rooms, "Users of a room that are listed, and whose coming and going is told"),
    Limit::number("meta-bytes-max", 1..=1 << 30, |it| &mut it.meta_bytes)
        .help(Rooms, "Bytes of JSON that presence shows of a user"),

    Limit::number("heartbeat-ms", 1..=DAY_MS, |it| &mut it.heartbeat).or_off()
        .help(Heartbeat, "Silence after which a connection is pinged; below the 30 s of proxies"),
    Limit::number("heartbeat-wait-ms", 1..=DAY_MS, |it| &mut it.heartbeat_wait)
        .help(Heartbeat, "Further silence after which it is closed with 4408"),
];

fn set_inbound_rate(limits: &mut Limits, number: Option<u64>) {
    let rate = limits.inbound_messages;
    let rate = rate.unwrap_or(Limits::INBOUND_MESSAGES);
    limits.inbound_messages = number
        .map(to_u32)
        .map(|per_second| Rate { per_second, ..rate });
    if number.is_none() {
        limits.inbound_bytes = None;
    }
}

fn set_inbound_burst(limits: &mut Limits, number: Option<u64>) {
    if let (Some(rate), Some(number)) = (&mut limits.inbound_messages, number) {
        rate.burst = to_u32(number);
    }
}

fn set_bytes_rate(limits: &mut Limits, number: Option<u64>) {
    limits.inbound_bytes = number.map(to_u32).map(|per_second| Rate {
        per_second,
        burst: per_second,
    });
}

/// A number that its range keeps within the type.
fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Checks each limit, and the relations between them.
///
/// # Errors
///
/// The first that must change.
pub fn check_limits(limits: &Limits) -> Result<(), SettingError> {
    check_ranges(LIMITS, limits)?;
    // Otherwise a single allowed message could never be received.
    match limits.inbound_bytes {
        Some(rate) if (rate.burst as usize) < limits.message_bytes => Err(SettingError::new(
            "inbound-bytes-rate",
            format!(
                "must be {} to {BYTES_RATE_MAX}, at least what one message may have, or off",
                limits.message_bytes
            ),
        )),
        _ => Ok(()),
    }
}

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

/// The number of connections of the host, or of its namespace; `most` is the upper bound.
pub const fn connections_max<T>(most: u64, field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("connections-max", 1..=most, field).help(
        Access,
        "Open WebSocket connections; never more than open files allow",
    )
}

/// The bytes queued for one connection; `most` is the upper bound.
pub const fn outbox_bytes_max<T>(most: u64, field: fn(&mut T) -> &mut dyn Number) -> Setting<T> {
    Setting::number("outbox-bytes-max", 1..=most, field).help(
        Outbound,
        "Bytes queued for one connection before it is closed as too slow, with 4409",
    )
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, collections::BTreeMap, string::ToString};

    use super::*;
    use crate::settings::setting::{read_variables, variable};

    fn limits(variables: &[(&str, &str)]) -> Result<Limits, SettingError> {
        let mut limits = Limits::default();
        read_variables(LIMITS, &mut limits, |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|&(_, value)| value.to_owned())
        })?;
        check_limits(&limits).map(|()| limits)
    }

    #[test]
    fn without_variables_the_limits_are_the_defaults() {
        assert_eq!(limits(&[]), Ok(Limits::default()));
    }

    /// Two settings with one field would show the same number.
    #[test]
    fn each_setting_has_a_field_of_its_own() {
        let mut limits = Limits::default();
        let mut numbers = BTreeMap::new();
        for (index, setting) in LIMITS.iter().enumerate() {
            let number = (index + 1).to_string();
            setting.read(&mut limits, &number).expect("in its range");
            numbers.insert(setting.name, number);
        }
        for setting in LIMITS {
            assert_eq!(
                setting.show(&mut limits),
                numbers[setting.name],
                "{}",
                setting.name
            );
        }
    }

    #[test]
    fn no_inbound_rate_means_no_limit_of_any_kind() {
        const RATE: (&str, &str) = ("ROOMCAST_INBOUND_RATE", "off");
        let read = limits(&[RATE, ("ROOMCAST_HEARTBEAT_MS", "off")]).expect("limits");
        assert_eq!((read.inbound_messages, read.inbound_bytes), (None, None));
        assert_eq!(read.heartbeat, None);
        let bytes = ("ROOMCAST_INBOUND_BYTES_RATE", "70000");
        let read = limits(&[bytes, RATE, ("ROOMCAST_INBOUND_BURST", "7")]).expect("limits");
        assert_eq!(read.inbound_messages, None);
        assert_eq!(read.inbound_bytes.map(|rate| rate.burst), Some(70_000));
        let read = limits(&[("ROOMCAST_INBOUND_BURST", "7")]).expect("limits");
        let rate = read
            .inbound_messages
            .map(|rate| (rate.per_second, rate.burst));
        assert_eq!(rate, Some((50, 7)));
    }

    #[test]
    fn a_number_that_is_too_large_is_told_the_bound() {
        for text in ["1000001", "4294967296", "99999999999999999999"] {
            let name = "ROOMCAST_ROOMS_PER_CONNECTION_MAX";
            let fault = limits(&[(name, text)]).expect_err(text).to_string();
            assert_eq!(
                fault,
                "ROOMCAST_ROOMS_PER_CONNECTION_MAX must be 1 to 1000000"
            );
        }
        let fault = limits(&[("ROOMCAST_HEARTBEAT_MS", "86400001")]).expect_err("more than a day");
        let said = "ROOMCAST_HEARTBEAT_MS must be 1 to 86400000, or off";
        assert_eq!(fault.to_string(), said);
    }

    #[test]
    fn a_bad_value_names_its_setting() {
        for (name, value) in [
            ("inbound-rate", "fast"),
            ("inbound-rate", "0"),
            ("inbound-rate", "1000000001"),
            ("inbound-rate", "OFF"),
            ("inbound-burst", "0"),
            ("inbound-burst", "off"),
            ("inbound-bytes-rate", "65535"),
            ("inbound-bytes-rate", "4000000001"),
            ("message-bytes-max", "64k"),
            ("message-bytes-max", ""),
            ("message-bytes-max", "1073741825"),
            ("heartbeat-ms", "18446744073709551616"),
            ("heartbeat-wait-ms", "86400001"),
            ("page-bytes-max", "-1"),
            ("page-bytes-max", " 1"),
            ("meta-bytes-max", "99999999999999999999"),
        ] {
            let variable = variable(name);
            let fault = limits(&[(&variable, value)]).expect_err(value);
            assert_eq!(fault.name(), name, "{fault}");
            assert!(fault.to_string().starts_with(&variable), "{fault}");
        }
    }

    /// Limits that a program sets are checked as those of variables are.
    #[test]
    fn a_field_out_of_its_range_is_found() {
        let mut limits = Limits::default();
        limits.heartbeat = Some(core::time::Duration::ZERO);
        let fault = check_limits(&limits).expect_err("no time at all");
        assert_eq!(
            (fault.name(), fault.fault()),
            ("heartbeat-ms", "must be 1 to 86400000, or off")
        );
    }
}
