//! What the Worker is told by its variables and secrets.

use roomcast_core::{Limits, Policies};
use roomcast_http::{
    Access, OrOff, Range, SettingError, Vars, limits_from_vars, policies_from_toml,
};

use crate::mount::policies_in_code;

/// WebSockets that the platform lets one object hold.
const SOCKETS_MAX: usize = 32_768;

/// The room policies: the text of the file that the native host reads, or the same as an object.
const CONFIG: &str = "ROOMCAST_CONFIG";

/// Bytes that a message or the body of a request may have where rooms keep a history. The platform
/// takes 2 MB in a row; beside the message are its head and who never gets it.
const KEPT_BYTES_MAX: usize = 1_400_000;

/// The settings, the same for the Worker and its objects.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    /// What rooms are like; default no policies.
    pub(crate) policies: Policies,
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
        let mut limits = limits_from_vars(vars)?;
        // A heartbeat wakes the object for as long as somebody is connected: only when asked for.
        if let None | Some(OrOff::<u64>(None)) = vars.number_or_off("ROOMCAST_HEARTBEAT_MS")? {
            limits.heartbeat = None;
        }
        // Objects share 128 MB, and read what they know of rooms whenever they wake.
        if vars.text("ROOMCAST_HISTORY_BYTES_MAX").is_none() {
            limits.history_bytes = 16 << 20;
        }
        if vars.text("ROOMCAST_HISTORY_ROOMS_MAX").is_none() {
            limits.history_rooms = 1_000;
        }
        limits.connections = vars.number("ROOMCAST_CONNECTIONS_MAX", SOCKETS_MAX)?;
        if !(1..=SOCKETS_MAX).contains(&limits.connections) {
            let fault = format!("must be 1 to {SOCKETS_MAX}, what one object can hold");
            return Err(SettingError::new("ROOMCAST_CONNECTIONS_MAX", fault));
        }
        const OUTBOX: &str = "ROOMCAST_OUTBOX_BYTES_MAX";
        let outbox_bytes_max = vars.number_or_off(OUTBOX)?.and_then(|OrOff(max)| max);
        if let Some(max) = outbox_bytes_max {
            Range::new(1, 1 << 30).check(OUTBOX, max as u64, true)?;
            if max / 2 < limits.message_bytes {
                let fault = "must be at least twice what one message may have, or off";
                return Err(SettingError::new(OUTBOX, fault));
            }
        }
        let within = |range: Range, name, default: u32| {
            let number = vars.number(name, default)?;
            range.check(name, number.into(), false).map(|()| number)
        };
        let sizes = Range::new(1, 1 << 30);
        let body_bytes_max = within(sizes, "ROOMCAST_API_BODY_BYTES_MAX", 1024 * 1024)?;
        let times = Range::new(1, Range::DAY_MS);
        let body_time_ms = within(times, "ROOMCAST_MESSAGE_TIME_MS", 10_000)?;
        let policies = policies(vars)?;
        let keeps = policies.iter().any(|policy| policy.history.is_some());
        let sizes = [
            ("ROOMCAST_MESSAGE_BYTES_MAX", limits.message_bytes),
            ("ROOMCAST_API_BODY_BYTES_MAX", body_bytes_max as usize),
        ];
        for (name, bytes) in sizes {
            if keeps && bytes > KEPT_BYTES_MAX {
                let fault = format!(
                    "must be at most {KEPT_BYTES_MAX} where {CONFIG} or the code has rooms with a `history`, \
                     what fits in a row of the platform's storage"
                );
                return Err(SettingError::new(name, fault));
            }
        }
        Ok(Self {
            access: Access::from_vars(vars)?,
            limits,
            policies,
            body_bytes_max: body_bytes_max as usize,
            body_time_ms,
            outbox_bytes_max,
        })
    }
}

