//! What the Worker is told by its variables and secrets.

use roomcast_core::{Limits, OrOff, SettingError, Vars, http::Access};

/// WebSockets that the platform lets one object hold.
const SOCKETS_MAX: usize = 32_768;

/// The settings, the same for the Worker and its objects.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    /// Bytes of an API request's body.
    pub(crate) body_bytes_max: usize,
    /// How long that body may take.
    pub(crate) body_time_ms: u32,
    /// Bytes that are sent to a connection between two signs of life from it; default any number.
    ///
    /// The platform queues without a bound and does not say how much. Who answers must have read,
    /// more or less; but many clients have nothing to say, and would be closed for listening.
    pub(crate) outbox_bytes_max: Option<usize>,
}

impl Settings {
    /// Reads the variables that the native host reads too, as far as they mean something here.
    pub(crate) fn from_vars<F>(vars: &Vars<F>) -> Result<Self, SettingError>
    where
        F: Fn(&'static str) -> Option<String>,
    {
        let mut limits = Limits::from_vars(vars)?;
        // A heartbeat wakes the object for as long as somebody is connected: only when asked for.
        if let None | Some(OrOff::<u64>(None)) = vars.number_or_off("ROOMCAST_HEARTBEAT_MS")? {
            limits.heartbeat = None;
        }
        limits.connections = vars.number("ROOMCAST_CONNECTIONS_MAX", SOCKETS_MAX)?;
        if !(1..=SOCKETS_MAX).contains(&limits.connections) {
            let fault = format!("must be 1 to {SOCKETS_MAX}, what one object can hold");
            return Err(SettingError::new("ROOMCAST_CONNECTIONS_MAX", fault));
        }
        const OUTBOX: &str = "ROOMCAST_OUTBOX_BYTES_MAX";
        let outbox_bytes_max = vars.number_or_off(OUTBOX)?.and_then(|OrOff(max)| max);
        if outbox_bytes_max.is_some_and(|max| max < 2 * limits.message_bytes) {
            let fault = "must be at least twice what one message may have, or off";
            return Err(SettingError::new(OUTBOX, fault));
        }
        let at_least_one = |name, default: u32| match vars.number(name, default) {
            Ok(0) => Err(SettingError::new(name, "must be at least 1")),
            number => number,
        };
        let body_bytes_max = at_least_one("ROOMCAST_API_BODY_BYTES_MAX", 1024 * 1024)?;
        let body_time_ms = at_least_one("ROOMCAST_MESSAGE_TIME_MS", 10_000)?;
        Ok(Self {
            access: Access::from_vars(vars)?,
            limits,
            body_bytes_max: body_bytes_max as usize,
            body_time_ms,
            outbox_bytes_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(name: &str, value: &str) -> Result<Settings, SettingError> {
        Settings::from_vars(&Vars::new(|other| {
            (other == name).then(|| value.to_owned())
        }))
    }

    #[test]
    fn there_is_no_heartbeat_unless_it_is_asked_for() {
        let heartbeat = |value| {
            let settings = settings("ROOMCAST_HEARTBEAT_MS", value);
            settings.expect("valid").limits.heartbeat
        };
        assert_eq!(settings("", "").expect("valid").limits.heartbeat, None);
        assert_eq!(heartbeat("off"), None);
        assert_eq!(heartbeat("9000"), Some(Duration::from_secs(9)));
    }

    #[test]
    fn outboxes_have_no_bound_unless_it_is_asked_for() {
        let name = "ROOMCAST_OUTBOX_BYTES_MAX";
        let bound = |value| settings(name, value).map(|settings| settings.outbox_bytes_max);
        assert_eq!(settings("", "").expect("valid").outbox_bytes_max, None);
        assert_eq!(bound("off"), Ok(None));
        assert_eq!(bound("131072"), Ok(Some(131_072)));
        assert_eq!(bound("131071").expect_err("too few").name(), name);
    }

    #[test]
    fn an_object_holds_no_more_than_the_platform_lets_it() {
        let name = "ROOMCAST_CONNECTIONS_MAX";
        assert_eq!(settings(name, "7").expect("valid").limits.connections, 7);
        for wrong in ["0", "32769"] {
            assert_eq!(settings(name, wrong).expect_err(wrong).name(), name);
        }
    }
}
