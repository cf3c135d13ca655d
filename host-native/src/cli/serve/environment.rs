//! Environment variables that look like settings, but are not read.

use clap::Command;

/// Prefix of all settings of this program.
const PREFIX: &str = "ROOMCAST_";
/// Variables of the tests and of the Worker's build.
const OTHERS: [&str; 4] = [
    "ROOMCAST_BIN",
    "ROOMCAST_BLESS",
    "ROOMCAST_MANIFEST_PATH",
    "ROOMCAST_PACKAGE",
];
/// Settings that give more access. They are not suggested for a merely similar name.
const OPENING: [&str; 5] = [
    "ANONYMOUS",
    "INSECURE",
    "KEYLESS_API",
    "TRUSTED_PROXY",
    "USER_HEADER",
];
/// The settings that take a port, as a hint names them.
const PORT: &str = "PORT, or ROOMCAST_LISTEN (--listen),";

/// Settings, and the names that other programs use for them, without underscores.
#[rustfmt::skip] // A line for each setting.
const SYNONYMS: [(&str, &str); 15] = [
    ("API_KEY", "KEY KEYS TOKEN TOKENS APITOKEN SECRET APISECRET PASSWORD AUTH"),
    ("LISTEN", "HOST ADDR ADDRESS BIND BINDADDR BINDADDRESS INTERFACE IP HTTPADDR"),
    ("ALLOW_ORIGIN", "ORIGIN ORIGINS CORS CORSORIGIN CORSORIGINS CORSALLOWORIGIN"),
    ("ALLOW_HOST", "HOSTS HOSTNAME TRUSTEDHOSTS"),
    ("LOG", "LOGLEVEL LOGFILTER LOGGING LEVEL VERBOSITY RUSTLOG DEBUG"),
    ("NAMESPACES", "NAMESPACE NS"),
    ("STORE", "STOREDIR STOREPATH STORAGE DATA DATADIR DB DATABASE"),
    ("CONFIG", "CONFIGFILE CONFIGPATH CONF POLICIES ROOMS"),
    ("RECORD", "RECORDDIR JOURNAL JOURNALDIR"),
    ("THREADS", "THREAD WORKERS CPUS"),
    ("CONNECTIONS_MAX", "MAXCONNECTIONS CONNECTIONS CONNECTIONLIMIT CONNECTIONSLIMIT"),
    ("HEARTBEAT_MS", "HEARTBEAT HEARTBEATS PING PINGINTERVAL"),
    ("KEEP_ALIVE_MS", "KEEPALIVE KEEPALIVES IDLETIMEOUT"),
    ("MESSAGE_BYTES_MAX", "MAXMESSAGESIZE MAXPAYLOAD MAXPAYLOADBYTES"),
    ("KEYLESS_API", "KEYLESS"),
];

/// A variable that is not read, and the setting that may be meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) name: String,
    pub(super) nearest: Option<String>,
}

/// Finds variables that look like settings of the server, but are not read. `set` are all variables
/// that are set, by name and value; `program` has the commands and their variables.
pub(super) fn strays(program: &Command, set: impl Iterator<Item = (String, String)>) -> Vec<Stray> {
    let known = read_by(program, |command| command == "serve");
    let of_other_commands = read_by(program, |command| command != "serve");
    let mut strays = Vec::new();
    for (name, value) in set {
        let Some((bare, prefixed)) = bare(&name) else {
            continue;
        };
        let has_reader = known.contains(&name) || OTHERS.contains(&&*name);
        if has_reader || is_of_a_cluster(&name, &value) {
            continue;
        }
        let nearest = match &*bare {
            "PORT" | "HTTP_PORT" => Some(PORT.to_owned()),
            bare => nearest(bare, prefixed, &known),
        };
        // Other commands may be used in the same shell, and other programs may have similar names.
        if nearest.is_some() || (prefixed && !of_other_commands.contains(&name)) {
            strays.push(Stray { name, nearest });
        }
    }
    strays.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    strays
}

/// The name of a variable that may be meant for this program, without the prefix, in upper case and
/// with underscores; and `false` when the underscore after the prefix is missing.
fn bare(name: &str) -> Option<(String, bool)> {
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let rest = name.strip_prefix("ROOMCAST");
    let rest = rest.or_else(|| name.strip_prefix("ROOM_CAST"))?;
    let bare = rest.trim_matches('_');
    (!bare.is_empty()).then(|| (bare.to_owned(), rest.starts_with('_')))
}