fn policies<F>(vars: &Vars<F>) -> Result<Policies, SettingError>
where
    F: Fn(&'static str) -> Option<String>,
{
    let Some(text) = vars.text(CONFIG) else {
        return Ok(policies_in_code());
    };
    // An object is read as its JSON, and no file begins like it.
    let read = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|fault| fault.to_string())
    } else {
        policies_from_toml(&text).map_err(|fault| fault.to_string())
    };
    read.map_err(|fault| SettingError::new(CONFIG, format!("cannot be used: {fault}")))
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
    fn histories_are_small_unless_they_are_to_be_large() {
        let histories = |name, value| {
            let limits = settings(name, value).expect("valid").limits;
            (limits.history_bytes, limits.history_rooms)
        };
        assert_eq!(histories("", ""), (16 << 20, 1_000));
        assert_eq!(histories("ROOMCAST_HISTORY_BYTES_MAX", "7").0, 7);
        assert_eq!(histories("ROOMCAST_HISTORY_ROOMS_MAX", "7").1, 7);
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
    fn policies_of_the_code_are_those_that_no_variable_has() {
        let log = roomcast_core::RoomPolicy::new("log".parse().expect("a pattern"));
        crate::mount::room_policies(Policies::new([log]).expect("one"));
        assert!(
            settings("", "")
                .expect("valid")
                .policies
                .of("log")
                .is_some()
        );
        let other = settings(CONFIG, r#"{"rooms":[{"match":"den"}]}"#).expect("valid");
        assert!(other.policies.of("den").is_some());
        assert!(other.policies.of("log").is_none());
    }

    #[test]
    fn policies_are_a_file_or_an_object() {
        let read = |text| settings(CONFIG, text).map(|settings| settings.policies);
        assert_eq!(
            settings("", "").expect("valid").policies,
            Policies::default()
        );
        let file = read("# all\n[[rooms]]\nmatch = \"*\"\nhistory.messages = 3\n");
        let object = read(r#"{"rooms":[{"match":"*","history":{"messages":3}}]}"#);
        assert!(file.as_ref().is_ok_and(|policies| !policies.is_empty()));
        assert_eq!(file, object);
        for (text, fault) in [
            (
                "[[rooms]]\nmatch = \"*\"\nhistroy = 1\n",
                "line 3: unknown field `histroy`",
            ),
            (r#"{"rooms":[{"match":""}]}"#, "1 to 256 bytes"),
            (r#"{"room":[]}"#, "expected `rooms`"),
            ("7", "line 1"),
            (
                "[[rooms]]\nmatch = \"*\"\nhistory = []\n",
                "line 3: invalid type: sequence, expected `history` to be keys of it",
            ),
            (
                r#"{"rooms":[["*"]]}"#,
                "expected each of `rooms` to be keys and values",
            ),
            (
                " {\"rooms\":[{\"match\":\"*\",\"overflow\":\"Close\"}]}",
                "`overflow` must be \"close\", \"drop-oldest\" or \"latest\"",
            ),
        ] {
            let said = read(text).expect_err(text).to_string();
            assert!(said.starts_with(CONFIG) && said.contains(fault), "{said}");
        }
    }

    #[test]
    fn what_a_history_keeps_fits_in_a_row() {
        let with = |rooms: &str, name: &str| {
            Settings::from_vars(&Vars::new(|other| match other {
                CONFIG => Some(rooms.to_owned()),
                "ROOMCAST_INBOUND_BYTES_RATE" => Some("off".to_owned()),
                other => (other == name).then(|| "1400001".to_owned()),
            }))
        };
        let kept = "[[rooms]]\nmatch = \"a\"\nhistory.messages = 300\n";
        for name in ["ROOMCAST_MESSAGE_BYTES_MAX", "ROOMCAST_API_BODY_BYTES_MAX"] {
            assert_eq!(with(kept, name).expect_err(name).name(), name);
        }
        assert!(with(kept, "").is_ok());
        assert!(with("", "ROOMCAST_API_BODY_BYTES_MAX").is_ok());
    }

    #[test]
    fn numbers_that_no_object_can_have_are_refused() {
        for (name, value) in [
            ("ROOMCAST_API_BODY_BYTES_MAX", "1073741825"),
            ("ROOMCAST_API_BODY_BYTES_MAX", "4294967296"),
            ("ROOMCAST_MESSAGE_TIME_MS", "86400001"),
            ("ROOMCAST_MESSAGE_TIME_MS", "0"),
            ("ROOMCAST_OUTBOX_BYTES_MAX", "18446744073709551615"),
            ("ROOMCAST_HEARTBEAT_MS", "18446744073709551615"),
            ("ROOMCAST_INBOUND_RATE", "-1"),
            ("ROOMCAST_HEARTBEAT_MS", "none"),
            ("ROOMCAST_OUTBOX_BYTES_MAX", "disabled"),
        ] {
            assert_eq!(settings(name, value).expect_err(value).name(), name);
        }
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
