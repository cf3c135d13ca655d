//! Settings as texts, such as environment variables.

use alloc::{borrow::Cow, format, string::String, vec::Vec};
use core::{fmt::Display, str::FromStr, time::Duration};

use roomcast_core::{Limits, Rate};

/// A setting that cannot be as it is; the message names the variable and says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} {fault}")]
pub struct SettingError {
    name: &'static str,
    fault: Cow<'static, str>,
}

impl SettingError {
    /// For the variable of this name; the fault goes on from there, as in "must be at least 1".
    pub fn new(name: &'static str, fault: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name,
            fault: fault.into(),
        }
    }

    /// The variable.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &str {
        &self.fault
    }
}

/// A value, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrOff<T>(pub Option<T>);

/// A text that is neither a whole number nor `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number, or off")]
pub struct OrOffError;

impl<T: Whole> FromStr for OrOff<T> {
    type Err = OrOffError;

    fn from_str(text: &str) -> Result<Self, OrOffError> {
        if text == "off" {
            return Ok(Self(None));
        }
        let number = whole(text).map_err(|_| OrOffError)?;
        Ok(Self(Some(number)))
    }
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnOff(pub bool);

/// A text that is neither `on` nor `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be on or off")]
pub struct OnOffError;

impl FromStr for OnOff {
    type Err = OnOffError;

    fn from_str(text: &str) -> Result<Self, OnOffError> {
        match text {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(OnOffError),
        }
    }
}

/// The types of whole numbers that settings have.
pub trait Whole: FromStr {
    /// The largest.
    const LARGEST: Self;
}

impl Whole for u32 {
    const LARGEST: Self = Self::MAX;
}

impl Whole for u64 {
    const LARGEST: Self = Self::MAX;
}

impl Whole for usize {
    const LARGEST: Self = Self::MAX;
}

/// A text that is no whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number")]
pub struct WholeError;

/// Reads a whole number. One that is too large for its type is the largest of it, so that the check
/// of the setting's range says what the bound is.
///
/// # Errors
///
/// When it is anything else.
pub fn whole<T: Whole>(text: &str) -> Result<T, WholeError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WholeError);
    }
    Ok(text.parse().unwrap_or(T::LARGEST))
}

/// Range of a number, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: u64,
    /// The most: it is never all that a type can hold, so that no sum with it overflows.
    pub most: u64,
}

impl Range {
    /// A day, in milliseconds: no time that somebody waits for is longer.
    pub const DAY_MS: u64 = 24 * 3600 * 1000;

    /// These ends.
    pub const fn new(least: u64, most: u64) -> Self {
        Self { least, most }
    }

    /// Checks the number of a setting; `off` says whether it may be switched off.
    ///
    /// # Errors
    ///
    /// When it is outside.
    pub fn check(self, name: &'static str, number: u64, off: bool) -> Result<(), SettingError> {
        if (self.least..=self.most).contains(&number) {
            return Ok(());
        }
        let off = if off { ", or off" } else { "" };
        let Self { least, most } = self;
        let fault = format!("must be {least} to {most}{off}");
        Err(SettingError::new(name, fault))
    }
}

/// Variables that settings are read from, by name.
///
/// ```
/// use roomcast_http::{Vars, limits_from_vars};
///
/// let vars = Vars::new(|name| (name == "ROOMCAST_INBOUND_RATE").then(|| "off".to_owned()));
/// assert_eq!(limits_from_vars(&vars)?.inbound_messages, None);
/// # Ok::<(), roomcast_http::SettingError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Vars<F>(F);

