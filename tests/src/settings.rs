//! Limits as a trace writes them: for the core, as flags of the server, as variables of the worker.

use std::{str::FromStr, time::Duration};

use roomcast_core::{Limits, Policies, Rate, queue::QueueLimits};
use roomcast_http::policies_from_toml;

use crate::Core;

/// The limits of a story that differ from those of all stories.
///
/// All stories run without rate limits, so that they may be as dense as they like; the other limits
/// have their defaults. Written `rooms_per_connection=2 inbound_rate=off`; `store=on` asks for histories
/// that outlive the server.
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
pub struct Settings {
    limits: Vec<(&'static Setting, Option<u32>)>,
    store: bool,
    /// TOML.
    rooms: String,
}

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
    IdempotencyMs,
    HistoryRooms,
    RecoveryMessages,
    PageEntries,
    PresenceList,
    MetaBytes,
    OutboxBytes,
    OutboxFrames,
}

const SETTINGS: [Setting; 17] = [
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
    setting("idempotency_ms", "--idempotency-ms", Field::IdempotencyMs),
    setting("history_rooms", "--history-rooms-max", Field::HistoryRooms),
    setting(
        "recovery_messages",
        "--recovery-messages-max",
        Field::RecoveryMessages,
    ),
    setting("page_entries", "--page-entries-max", Field::PageEntries),
    setting("presence_list", "--presence-list-max", Field::PresenceList),
    setting("meta_bytes", "--meta-bytes-max", Field::MetaBytes),
    setting("outbox_bytes", "--outbox-bytes-max", Field::OutboxBytes),
    setting("outbox_frames", "--outbox-frames-max", Field::OutboxFrames),
];

const fn setting(name: &'static str, flag: &'static str, field: Field) -> Setting {
    Setting { name, flag, field }
}

impl Settings {
    /// Whether nothing differs.
    pub const fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.rooms.is_empty() && !self.store
    }

    /// Adds a policy for rooms, as a trace writes it: the pattern, then keys of the file format.
    ///
    /// ```
    /// use roomcast_tests::Settings;
    ///
    /// let settings = Settings::default().with_rooms("chat:* history.messages=3 presence=members")?;
    /// assert!(settings.policies().of("chat:1").is_some());
    /// assert!(settings.config_file().is_some_and(|file| file.contains("history.messages = 3")));
    /// # Ok::<(), roomcast_tests::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is no policy.
    pub fn with_rooms(mut self, line: &str) -> Result<Self, SettingsError> {
        let mut words = line.split_whitespace();
        let pattern = words.next().unwrap_or_default();
        self.rooms
            .push_str(&format!("[[rooms]]\nmatch = \"{pattern}\"\n"));
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let plain = value.parse::<i64>().is_ok() || ["true", "false"].contains(&value);
            let quote = if plain { "" } else { "\"" };
            self.rooms
                .push_str(&format!("{key} = {quote}{value}{quote}\n"));
        }
        match policies_from_toml(&self.rooms) {
            Ok(_) => Ok(self),
            Err(fault) => Err(SettingsError(fault.to_string())),
        }
    }

    /// The policies of rooms for the core.
    pub fn policies(&self) -> Policies {
        // It was read when it was set.
        policies_from_toml(&self.rooms).unwrap_or_default()
    }

    /// The file that gives a host the same policies; `None` when there are none.
    pub fn config_file(&self) -> Option<&str> {
        (!self.rooms.is_empty()).then_some(&*self.rooms)
    }

    /// The limits for the core.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (None, None);
        let mut burst = 100;
        for &(setting, value) in &self.limits {
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
                Field::HistoryRooms => limits.history_rooms = size,
                Field::RecoveryMessages => limits.recovery_messages = size,
                Field::PageEntries => limits.page_entries = size,
                Field::PresenceList => limits.presence_list = size,
                Field::MetaBytes => limits.meta_bytes = size,
                Field::IdempotencyMs => limits.idempotency = time.unwrap_or_default(),
                Field::HeartbeatWaitMs => limits.heartbeat_wait = time.unwrap_or_default(),
                // Not of the hub: see `queues`.
                Field::OutboxBytes | Field::OutboxFrames => {}
            }
        }
        limits
    }

    /// The limits of each connection's queue.
    pub fn queues(&self) -> QueueLimits {
        let mut queues = QueueLimits::default();
        for &(setting, value) in &self.limits {
            // Without a limit it is as good as that.
            let size = value.map_or(usize::MAX / 2, |value| value as usize);
            if setting.field == Field::OutboxBytes {
                queues.bytes_max = size;
            } else if setting.field == Field::OutboxFrames {
                queues.frames_max = size;
            }
        }
        queues
    }

    /// The core in this process, with all of that.
    pub fn core(&self) -> Core {
        Core::new(&self.limits())
            .with_policies(self.policies())
            .with_queues(self.queues())
            .with_store(self.store)
    }

    /// The flags that give `roomcast serve` the same limits; one with a store needs a folder for it.
    pub fn flags(&self) -> Vec<String> {
        let off = ["--inbound-rate", "--inbound-bytes-rate", "--control-rate"];
        let is_set = |flag: &str| self.limits.iter().any(|(setting, _)| setting.flag == flag);
        let off = off.into_iter().filter(|flag| !is_set(flag));
        let set = self.limits.iter().map(|(setting, value)| {
            let value = value.map_or("off".into(), |value| value.to_string());
            format!("{}={value}", setting.flag)
        });
        off.map(|flag| format!("{flag}=off")).chain(set).collect()
    }

    /// The variables that give a worker the same limits: name and value. Control frames are the
    /// platform's there, and have no limit.
    pub fn vars(&self) -> Vec<(String, String)> {
        let flags = self.flags();
        let vars = flags.iter().filter_map(|flag| {
            let (name, value) = flag.strip_prefix("--")?.split_once('=')?;
            if name == "control-rate" {
                return None;
            }
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
        if let Some(file) = self.config_file() {
            vars.push(("ROOMCAST_CONFIG".into(), file.into()));
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
        let store = |word: &&str| *word == "store=on";
        let words = text.split_whitespace().filter(|word| !store(word));
        let settings = words.map(|word| parse(word).ok_or_else(|| SettingsError(word.into())));
        let limits = settings.collect::<Result<_, _>>()?;
        Ok(Self {
            limits,
            store: text.split_whitespace().any(|word| store(&word)),
            rooms: String::new(),
        })
    }
}
