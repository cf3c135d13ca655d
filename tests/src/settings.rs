//! Limits as a trace writes them: for the core, as flags of the server, as variables of the worker.

use std::{str::FromStr, time::Duration};

use roomcast_core::{Limits, Rate};

/// The limits of a story that differ from those of all stories.
///
/// All stories run without rate limits, so that they may be as dense as they like; the other limits
/// have their defaults. Written `rooms_per_connection=2 inbound_rate=off`.
///
/// ```
/// use roomcast_tests::Settings;
///
/// let settings: Settings = "rooms_per_connection=2 heartbeat_ms=off".parse()?;
/// assert_eq!(settings.limits().rooms_per_connection, 2);
/// assert_eq!(settings.limits().heartbeat, None);
/// assert!(settings.flags().contains(&"--heartbeat-ms=off".into()));
/// assert!(settings.vars().contains(&("ROOMCAST_HEARTBEAT_MS".into(), "off".into())));
/// # Ok::<(), roomcast_tests::SettingsError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<(&'static Setting, Option<u32>)>);

/// A setting that is not known, or a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a setting: {0}")]
pub struct SettingsError(String);

#[derive(Debug, PartialEq, Eq)]
struct Setting {
    name: &'static str,
    /// The flag of `roomcast serve`.
    flag: &'static str,
    field: Field,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Connections,
    MessageBytes,
    RoomsPerConnection,
    RoomNameBytes,
    InboundRate,
    InboundBurst,
    InboundBytesRate,
    HeartbeatMs,
    HeartbeatWaitMs,
}

const SETTINGS: [Setting; 9] = [
    setting("connections", "--connections-max", Field::Connections),
    setting("message_bytes", "--message-bytes-max", Field::MessageBytes),
    setting(
        "rooms_per_connection",
        "--rooms-per-connection-max",
        Field::RoomsPerConnection,
    ),
    setting(
        "room_name_bytes",
        "--room-name-bytes-max",
        Field::RoomNameBytes,
    ),
    setting("inbound_rate", "--inbound-rate", Field::InboundRate),
    setting("inbound_burst", "--inbound-burst", Field::InboundBurst),
    setting(
        "inbound_bytes_rate",
        "--inbound-bytes-rate",
        Field::InboundBytesRate,
    ),
    setting("heartbeat_ms", "--heartbeat-ms", Field::HeartbeatMs),
    setting(
        "heartbeat_wait_ms",
        "--heartbeat-wait-ms",
        Field::HeartbeatWaitMs,
    ),
];

const fn setting(name: &'static str, flag: &'static str, field: Field) -> Setting {
    Setting { name, flag, field }
}

impl Settings {
    /// Whether nothing differs.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limits for the core.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (None, None);
        let mut burst = 100;
        for &(setting, value) in &self.0 {
            let size = value.map_or(usize::MAX, |value| value as usize);
            let time = value.map(|value| Duration::from_millis(value.into()));
            let rate = |per_second, burst| Rate { per_second, burst };
            match setting.field {
                Field::Connections => limits.connections = size,
                Field::MessageBytes => limits.message_bytes = size,
                Field::RoomsPerConnection => limits.rooms_per_connection = size,
                Field::RoomNameBytes => limits.room_name_bytes = size,
                Field::InboundRate => {
                    limits.inbound_messages = value.map(|value| rate(value, burst));
                }
                Field::InboundBurst => {
                    burst = value.unwrap_or(burst);
                    if let Some(rate) = &mut limits.inbound_messages {
                        rate.burst = burst;
                    }
                }
                Field::InboundBytesRate => {
                    limits.inbound_bytes = value.map(|value| rate(value, value));
                }
                Field::HeartbeatMs => limits.heartbeat = time,
                Field::HeartbeatWaitMs => limits.heartbeat_wait = time.unwrap_or_default(),
            }
        }
        limits
    }

    /// The flags that give `roomcast serve` the same limits.
    pub fn flags(&self) -> Vec<String> {
        let off = ["--inbound-rate", "--inbound-bytes-rate", "--control-rate"];
        let is_set = |flag: &str| self.0.iter().any(|(setting, _)| setting.flag == flag);
        let off = off.into_iter().filter(|flag| !is_set(flag));
        let set = self.0.iter().map(|(setting, value)| {
            let value = value.map_or("off".into(), |value| value.to_string());
            format!("{}={value}", setting.flag)
        });
        off.map(|flag| format!("{flag}=off")).chain(set).collect()
    }

    /// The variables that give a worker the same limits: name and value.
    pub fn vars(&self) -> Vec<(String, String)> {
        let flags = self.flags();
        let vars = flags.iter().filter_map(|flag| {
            let (name, value) = flag.strip_prefix("--")?.split_once('=')?;
            let name = name.to_uppercase().replace('-', "_");
            Some((format!("ROOMCAST_{name}"), value.to_owned()))
        });
        let mut vars: Vec<_> = vars.collect();
        // A worker has none unless it is told to.
        let heartbeat = "ROOMCAST_HEARTBEAT_MS";
        if let Some(time) = self.limits().heartbeat
            && !vars.iter().any(|(name, _)| name == heartbeat)
        {
            vars.push((heartbeat.into(), time.as_millis().to_string()));
        }
        vars
    }
}

impl FromStr for Settings {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let parse = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
            let value = match value {
                "off" => None,
                value => Some(value.parse().ok()?),
            };
            Some((setting, value))
        };
        let settings = text
            .split_whitespace()
            .map(|word| parse(word).ok_or_else(|| SettingsError(word.into())));
        settings.collect::<Result<_, _>>().map(Self)
    }
}
