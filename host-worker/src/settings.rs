//! Settings of the Worker, from its variables and secrets.

use std::fmt;

use roomcast_core::{Limits, Policies};
use roomcast_hooks::{AskSettings, Hook, Key, KeySource, Keys};
use roomcast_http::{
    Access, ConfigFile,
    settings::{
        ACCESS, API_BODY_BYTES_MAX, Group, LIMITS, MESSAGE_TIME_MS, Setting, SettingError,
        api_body_bytes_max, check_limits, connections_max, message_time_ms, outbox_bytes_max,
        read_variables,
    },
};

use crate::{hooks::Backends, mount::policies_in_code};

/// The most WebSockets that the platform lets one object hold.
const SOCKETS_MAX: u16 = 32_768;

/// The most bytes of a message or a request's body where rooms keep a history. The platform allows
/// 2 MB in a row, which also has the head of the message and the connections that must not get it.
const KEPT_BYTES_MAX: usize = 1_400_000;

/// The settings, the same for the Worker and its objects.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    /// Policies of rooms; default none.
    pub(crate) policies: Policies,
    /// Backends that are told of events, and asked; default none.
    pub(crate) backends: Backends,
    /// The backends without their keys, which are in separate variables.
    told: Vec<Hook>,
    asked: Option<AskSettings>,
    /// Bytes of an API request's body.
    pub(crate) body_bytes_max: usize,
    /// The longest time for the body to arrive, in milliseconds.
    pub(crate) body_time_ms: u32,
    /// Bytes that are sent to a connection between two signs of life from it; default any number.
    ///
    /// The queues of the platform have no bound, and it does not report their length. A client that
    /// answers must have read most of what it was sent; but many clients only listen, and would be
    /// closed for that.
    pub(crate) outbox_bytes_max: Option<usize>,
}

/// The settings that the Worker has beside [`ACCESS`] and [`LIMITS`].
#[rustfmt::skip] // Few lines for each setting.
const TABLE: &[Setting<Settings>] = &[
    connections_max(SOCKETS_MAX as u64, |it: &mut Settings| &mut it.limits.connections),
    api_body_bytes_max(|it: &mut Settings| &mut it.body_bytes_max),
    message_time_ms(|it: &mut Settings| &mut it.body_time_ms),
    outbox_bytes_max(1 << 30, |it: &mut Settings| &mut it.outbox_bytes_max).or_off(),
    Setting::<Settings>::text("config", "TEXT", |_| String::new(), read_config)
        .help(Group::Rooms, "The file of the native server's --config, or the same as an object"),
];

impl Default for Settings {
    fn default() -> Self {
        let mut limits = Limits::default();
        limits.connections = SOCKETS_MAX.into();
        // A heartbeat keeps waking the object while anybody is connected: so it is off by default.
        limits.heartbeat = None;
        // Objects share 128 MB, and read the state of their rooms whenever they wake.
        limits.history_bytes = 16 << 20;
        limits.history_rooms = 1_000;
        Self {
            access: Access::default(),
            limits,
            policies: policies_in_code(),
            backends: Backends::default(),
            told: Vec::new(),
            asked: None,
            body_bytes_max: API_BODY_BYTES_MAX,
            body_time_ms: MESSAGE_TIME_MS,
            outbox_bytes_max: None,
        }
    }
}

impl Settings {
    /// Reads the variables.
    pub(crate) fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingError> {
        let mut settings = Self::default();
        read_variables(ACCESS, &mut settings.access, &variable)?;
        read_variables(LIMITS, &mut settings.limits, &variable)?;
        read_variables(TABLE, &mut settings, &variable)?;
        let read = |sources: &[KeySource]| {
            let keys = keys(sources, &variable);
            keys.map_err(|fault| SettingError::new("config", fault))
        };
        for hook in std::mem::take(&mut settings.told) {
            let keys = read(&hook.keys)?;
            settings.backends.told.push((hook, keys));
        }
        if let Some(asked) = settings.asked.take() {
            let keys = read(&asked.keys)?;
            settings.backends.asked = Some((asked, keys));
        }
        settings.check().map(|()| settings)
    }

    /// Checks the relations between settings.
    fn check(&self) -> Result<(), SettingError> {
        self.access.check()?;
        self.access.tokens.verifier()?;
        check_limits(&self.limits)?;
        let message_bytes = self.limits.message_bytes;
        let is_small = |max: usize| max / 2 < message_bytes;
        if self.outbox_bytes_max.is_some_and(is_small) {
            let fault = "must be at least twice what one message may have, or off";
            return Err(SettingError::new("outbox-bytes-max", fault));
        }
        let has_history = self.policies.iter().any(|policy| policy.history.is_some());
        let keeps = has_history || !self.backends.told.is_empty();
        let sizes = [
            ("message-bytes-max", message_bytes),
            ("api-body-bytes-max", self.body_bytes_max),
        ];
        for (name, bytes) in sizes {
            if keeps && bytes > KEPT_BYTES_MAX {
                let fault = format!(
                    "must be at most {KEPT_BYTES_MAX} where ROOMCAST_CONFIG or the code has `hooks`, \
                     or rooms with a `history`, what fits in a row of the platform's storage"
                );
                return Err(SettingError::new(name, fault));
            }
        }
        Ok(())
    }
}

