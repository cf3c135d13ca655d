//! Variables of the environment that look like settings and are none.

use clap::{Command, CommandFactory};

/// Prefix of all settings of this program.
const PREFIX: &str = "ROOMCAST_";
/// Variables of what is around the program: the tests, the build of the Worker.
const OTHERS: [&str; 3] = ["ROOMCAST_BIN", "ROOMCAST_MANIFEST_PATH", "ROOMCAST_PACKAGE"];

/// A variable that nothing reads, and the one that it looks like.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) name: String,
    pub(super) nearest: Option<String>,
}

/// The variables that nothing reads, out of all that are set.
pub(super) fn strays(set: impl Iterator<Item = String>) -> Vec<Stray> {
    let known = known();
    let unread = set
        .filter(|name| name.starts_with(PREFIX) && !is_of_a_cluster(name) && !known.contains(name));
    let mut strays: Vec<_> = unread
        .map(|name| Stray {
            nearest: nearest(&name, &known),
            name,
        })
        .collect();
    strays.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    strays
}

/// The names that this program reads.
fn known() -> Vec<String> {
    fn gather(command: &Command, names: &mut Vec<String>) {
        let of_arguments = command
            .get_arguments()
            .filter_map(|argument| argument.get_env());
        names.extend(of_arguments.map(|name| name.to_string_lossy().into_owned()));
        for command in command.get_subcommands() {
            gather(command, names);
        }
    }
    let mut names: Vec<_> = OTHERS.map(str::to_owned).into();
    gather(&super::Cli::command(), &mut names);
    names
}

/// True when Kubernetes or Docker sets it, for a service or a container that is called `roomcast`.
fn is_of_a_cluster(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    rest == "PORT"
        || rest == "NAME"
        || ["PORT_", "SERVICE_", "ENV_"]
            .iter()
            .any(|begin| rest.starts_with(begin))
}

fn nearest(name: &str, known: &[String]) -> Option<String> {
    /// Below, the two have not more in common than any two.
    const LIKENESS_MIN: f64 = 0.7;
    let likeness = |other: &String| {
        let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        strsim::normalized_damerau_levenshtein(&bare(name), &bare(other))
            .max(strsim::jaro(&bare(name), &bare(other)) - 0.1)
    };
    known
        .iter()
        .filter(|other| !OTHERS.contains(&&***other))
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, other)| other.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_variable_is_found_with_the_one_it_means() {
        let set = [
            "PATH",
            "ROOMCAST_API_KEY",
            "ROOMCAST_API_KEYS",
            "ROOMCAST_ALLOWED_ORIGINS",
            "ROOMCAST_ALLOW_ORIGINS",
            "ROOMCAST_INBOUNDRATE",
            "ROOMCAST_LISTEN",
            "ROOMCAST_LISTENN",
            "ROOMCAST_URL",
            "ROOMCAST_ZEBRA",
            "ROOMCAST_PORT",
            "ROOMCAST_PORT_3000_TCP_ADDR",
            "ROOMCAST_SERVICE_HOST",
            "ROOMCAST_BIN",
        ];
        let strays = strays(set.into_iter().map(str::to_owned));
        let found: Vec<_> = strays
            .iter()
            .map(|stray| (&*stray.name, stray.nearest.as_deref()))
            .collect();
        assert_eq!(
            found,
            [
                ("ROOMCAST_ALLOWED_ORIGINS", Some("ROOMCAST_ALLOW_ORIGIN")),
                ("ROOMCAST_ALLOW_ORIGINS", Some("ROOMCAST_ALLOW_ORIGIN")),
                ("ROOMCAST_API_KEYS", Some("ROOMCAST_API_KEY")),
                ("ROOMCAST_INBOUNDRATE", Some("ROOMCAST_INBOUND_RATE")),
                ("ROOMCAST_LISTENN", Some("ROOMCAST_LISTEN")),
                ("ROOMCAST_ZEBRA", None),
            ]
        );
    }
}
