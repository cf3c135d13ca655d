//! The limits of a trace: for the core, as flags of the server, and as variables of the Worker.

use std::str::FromStr;

use roomcast_core::{Limits, Policies, queue::QueueLimits};
use roomcast_http::{
    policies_from_toml,
    settings::{Group, LIMITS, Setting, connections_max, outbox_bytes_max},
};

use crate::{Core, op::KEY};

/// The limits of a story that differ from the defaults of stories.
///
/// Stories run without rate limits, so that they may be dense; other limits have their usual
/// defaults. They are written as `rooms_per_connection=2 inbound_rate=off`; `store=on` asks for
/// histories that outlive the server, `tokens=on` for clients that show a token first.
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
    /// Names of settings, and their values.
    limits: Vec<(&'static str, String)>,
    store: bool,
    tokens: bool,
    /// TOML.
    rooms: String,
}

/// The error for an unknown setting, or a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a setting: {0}")]
pub struct SettingsError(String);

/// Limits that the host and not the core applies, at least on some hosts.
#[derive(Debug, Default)]
struct Host {
    connections: usize,
    queues: QueueLimits,
}

#[rustfmt::skip] // Few lines for each setting.
const HOST: &[Setting<Host>] = &[
    connections_max(1 << 20, |it: &mut Host| &mut it.connections),
    outbox_bytes_max(1 << 32, |it: &mut Host| &mut it.queues.bytes_max),
    Setting::<Host>::number("outbox-frames-max", 1..=1 << 20, |it| &mut it.queues.frames_max)
        .help(Group::Outbound, "Frames queued for one connection"),
];

/// Finds the setting that a trace names, without its `-max`, if it can have this value.
fn find<T: Default>(table: &[Setting<T>], word: &str, value: &str) -> Option<&'static str> {
    let setting = table.iter().find(|setting| {
        let name = setting.name.replace('-', "_");
        name.strip_suffix("_max").unwrap_or(&name) == word
    })?;
    let read = setting.read(&mut T::default(), value);
    read.is_ok().then_some(setting.name)
}

impl Settings {
    /// True when no setting differs from its default.
    pub const fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.rooms.is_empty() && !self.store && !self.tokens
    }

    /// Adds policies for rooms, one per line as in a trace: the pattern, then keys of the file
    /// format.
    ///
    /// ```
    /// use roomcast_tests::Settings;
    ///
    /// let policy = "chat:* history.messages=3 presence=members";
    /// let settings = Settings::default().with_rooms(policy)?;
    /// assert!(settings.policies().of("chat:1").is_some());
    /// let file = settings.config_file().unwrap_or_default();
    /// assert!(file.contains("history.messages = 3"));
    /// # Ok::<(), roomcast_tests::SettingsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When a line is not a policy.
    pub fn with_rooms(mut self, lines: &str) -> Result<Self, SettingsError> {
        for line in lines.split('\n') {
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
        }
        match policies_from_toml(&self.rooms) {
            Ok(_) => Ok(self),
            Err(fault) => Err(SettingsError(fault.to_string())),
        }
    }

    /// The policies of rooms for the core.
    pub fn policies(&self) -> Policies {
        // The text was checked when it was set.
        policies_from_toml(&self.rooms).unwrap_or_default()
    }

    /// The content of the file that gives a host the same policies; `None` when there are none.
    pub fn config_file(&self) -> Option<&str> {
        (!self.rooms.is_empty()).then_some(&*self.rooms)
    }

    /// The limits for the core.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (None, None);
        self.read(LIMITS, &mut limits);
        if self.value("connections-max").is_some() {
            limits.connections = self.host().connections;
        }
        limits
    }

    /// The limits of each connection's queue.
    pub fn queues(&self) -> QueueLimits {
        self.host().queues
    }

    fn host(&self) -> Host {
        let mut host = Host::default();
        self.read(HOST, &mut host);
        host
    }

    /// Applies the values that are set; each was checked when it was set.
    fn read<T>(&self, table: &[Setting<T>], target: &mut T) {
        for setting in table {
            if let Some(value) = self.value(setting.name) {
                let read = setting.read(target, value);
                debug_assert_eq!(read, Ok(()));
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut limits = self.limits.iter().rev();
        let found = limits.find(|(other, _)| *other == name);
        found.map(|(_, value)| &**value)
    }

    /// The key of tokens for a host; `None` when clients need to show none.
    pub fn token_key(&self) -> Option<&'static str> {
        self.tokens.then_some(KEY)
    }

    /// The in-process core with these settings.
    pub fn core(&self) -> Core {
        Core::new(&self.limits())
            .with_policies(self.policies())
            .with_queues(self.queues())
            .with_store(self.store)
            .with_tokens(self.tokens)
    }

    /// The flags that give `roomcast serve` the same limits; one with a store needs a folder for
    /// it.
    pub fn flags(&self) -> Vec<String> {
        let off = ["inbound-rate", "inbound-bytes-rate", "control-rate"];
        let off = off.into_iter().filter(|name| self.value(name).is_none());
        let off = off.map(|name| format!("--{name}=off"));
        let set = self.limits.iter();
        let key = self.token_key().map(|key| format!("--token-key={key}"));
        off.chain(set.map(|(name, value)| format!("--{name}={value}")))
            .chain(key)
            .collect()
    }

    /// The variables that give a Worker the same limits, by name and value. The platform handles
    /// control frames there, so they have no limit.
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
        // A Worker has no heartbeat by default.
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
            let name = find(LIMITS, name, value).or_else(|| find(HOST, name, value))?;
            Some((name, value.to_owned()))
        };
        let switch = |word: &&str| ["store=on", "tokens=on"].contains(word);
        let words = text.split_whitespace().filter(|word| !switch(word));
        let is_on = |name: &str| text.split_whitespace().any(|word| word == name);
        let settings = words.map(|word| parse(word).ok_or_else(|| SettingsError(word.into())));
        let limits = settings.collect::<Result<_, _>>()?;
        Ok(Self {
            limits,
            store: is_on("store=on"),
            tokens: is_on("tokens=on"),
            rooms: String::new(),
        })
    }
}