fn read_config(settings: &mut Settings, text: &str) -> Result<(), String> {
    let unusable = |fault: &dyn fmt::Display| format!("cannot be used: {fault}");
    // A variable that is an object is read as its JSON, and no TOML file begins with a brace.
    if text.trim_start().starts_with('{') {
        let read = serde_json::from_str(text);
        settings.policies = read.map_err(|fault| unusable(&fault))?;
        return Ok(());
    }
    let file = ConfigFile::from_toml(text).map_err(|fault| unusable(&fault))?;
    let elsewhere = [
        (
            !file.api_keys.is_empty(),
            "`api_keys` is the secret ROOMCAST_API_KEY here",
        ),
        (
            !file.allow_origins.is_empty(),
            "`allow_origins` is ROOMCAST_ALLOW_ORIGIN here",
        ),
    ];
    if let Some((_, fault)) = elsewhere.iter().find(|(is_there, _)| *is_there) {
        return Err(unusable(fault));
    }
    (settings.policies, settings.told, settings.asked) = (file.policies, file.hooks, file.ask);
    Ok(())
}

/// The keys of a backend: texts, or the secrets that they name.
fn keys(sources: &[KeySource], variable: impl Fn(&str) -> Option<String>) -> Result<Keys, String> {
    let read = |source: &KeySource| {
        let (place, text) = match source {
            KeySource::Text(text) => ("`keys`".to_owned(), text.to_string()),
            KeySource::Env(name) => {
                let place = format!("the secret {name} of `keys`");
                let text = variable(name).ok_or_else(|| format!("{place} is not set"))?;
                (place, text)
            }
            KeySource::File(_) | _ => {
                let fault = "there are no files here: name a secret in `keys`, `env:NAME`";
                return Err(fault.to_owned());
            }
        };
        let key = text.trim().parse::<Key>();
        key.map_err(|fault| format!("{place}: {fault}"))
    };
    let keys = sources.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Keys::new(keys).map_err(|fault| fault.to_string())
}

