//! The command line.

#[macro_use]
mod say;

mod bench;
mod call;
mod client;
#[cfg(feature = "relay")]
mod cluster;
mod config;
mod doctor;
mod generate;
mod join;
mod key;
mod log;
mod replay;
mod serve;
mod token;
mod top;

use std::{error::Error, process::ExitCode};

use anyhow::Context;
use clap::{
    Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};
use tokio::runtime::Builder;

use self::client::failure::Failure;
pub(crate) use self::{say::panics, serve::Hangups};

/// Ends the help of a server's flags.
const VARIABLES: &str = "\
Each of these flags is also a variable, which the flag overrides: --inbound-rate is \
ROOMCAST_INBOUND_RATE. docs/settings.md has the range and the reason of each.";

/// Rooms over WebSockets: what is published to a room reaches its members, in order, once.
#[derive(Debug, Parser)]
#[command(name = "roomcast", version = env!("ROOMCAST_VERSION"), args_conflicts_with_subcommands = true)]
#[command(after_help = format!("\
Without a command, `roomcast` serves: open http://127.0.0.1:3000 and try it.

{VARIABLES}

Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 cannot connect."))]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve rooms over WebSockets, and the HTTP API (the default command).
    #[command(after_help = VARIABLES)]
    Serve(Box<serve::ServeArgs>),
    /// Send a message into rooms, over the HTTP API of a running server.
    Send(Box<call::send::SendArgs>),
    /// Explain why a connection did or did not get a message of a room's history.
    Explain(call::explain::ExplainArgs),
    /// Make a token for development, or read one.
    Token(Box<token::TokenArgs>),
    /// Join rooms in the terminal: prints frames, publishes the lines typed.
    Join(join::JoinArgs),
    /// Check the file of --config, print one with all settings, or explain what holds in a room.
    #[command(subcommand)]
    Config(config::command::ConfigArgs),
    /// Make a key for the HTTP API, and its hash for the server.
    Key(key::KeyArgs),
    /// Play a recorded journal through the core, and print what it sends.
    Replay(replay::ReplayArgs),
    /// Put load on a server of your own, and check that everything is delivered.
    Bench(bench::BenchArgs),
    /// Test the whole path to a server from outside, and say what to change where.
    Doctor(doctor::DoctorArgs),
    /// Show rooms, rates, queues and slow readers of a server, live.
    Top(top::TopArgs),
    /// Show the servers that share a relay, and what the relay has.
    #[cfg(feature = "relay")]
    Cluster(cluster::ClusterArgs),
    /// Print completions for a shell, or man pages.
    Generate(generate::GenerateArgs),
}

/// Parses a negative number as the value of the option before it, not as an option, so that the
/// error names that option.
fn with_negative_numbers(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_option = argument.get_long().is_some() && is_valued(&argument);
            match is_option {
                true => argument.allow_negative_numbers(true),
                false => argument,
            }
        })
        .mut_subcommands(with_negative_numbers)
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// The error that [`explain`] prints.
    pub(crate) fn read<I>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item: Into<std::ffi::OsString> + Clone>,
    {
        let command = with_negative_numbers(Self::command());
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    pub(crate) fn run(self, hangups: Option<Hangups>) -> ExitCode {
        let done = match self.command {
            None => self.serve.run(hangups, &Self::command()),
            Some(Action::Serve(args)) => args.run(hangups, &Self::command()),
            Some(Action::Send(args)) => block_on(call::send::run(*args)),
            Some(Action::Explain(args)) => block_on(call::explain::run(args)),
            Some(Action::Token(args)) => token::run(&args),
            Some(Action::Join(args)) => block_on(join::run(args)),
            Some(Action::Config(args)) => args.run(),
            Some(Action::Key(args)) => key::run(&args),
            Some(Action::Replay(args)) => replay::run(args),
            Some(Action::Bench(args)) => bench::run(args),
            Some(Action::Doctor(args)) => block_on(doctor::run(args)),
            Some(Action::Top(args)) => block_on(top::run(args)),
            #[cfg(feature = "relay")]
            Some(Action::Cluster(args)) => block_on(cluster::run(args)),
            Some(Action::Generate(args)) => generate::run(&args, Self::command()),
        };
        done.unwrap_or_else(|fault| {
            say!("roomcast: {fault:#}");
            let failure = fault.downcast_ref::<Failure>();
            ExitCode::from(failure.map_or(1, Failure::exit))
        })
    }
}

/// Runs a command that waits for a server.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the I/O runtime")?;
    runtime.block_on(command)
}

/// Prints help and versions as they are, and a mistake as one line that says what to change.
pub(crate) fn explain(fault: &clap::Error) -> ExitCode {
    if !fault.use_stderr() {
        fault.exit();
    }
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    say!("roomcast: {} (see --help)", mistake(fault, arguments));
    ExitCode::from(2)
}