/// The names of the variables that the chosen commands read.
fn read_by(program: &Command, is_one: impl Fn(&str) -> bool) -> Vec<String> {
    let commands = program.get_subcommands();
    let commands = commands.filter(|command| is_one(command.get_name()));
    let arguments = commands.flat_map(Command::get_arguments);
    let names = arguments.filter_map(|argument| argument.get_env());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// True when Kubernetes or Docker sets the variable, for a service or container named `roomcast`.
/// Their `ROOMCAST_PORT` is an address; a number is a mistake of the user.
fn is_of_a_cluster(name: &str, value: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    let value = value.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    rest == "NAME"
        || rest == "PORT" && !is_number
        || ["PORT_", "SERVICE_", "ENV_"]
            .iter()
            .any(|begin| rest.starts_with(begin))
}

/// The setting that a name without the prefix may mean.
fn nearest(bare: &str, prefixed: bool, known: &[String]) -> Option<String> {
    /// The smallest likeness of a suggestion: below it, any two names may be alike by chance.
    const LIKENESS_MIN: f64 = 0.7;
    let squashed = |name: &str| name.replace('_', "");
    let settings = || {
        let bare = known.iter().filter_map(|name| name.strip_prefix(PREFIX));
        bare.filter(|setting| *setting != "INSECURE")
    };
    let same = settings().find(|setting| squashed(setting) == squashed(bare));
    let synonym = || {
        let mut synonyms = SYNONYMS.iter();
        let meant = synonyms.find(|(_, words)| words.split(' ').any(|word| word == squashed(bare)));
        meant.map(|(setting, _)| *setting)
    };
    let like = || {
        let likeness = |setting: &str| {
            strsim::normalized_damerau_levenshtein(bare, setting)
                .max(strsim::jaro(bare, setting) - 0.1)
        };
        let others = settings().filter(|setting| !OPENING.contains(setting));
        let likely = others.map(|setting| (likeness(setting), setting));
        let likely = likely.filter(|(likeness, _)| prefixed && *likeness >= LIKENESS_MIN);
        let most = likely.max_by(|(a, _), (b, _)| a.total_cmp(b));
        most.map(|(_, setting)| setting)
    };
    let setting = same.or_else(synonym).or_else(like)?;
    Some(format!("{PREFIX}{setting}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn found(set: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
        let set = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let strays = strays(&crate::cli::Cli::command(), set).into_iter();
        strays.map(|stray| (stray.name, stray.nearest)).collect()
    }

    #[test]
    fn a_misspelt_variable_is_found_with_the_one_it_means() {
        for (name, meant) in [
            ("ROOMCAST_ALLOWED_ORIGINS", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ALLOW_ORIGINS", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ALLOWORIGIN", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ALLOW_ORIGlN", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ORIGIN", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ORIGINS", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_CORS_ORIGIN", Some("ALLOW_ORIGIN")),
            ("ROOMCAST_ALLOWED_HOSTS", Some("ALLOW_HOST")),
            ("ROOMCAST_API_KEYS", Some("API_KEY")),
            ("ROOMCAST_APIKEY", Some("API_KEY")),
            ("ROOMCAST_API-KEY", Some("API_KEY")),
            ("ROOMCAST_KEY", Some("API_KEY")),
            ("ROOMCAST_TOKEN", Some("API_KEY")),
            ("ROOMCAST_SECRET", Some("API_KEY")),
            ("ROOMCAST_ADDR", Some("LISTEN")),
            ("ROOMCAST_ADDRESS", Some("LISTEN")),
            ("ROOMCAST_BIND", Some("LISTEN")),
            ("ROOMCAST_HOST", Some("LISTEN")),
            ("ROOMCAST_LISTENN", Some("LISTEN")),
            ("roomcast_listen", Some("LISTEN")),
            ("Roomcast_Listen", Some("LISTEN")),
            ("ROOMCASTLISTEN", Some("LISTEN")),
            ("ROOMCAST-LISTEN", Some("LISTEN")),
            ("ROOM_CAST_LISTEN", Some("LISTEN")),
            ("RoomCast_API_KEY", Some("API_KEY")),
            ("ROOMCAST_LOG_LEVEL", Some("LOG")),
            ("ROOMCAST_LOGLEVEL", Some("LOG")),
            ("ROOMCAST_NAMESPACE", Some("NAMESPACES")),
            ("ROOMCAST_INBOUNDRATE", Some("INBOUND_RATE")),
            ("ROOMCAST__INBOUND_RATE", Some("INBOUND_RATE")),
            ("ROOMCAST_INBOUND_RATE_", Some("INBOUND_RATE")),
            ("ROOMCAST_MAX_CONNECTIONS", Some("CONNECTIONS_MAX")),
            ("ROOMCAST_STORE_DIR", Some("STORE")),
            ("ROOMCAST_STORAGE", Some("STORE")),
            ("ROOMCAST_CONFIG_FILE", Some("CONFIG")),
            ("ROOMCAST_THREAD", Some("THREADS")),
            ("ROOMCAST_HEARTBEAT", Some("HEARTBEAT_MS")),
            ("ROOMCAST_HEARTBEAT_S", Some("HEARTBEAT_MS")),
            ("ROOMCAST_KEEPALIVE_MS", Some("KEEP_ALIVE_MS")),
            ("ROOMCAST_PAGES", Some("PAGE")),
            ("ROOMCAST_METRIC", Some("METRICS")),
            ("ROOMCAST_KEYLESSAPI", Some("KEYLESS_API")),
            ("ROOMCAST_ZEBRA", None),
            ("roomcast_zebra", None),
        ] {
            let meant = meant.map(|meant| format!("{PREFIX}{meant}"));
            assert_eq!(found(&[(name, "x")]), [(name.to_owned(), meant)], "{name}");
        }
    }

    #[test]
    fn what_is_read_or_is_another_programs_is_no_stray() {
        let set = [
            "PATH",
            "ROOMCAST",
            "ROOMCAST_",
            "ROOMCASTER_HOME",
            "ROOMCAST_API_KEY",
            "ROOMCAST_LISTEN",
            "ROOMCAST_INSECURE",
            "ROOMCAST_BIN",
            // Of the commands `send` and `join`; no setting of a server is like it.
            "ROOMCAST_URL",
            "ROOMCAST_NAME",
            "ROOMCAST_PORT_3000_TCP_ADDR",
            "ROOMCAST_SERVICE_HOST",
            "ROOMCAST_ENV_HOME",
        ];
        let set: Vec<_> = set.into_iter().map(|name| (name, "x")).collect();
        assert_eq!(found(&set), []);
        assert_eq!(found(&[("ROOMCAST_PORT", "tcp://10.0.0.1:3000")]), []);
    }

    #[test]
    fn a_port_that_is_a_number_is_meant_for_this_program() {
        for name in ["ROOMCAST_PORT", "roomcast_port", "ROOMCAST_HTTP_PORT"] {
            let stray = (name.to_owned(), Some(PORT.to_owned()));
            assert_eq!(found(&[(name, "8080")]), [stray]);
        }
    }

    /// A user who sets a secret wants to let fewer people in.
    #[test]
    fn what_opens_a_server_is_never_guessed() {
        for name in [
            "SECRET",
            "SECURE",
            "INSECURED",
            "INSECURE_",
            "UNSECURE",
            "SECURITY",
            "KEYLESS_APP",
            "KEYLESS_APIS",
            "NSECURE",
        ] {
            let name = format!("{PREFIX}{name}");
            for (_, nearest) in found(&[(&name, "x")]) {
                let nearest = nearest.unwrap_or_default();
                let opens = OPENING.iter().any(|setting| nearest.ends_with(setting));
                assert!(!opens, "{name}: {nearest}");
            }
        }
    }

    #[test]
    fn each_synonym_is_of_a_setting() {
        let known = read_by(&crate::cli::Cli::command(), |command| command == "serve");
        for (setting, words) in SYNONYMS {
            assert!(known.contains(&format!("{PREFIX}{setting}")), "{setting}");
            for word in words.split(' ') {
                assert!(!known.contains(&format!("{PREFIX}{word}")), "{word}");
            }
        }
    }
}