impl<F: Fn(&'static str) -> Option<String>> Vars<F> {
    /// Reads each variable with this function; `None` is one that is not set.
    pub const fn new(read: F) -> Self {
        Self(read)
    }

    /// The text as it is; `None` when it is not set.
    pub fn text(&self, name: &'static str) -> Option<String> {
        (self.0)(name)
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// When it is set to anything else.
    pub fn number<T: Whole>(&self, name: &'static str, default: T) -> Result<T, SettingError> {
        let Some(text) = (self.0)(name) else {
            return Ok(default);
        };
        whole(&text).map_err(|fault| SettingError::new(name, format!("{fault}")))
    }

    /// A whole number, or `off`; `None` when it is not set.
    ///
    /// # Errors
    ///
    /// When it is set to anything else.
    pub fn number_or_off<T: Whole>(
        &self,
        name: &'static str,
    ) -> Result<Option<OrOff<T>>, SettingError> {
        let Some(text) = (self.0)(name) else {
            return Ok(None);
        };
        let fault = |fault| SettingError::new(name, format!("{fault}"));
        text.parse().map(Some).map_err(fault)
    }

    /// `on` or `off`.
    ///
    /// # Errors
    ///
    /// When it is set to anything else.
    pub fn on_or_off(&self, name: &'static str, default: bool) -> Result<bool, SettingError> {
        let Some(text) = (self.0)(name) else {
            return Ok(default);
        };
        let fault = |fault| SettingError::new(name, format!("{fault}"));
        text.parse().map(|OnOff(is_on)| is_on).map_err(fault)
    }

    /// Values separated by commas, without the blanks and line ends around them; none when it is not
    /// set.
    ///
    /// # Errors
    ///
    /// When one of them is wrong.
    pub fn list<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Vec<T>, SettingError> {
        let Some(text) = (self.0)(name) else {
            return Ok(Vec::new());
        };
        let fault = |fault| SettingError::new(name, format!("has a wrong entry: {fault}"));
        text.split(',')
            .map(|entry| entry.trim().parse().map_err(fault))
            .collect()
    }
}

/// Reads the limits that have a variable; the others have their defaults.
///
/// `ROOMCAST_INBOUND_RATE=off` switches the limit on bytes off as well, unless
/// `ROOMCAST_INBOUND_BYTES_RATE` is set.
///
/// # Errors
///
/// The first variable that must change.
pub fn limits_from_vars<F>(vars: &Vars<F>) -> Result<Limits, SettingError>
where
    F: Fn(&'static str) -> Option<String>,
{
    let mut limits = Limits::default();
    limits.message_bytes = vars.number(MESSAGE_BYTES, limits.message_bytes)?;
    limits.rooms_per_connection = vars.number(ROOMS, limits.rooms_per_connection)?;
    limits.room_name_bytes = vars.number(ROOM_NAME_BYTES, limits.room_name_bytes)?;
    let burst = vars.number(INBOUND_BURST, Limits::INBOUND_MESSAGES.burst)?;
    if let Some(OrOff(rate)) = vars.number_or_off(INBOUND_RATE)? {
        limits.inbound_messages = rate.map(|per_second| Rate { per_second, burst });
    } else if let Some(rate) = &mut limits.inbound_messages {
        rate.burst = burst;
    }
    if let Some(OrOff(rate)) = vars.number_or_off(INBOUND_BYTES_RATE)? {
        limits.inbound_bytes = rate.map(|bytes| Rate {
            per_second: bytes,
            burst: bytes,
        });
    } else if limits.inbound_messages.is_none() {
        limits.inbound_bytes = None;
    }
    let refusals = &mut limits.inbound_refusals.burst;
    *refusals = vars.number(INBOUND_REFUSALS, *refusals)?;
    if let Some(OrOff(heartbeat)) = vars.number_or_off(HEARTBEAT)? {
        limits.heartbeat = heartbeat.map(Duration::from_millis);
    }
    let millis = |name, default: Duration| {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        vars.number(name, default).map(Duration::from_millis)
    };
    limits.heartbeat_wait = millis(HEARTBEAT_WAIT, limits.heartbeat_wait)?;
    limits.idempotency = millis(IDEMPOTENCY, limits.idempotency)?;
    limits.idempotency_keys = vars.number(IDEMPOTENCY_KEYS, limits.idempotency_keys)?;
    limits.history_bytes = vars.number(HISTORY_BYTES, limits.history_bytes)?;
    limits.history_rooms = vars.number(HISTORY_ROOMS, limits.history_rooms)?;
    limits.recovery_messages = vars.number(RECOVERY_MESSAGES, limits.recovery_messages)?;
    limits.recovery_bytes = vars.number(RECOVERY_BYTES, limits.recovery_bytes)?;
    limits.page_entries = vars.number(PAGE_ENTRIES, limits.page_entries)?;
    limits.page_bytes = vars.number(PAGE_BYTES, limits.page_bytes)?;
    limits.presence_list = vars.number(PRESENCE_LIST, limits.presence_list)?;
    limits.meta_bytes = vars.number(META_BYTES, limits.meta_bytes)?;
    check_limits(&limits)?;
    Ok(limits)
}

/// Checks each limit, and the relations between them.
///
/// # Errors
///
/// The first that must change, by the name of its variable.
pub fn check_limits(limits: &Limits) -> Result<(), SettingError> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let size = |size: usize| size as u64;
    let rate = limits.inbound_messages;
    let refusals = limits.inbound_refusals.burst;
    let numbers = [
        (
            MESSAGE_BYTES,
            Range::new(1, 1 << 30),
            size(limits.message_bytes),
        ),
        (
            ROOMS,
            Range::new(1, 1_000_000),
            size(limits.rooms_per_connection),
        ),
        (
            ROOM_NAME_BYTES,
            Range::new(1, 65_536),
            size(limits.room_name_bytes),
        ),
        (INBOUND_REFUSALS, Range::new(0, RATE_MAX), refusals.into()),
        (
            HEARTBEAT_WAIT,
            Range::new(1, Range::DAY_MS),
            ms(limits.heartbeat_wait),
        ),
        (
            IDEMPOTENCY_KEYS,
            Range::new(0, 1_000_000_000),
            size(limits.idempotency_keys),
        ),
        (
            IDEMPOTENCY,
            Range::new(0, 30 * Range::DAY_MS),
            ms(limits.idempotency),
        ),
        (
            HISTORY_BYTES,
            Range::new(1, 1 << 40),
            size(limits.history_bytes),
        ),
        (
            HISTORY_ROOMS,
            Range::new(1, 1_000_000_000),
            size(limits.history_rooms),
        ),
        (
            RECOVERY_MESSAGES,
            Range::new(1, 1_000_000),
            size(limits.recovery_messages),
        ),
        (
            RECOVERY_BYTES,
            Range::new(1, 1 << 30),
            size(limits.recovery_bytes),
        ),
        (
            PAGE_ENTRIES,
            Range::new(1, 1_000_000),
            size(limits.page_entries),
        ),
        (PAGE_BYTES, Range::new(1, 1 << 30), size(limits.page_bytes)),
        (
            PRESENCE_LIST,
            Range::new(1, 1_000_000),
            size(limits.presence_list),
        ),
        (META_BYTES, Range::new(1, 1 << 30), size(limits.meta_bytes)),
    ];
    for (name, range, number) in numbers {
        range.check(name, number, false)?;
    }
    if let Some(rate) = rate {
        Range::new(1, RATE_MAX).check(INBOUND_RATE, rate.per_second.into(), true)?;
        Range::new(1, RATE_MAX).check(INBOUND_BURST, rate.burst.into(), false)?;
    }
    if let Some(rate) = limits.inbound_bytes {
        let range = Range::new(1, BYTES_RATE_MAX);
        range.check(INBOUND_BYTES_RATE, rate.per_second.into(), true)?;
    }
    if let Some(heartbeat) = limits.heartbeat {
        Range::new(1, Range::DAY_MS).check(HEARTBEAT, ms(heartbeat), true)?;
    }
    // Otherwise a single allowed message could never be received.
    if let Some(rate) = limits.inbound_bytes
        && (rate.burst as usize) < limits.message_bytes
    {
        let fault = format!(
            "must be {} to {BYTES_RATE_MAX}, at least what one message may have, or off",
            limits.message_bytes
        );
        return Err(SettingError::new(INBOUND_BYTES_RATE, fault));
    }
    Ok(())
}

/// The largest rate and the largest burst, a second.
const RATE_MAX: u64 = 1_000_000_000;
/// The largest rate of bytes.
const BYTES_RATE_MAX: u64 = 4_000_000_000;

const MESSAGE_BYTES: &str = "ROOMCAST_MESSAGE_BYTES_MAX";
const ROOMS: &str = "ROOMCAST_ROOMS_PER_CONNECTION_MAX";
const ROOM_NAME_BYTES: &str = "ROOMCAST_ROOM_NAME_BYTES_MAX";
const INBOUND_RATE: &str = "ROOMCAST_INBOUND_RATE";
const INBOUND_BURST: &str = "ROOMCAST_INBOUND_BURST";
const INBOUND_REFUSALS: &str = "ROOMCAST_INBOUND_REFUSALS";
const IDEMPOTENCY_KEYS: &str = "ROOMCAST_IDEMPOTENCY_KEYS_MAX";
const IDEMPOTENCY: &str = "ROOMCAST_IDEMPOTENCY_MS";
const INBOUND_BYTES_RATE: &str = "ROOMCAST_INBOUND_BYTES_RATE";
const HEARTBEAT: &str = "ROOMCAST_HEARTBEAT_MS";
const HEARTBEAT_WAIT: &str = "ROOMCAST_HEARTBEAT_WAIT_MS";
const HISTORY_BYTES: &str = "ROOMCAST_HISTORY_BYTES_MAX";
const HISTORY_ROOMS: &str = "ROOMCAST_HISTORY_ROOMS_MAX";
const RECOVERY_MESSAGES: &str = "ROOMCAST_RECOVERY_MESSAGES_MAX";
const RECOVERY_BYTES: &str = "ROOMCAST_RECOVERY_BYTES_MAX";
const PAGE_ENTRIES: &str = "ROOMCAST_PAGE_ENTRIES_MAX";
const PAGE_BYTES: &str = "ROOMCAST_PAGE_BYTES_MAX";
const PRESENCE_LIST: &str = "ROOMCAST_PRESENCE_LIST_MAX";
const META_BYTES: &str = "ROOMCAST_META_BYTES_MAX";

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, string::ToString};

    use super::*;

    fn limits(vars: &[(&str, &str)]) -> Result<Limits, SettingError> {
        limits_from_vars(&Vars::new(|name| {
            let found = vars.iter().find(|(other, _)| *other == name);
            found.map(|&(_, value)| value.to_owned())
        }))
    }

    #[test]
    fn without_variables_the_limits_are_the_defaults() {
        assert_eq!(limits(&[]), Ok(Limits::default()));
    }

    #[test]
    fn each_variable_sets_its_limit() {
        let read = limits(&[
            ("ROOMCAST_MESSAGE_BYTES_MAX", "1"),
            ("ROOMCAST_ROOMS_PER_CONNECTION_MAX", "2"),
            ("ROOMCAST_ROOM_NAME_BYTES_MAX", "3"),
            ("ROOMCAST_INBOUND_RATE", "4"),
            ("ROOMCAST_INBOUND_BURST", "5"),
            ("ROOMCAST_INBOUND_BYTES_RATE", "6"),
            ("ROOMCAST_INBOUND_REFUSALS", "7"),
            ("ROOMCAST_HEARTBEAT_MS", "8"),
            ("ROOMCAST_HEARTBEAT_WAIT_MS", "9"),
            ("ROOMCAST_IDEMPOTENCY_KEYS_MAX", "10"),
            ("ROOMCAST_IDEMPOTENCY_MS", "11"),
            ("ROOMCAST_HISTORY_BYTES_MAX", "12"),
            ("ROOMCAST_HISTORY_ROOMS_MAX", "13"),
            ("ROOMCAST_RECOVERY_MESSAGES_MAX", "14"),
            ("ROOMCAST_RECOVERY_BYTES_MAX", "15"),
            ("ROOMCAST_PAGE_ENTRIES_MAX", "16"),
            ("ROOMCAST_PAGE_BYTES_MAX", "17"),
            ("ROOMCAST_PRESENCE_LIST_MAX", "18"),
            ("ROOMCAST_META_BYTES_MAX", "19"),
        ]);
        let rate = |per_second, burst| Rate { per_second, burst };
        let mut set = Limits::default();
        set.message_bytes = 1;
        set.rooms_per_connection = 2;
        set.room_name_bytes = 3;
        set.inbound_messages = Some(rate(4, 5));
        set.inbound_bytes = Some(rate(6, 6));
        set.inbound_refusals = rate(1, 7);
        set.heartbeat = Some(Duration::from_millis(8));
        set.heartbeat_wait = Duration::from_millis(9);
        set.idempotency_keys = 10;
        set.idempotency = Duration::from_millis(11);
        set.history_bytes = 12;
        set.history_rooms = 13;
        set.recovery_messages = 14;
        set.recovery_bytes = 15;
        set.page_entries = 16;
        set.page_bytes = 17;
        set.presence_list = 18;
        set.meta_bytes = 19;
        assert_eq!(read, Ok(set));
    }

    #[test]
    fn no_inbound_rate_means_no_limit_of_any_kind() {
        let read = limits(&[(INBOUND_RATE, "off"), (HEARTBEAT, "off")]).expect("limits");
        assert_eq!((read.inbound_messages, read.inbound_bytes), (None, None));
        assert_eq!(read.heartbeat, None);
        let bytes = (INBOUND_BYTES_RATE, "70000");
        let read = limits(&[(INBOUND_RATE, "off"), bytes]).expect("limits");
        assert_eq!(read.inbound_bytes.map(|rate| rate.burst), Some(70_000));
        let read = limits(&[(INBOUND_BURST, "7")]).expect("limits");
        let rate = read
            .inbound_messages
            .map(|rate| (rate.per_second, rate.burst));
        assert_eq!(rate, Some((50, 7)));
    }

    #[test]
    fn a_switch_is_on_or_off_and_nothing_else() {
        let read = |value: &str| {
            let vars = Vars::new(|_| Some(value.to_owned()));
            vars.on_or_off("ROOMCAST_PAGE", true)
        };
        assert_eq!((read("on"), read("off")), (Ok(true), Ok(false)));
        for wrong in ["", "true", "1", "On", "off ", "no"] {
            let fault = read(wrong).expect_err(wrong).to_string();
            assert_eq!(fault, "ROOMCAST_PAGE must be on or off");
        }
        let unset = Vars::new(|_| None).on_or_off("ROOMCAST_PAGE", true);
        assert_eq!(unset, Ok(true));
    }

    #[test]
    fn a_number_that_is_too_large_is_told_the_bound() {
        for text in ["1000001", "4294967296", "99999999999999999999"] {
            let fault = limits(&[(ROOMS, text)]).expect_err(text).to_string();
            assert_eq!(
                fault,
                "ROOMCAST_ROOMS_PER_CONNECTION_MAX must be 1 to 1000000"
            );
        }
        let fault = limits(&[(HEARTBEAT, "86400001")]).expect_err("more than a day");
        let said = "ROOMCAST_HEARTBEAT_MS must be 1 to 86400000, or off";
        assert_eq!(fault.to_string(), said);
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        for (name, value) in [
            (INBOUND_RATE, "fast"),
            (INBOUND_RATE, "0"),
            (INBOUND_BURST, "0"),
            (INBOUND_BURST, "off"),
            (INBOUND_BYTES_RATE, "65535"),
            (MESSAGE_BYTES, "64k"),
            (MESSAGE_BYTES, ""),
            (MESSAGE_BYTES, "0"),
            (MESSAGE_BYTES, "1073741825"),
            (HEARTBEAT, "0"),
            (HEARTBEAT_WAIT, "0"),
            (HISTORY_ROOMS, "0"),
            (PAGE_BYTES, "many"),
            (PAGE_BYTES, "-1"),
            (PAGE_BYTES, " 1"),
            (INBOUND_RATE, "1000000001"),
            (INBOUND_RATE, "OFF"),
            (INBOUND_RATE, "none"),
            (INBOUND_REFUSALS, "4294967295"),
            (INBOUND_BYTES_RATE, "4000000001"),
            (HEARTBEAT, "18446744073709551615"),
            (HEARTBEAT, "18446744073709551616"),
            (HEARTBEAT_WAIT, "86400001"),
            (IDEMPOTENCY, "18446744073709551615"),
            (IDEMPOTENCY_KEYS, "1000000001"),
            (ROOM_NAME_BYTES, "65537"),
            (META_BYTES, "99999999999999999999"),
        ] {
            let fault = limits(&[(name, value)]).expect_err(value);
            // A message that is too large for the default rate is the rate's fault.
            assert!(
                fault.to_string().starts_with(name),
                "{name}={value}: {fault}"
            );
            assert_eq!(fault.name(), name);
        }
    }
}