/// Formats a mistake as one line, with a suggestion.
fn mistake(fault: &clap::Error, mut arguments: impl Iterator<Item = String>) -> String {
    // An error in a value names the flag, not the value, which may be a secret.
    if let (Some(ContextValue::String(flag)), Some(why)) =
        (fault.get(ContextKind::InvalidArg), fault.source())
    {
        return format!("{flag}: {why}");
    }
    let text = fault.to_string();
    let lines = text.split("\n\n").next().unwrap_or_default().lines();
    let lines: Vec<&str> = lines
        .map(|line| line.trim().trim_start_matches("error: "))
        .collect();
    let mut mistake = lines.join(" ");
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    #[allow(clippy::wildcard_enum_match_arm)] // the others are no names
    let meant = kinds.into_iter().find_map(|kind| match fault.get(kind)? {
        ContextValue::Strings(names) => names.first().cloned(),
        ContextValue::String(name) => Some(name.clone()),
        _ => None,
    });
    if let Some(ContextValue::String(unknown)) = fault.get(ContextKind::InvalidArg)
        && let Some(option) = before(unknown, &mut arguments)
    {
        mistake =
            format!("{option}: its value begins with a dash, write {option}=VALUE: {mistake}");
    } else if let Some(meant) = meant {
        mistake = format!("{mistake}: `{meant}` may be meant");
    }
    mistake
}

/// The option that takes a value and comes right before an unknown one with a single dash.
fn before(unknown: &str, arguments: &mut impl Iterator<Item = String>) -> Option<String> {
    let mut last: Option<String> = None;
    let unknown = unknown
        .strip_prefix('-')
        .filter(|rest| !rest.starts_with('-'))?;
    for argument in arguments {
        let short = argument
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'));
        if short.is_some_and(|rest| rest.starts_with(unknown)) {
            return last.filter(|option| takes_value(&Cli::command(), option));
        }
        last = Some(argument);
    }
    None
}

fn takes_value(command: &Command, option: &str) -> bool {
    let Some(name) = option.strip_prefix("--") else {
        return false;
    };
    let mut arguments = command.get_arguments();
    let mut commands = command.get_subcommands();
    arguments.any(|argument| argument.get_long() == Some(name) && is_valued(argument))
        || commands.any(|command| takes_value(command, option))
}

fn is_valued(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_negative_number_is_the_fault_of_its_option() {
        for (option, command) in [
            ("--inbound-rate", &["serve"][..]),
            ("--threads", &[]),
            ("--heartbeat-ms", &[]),
            ("--connections-max", &["serve"]),
            ("--rate", &["bench"]),
            ("--payload-bytes", &["bench"]),
        ] {
            let line = [&["roomcast"], command, &[option, "-1"]].concat();
            let fault = Cli::read(line).expect_err(option);
            let Some(ContextValue::String(named)) = fault.get(ContextKind::InvalidArg) else {
                panic!("{option}: {fault}");
            };
            assert!(named.starts_with(option), "{named}");
        }
    }

    #[test]
    fn a_mistake_says_what_may_be_meant() {
        for (line, says) in [
            ("--inbound-rat 5", "`--inbound-rate` may be meant"),
            ("serve --allow-origins x", "`--allow-origin` may be meant"),
            ("srve", "`serve` may be meant"),
            ("--store-sync secnd --store d", "second, always"),
            (
                "--inbound-rate -fast",
                "--inbound-rate: its value begins with a dash",
            ),
            ("--log -v", "--log: its value begins with a dash"),
        ] {
            let line = || {
                ["roomcast"]
                    .into_iter()
                    .chain(line.split(' '))
                    .map(str::to_owned)
            };
            let fault = Cli::read(line()).expect_err(says);
            let said = mistake(&fault, line());
            assert!(said.contains(says) && said.lines().count() == 1, "{said}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_is_the_fault_of_its_flag() {
        use std::{ffi::OsString, os::unix::ffi::OsStringExt};

        for flag in ["--store", "--record", "--config"] {
            let path = OsString::from_vec(b"/srv/caf\xe9".to_vec());
            let line = ["roomcast".into(), "serve".into(), flag.into(), path];
            let fault = Cli::read(line).expect_err(flag);
            let said = mistake(&fault, std::iter::empty());
            assert!(said.starts_with(&format!("{flag} <")), "{said}");
            assert!(said.contains("must be text in UTF-8"), "{said}");
        }
    }

    #[test]
    fn serving_needs_no_command() {
        let bare = Cli::try_parse_from(["roomcast", "--record", "j.log"]).expect("valid");
        assert!(bare.command.is_none());
        let named = Cli::try_parse_from(["roomcast", "serve", "--threads", "2"]).expect("valid");
        assert!(matches!(named.command, Some(Action::Serve(_))));
    }
}
