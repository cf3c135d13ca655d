//! The command line.

mod bench;
mod join;
mod replay;
mod send;
mod serve;

use std::{error::Error, process::ExitCode};

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

/// Rooms over WebSockets: what is published to a room reaches its members, in order, once.
///
/// Without a command, `roomcast` serves: open http://127.0.0.1:3000 and try it.
#[derive(Debug, Parser)]
#[command(name = "roomcast", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage or settings; 3 cannot connect."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve rooms over WebSockets, and the HTTP API (the default command).
    Serve(Box<serve::ServeArgs>),
    /// Send a message into rooms, over the HTTP API of a running server.
    Send(Box<send::SendArgs>),
    /// Join rooms in the terminal: prints frames, publishes the lines typed.
    Join(join::JoinArgs),
    /// Play a recorded journal through the core, and print what it sends.
    Replay(replay::ReplayArgs),
    /// Put load on a server of your own, and check that everything is delivered.
    Bench(bench::BenchArgs),
}

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        let done = match self.command {
            None => self.serve.run(),
            Some(Action::Serve(args)) => args.run(),
            Some(Action::Send(args)) => send::run(*args),
            Some(Action::Join(args)) => join::run(args),
            Some(Action::Replay(args)) => replay::run(args),
            Some(Action::Bench(args)) => bench::run(args),
        };
        done.unwrap_or_else(|fault| {
            eprintln!("roomcast: {fault:#}");
            ExitCode::FAILURE
        })
    }
}

/// Prints help and versions as they are, and of a mistake the one line that says what to change.
pub(crate) fn explain(fault: &clap::Error) -> ExitCode {
    if !fault.use_stderr() {
        fault.exit();
    }
    // Of a bad value the flag is named and not the value, which may be a secret.
    if let (Some(ContextValue::String(flag)), Some(why)) =
        (fault.get(ContextKind::InvalidArg), fault.source())
    {
        eprintln!("roomcast: {flag}: {why} (see --help)");
        return ExitCode::from(2);
    }
    let text = fault.to_string();
    let mistake: Vec<&str> = text
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| line.trim().trim_start_matches("error: "))
        .collect();
    eprintln!("roomcast: {} (see --help)", mistake.join(" "));
    ExitCode::from(2)
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
    fn serving_needs_no_command() {
        let bare = Cli::try_parse_from(["roomcast", "--record", "j.log"]).expect("valid");
        assert!(bare.command.is_none());
        let named = Cli::try_parse_from(["roomcast", "serve", "--threads", "2"]).expect("valid");
        assert!(matches!(named.command, Some(Action::Serve(_))));
    }
}