/// Names of the variables that are read.
pub(crate) fn variables() -> impl Iterator<Item = String> {
    let access = ACCESS.iter().map(Setting::variable);
    let limits = LIMITS.iter().map(Setting::variable);
    let others = TABLE.iter().map(Setting::variable);
    access.chain(limits).chain(others)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CONFIG: &str = "ROOMCAST_CONFIG";

    fn settings(name: &str, value: &str) -> Result<Settings, SettingError> {
        Settings::from_variables(|other| (other == name).then(|| value.to_owned()))
    }

    fn names(fault: &SettingError, variable: &str) -> bool {
        fault
            .to_string()
            .starts_with(&format!("{variable} must be "))
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
        assert!(names(&bound("131071").expect_err("too few"), name));
    }

    #[test]
    fn token_keys_are_texts_and_no_files() {
        let name = "ROOMCAST_TOKEN_KEY";
        assert!(settings(name, "hs256:a secret of at least thirty-two bytes").is_ok());
        let said = settings(name, "key.pem").expect_err("a file").to_string();
        assert!(said.starts_with(name) && said.contains("hs256:"), "{said}");
        assert!(!said.contains("key.pem"), "{said}");
        let jwks = |url| settings("ROOMCAST_JWKS", url);
        assert!(jwks("https://a.com/jwks.json").is_ok());
        assert!(jwks("http://a.com/jwks.json").is_err());
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
    fn hooks_have_their_keys_in_secrets() {
        const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let read = |begin: &str, key: &str, secret: &str| {
            let hook = "[[hooks]]\ntell = \"https://a.example\"\nevents = [\"user.left\"]";
            let text = format!("{begin}{hook}\nkeys = [\"{key}\"]\n");
            let variable = |name: &str| match name {
                CONFIG => Some(text.clone()),
                "HOOK_KEY" => Some(secret.to_owned()).filter(|secret| !secret.is_empty()),
                _ => None,
            };
            Settings::from_variables(variable).map(|settings| settings.backends.told.len())
        };
        assert_eq!(read("", "env:HOOK_KEY", KEY), Ok(1));
        assert_eq!(read("", KEY, ""), Ok(1));
        for (begin, key, secret, fault) in [
            (
                "",
                "env:HOOK_KEY",
                "",
                "the secret HOOK_KEY of `keys` is not set",
            ),
            (
                "",
                "env:HOOK_KEY",
                "hush",
                "the secret HOOK_KEY of `keys`: a key is `whsec_`",
            ),
            ("", "file:key", "", "there are no files here: name a secret"),
            (
                "api_keys = [\"hush\"]\n",
                KEY,
                "",
                "the secret ROOMCAST_API_KEY",
            ),
            (
                "allow_origins = [\"https://b.example\"]\n",
                KEY,
                "",
                "ROOMCAST_ALLOW_ORIGIN here",
            ),
        ] {
            let said = read(begin, key, secret).expect_err(fault).to_string();
            assert!(said.starts_with(CONFIG) && said.contains(fault), "{said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[test]
    fn a_backend_to_ask_has_its_keys_in_secrets() {
        let text =
            "[ask]\nurl = \"https://a.example\"\non = [\"join\"]\nkeys = [\"env:ASK_KEY\"]\n";
        let read = |key: Option<&str>| {
            let variable = |name: &str| match name {
                CONFIG => Some(text.to_owned()),
                "ASK_KEY" => key.map(str::to_owned),
                _ => None,
            };
            Settings::from_variables(variable).map(|settings| settings.backends.asked)
        };
        let asked = read(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).expect("good");
        let (settings, _) = asked.expect("a backend");
        assert!(settings.on.join && !settings.on.connect);
        let said = read(None).expect_err("no key").to_string();
        let fault = "the secret ASK_KEY of `keys` is not set";
        assert!(said.starts_with(CONFIG) && said.contains(fault), "{said}");
    }

    #[test]
    fn what_a_history_keeps_fits_in_a_row() {
        let with = |rooms: &str, name: &str| {
            Settings::from_variables(|other| match other {
                CONFIG => Some(rooms.to_owned()),
                "ROOMCAST_INBOUND_BYTES_RATE" => Some("off".to_owned()),
                other => (other == name).then(|| "1400001".to_owned()),
            })
        };
        let kept = "[[rooms]]\nmatch = \"a\"\nhistory.messages = 300\n";
        for name in ["ROOMCAST_MESSAGE_BYTES_MAX", "ROOMCAST_API_BODY_BYTES_MAX"] {
            assert!(names(&with(kept, name).expect_err(name), name));
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
            assert!(names(&settings(name, value).expect_err(value), name));
        }
    }

    #[test]
    fn an_object_holds_no_more_than_the_platform_lets_it() {
        let name = "ROOMCAST_CONNECTIONS_MAX";
        assert_eq!(settings(name, "7").expect("valid").limits.connections, 7);
        for wrong in ["0", "32769"] {
            assert!(names(&settings(name, wrong).expect_err(wrong), name));
        }
    }

    #[test]
    fn the_document_has_each_variable_with_its_default() {
        let mut here = Settings::default();
        let limits = LIMITS.iter().map(|row| {
            let default = row.show(&mut here.limits);
            // What is as on the native server needs no number.
            let differs = default != row.show(&mut Limits::default());
            (row.variable(), differs.then_some(default))
        });
        let expected: Vec<_> = limits
            .chain(ACCESS.iter().map(|row| (row.variable(), None)))
            .chain(TABLE.iter().map(|row| (row.variable(), None)))
            .collect();
        let document = include_str!("../../docs/edge.md");
        let (_, section) = document.split_once("\n## Settings\n").expect("it");
        let (section, _) = section.split_once("\n## ").expect("its end");
        let rows = section.lines().filter_map(|line| {
            let (names, text) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((names.split("`, `").collect::<Vec<_>>(), text))
        });
        let rows: Vec<_> = rows.collect();
        let is_meant = |pattern: &str, variable: &str| match pattern.strip_suffix('*') {
            Some(begin) => variable[9..].starts_with(begin),
            None => variable[9..] == *pattern,
        };
        for (variable, default) in &expected {
            let has = rows
                .iter()
                .filter(|(names, _)| names.iter().any(|name| is_meant(name, variable)));
            let texts: Vec<_> = has.map(|(_, text)| *text).collect();
            let default = default.as_deref().unwrap_or_default();
            assert!(
                matches!(&*texts, [text] if text.contains(default)),
                "docs/edge.md must have one line for {variable} with {default:?}: {texts:?}"
            );
        }
        for name in rows.iter().flat_map(|(names, _)| names) {
            let is_read = expected
                .iter()
                .any(|(variable, _)| is_meant(name, variable));
            assert!(is_read, "docs/edge.md has {name}, which is not read");
        }
    }

    #[test]
    fn the_examples_of_a_deployment_are_good() {
        let wrangler = include_str!("../wrangler.toml");
        let examples = wrangler.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("# ROOMCAST_")?.split_once(" = \"")?;
            Some((format!("ROOMCAST_{name}"), value.trim_end_matches('"')))
        });
        let mut count = 0;
        for (name, value) in examples {
            assert!(variables().any(|read| read == name), "{name} is not read");
            assert!(settings(&name, value).is_ok(), "{name} = {value:?}");
            count += 1;
        }
        assert!(count >= 9, "{count} examples");
    }
}
