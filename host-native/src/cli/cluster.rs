//! `roomcast cluster`: the servers that share a relay, and the rooms in it.

mod nodes;
mod rooms;
mod server;
mod source;
mod table;

use std::process::ExitCode;

use anyhow::Context;
use roomcast_relay::{Inspector, RelayError, Settings, StartError};
use serde::Serialize;

use self::source::Source;
use super::{client::failure::Failure, say};

const AFTER_HELP: &str = "\
It asks the relay itself, with the settings that servers have; nothing is written. Connections and
namespaces are as of a server's last heartbeat, at most some seconds ago.

Examples:
  roomcast cluster --relay redis://10.0.0.7:6379
  roomcast cluster --config /etc/roomcast/roomcast.toml --json | jq '.nodes[].host'
  roomcast cluster rooms default
  roomcast cluster rooms default chat:lobby --json

Exit codes: 0 answered, 1 refused or failed, 2 wrong usage, 3 cannot connect.";

/// Show the servers that share a relay, and what the relay has
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show positions of rooms: epoch, offset, kept messages, users
    #[command(after_help = AFTER_HELP)]
    Rooms(rooms::RoomsArgs),
}

/// Asks the relay, and prints the answer.
///
/// # Errors
///
/// A [`Failure`] that the user can do something about, or a fault of this machine.
pub(crate) async fn run(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    match args.what {
        None => {
            let (mut relay, settings) = connect(&args.source).await?;
            let answer = nodes::read(&mut relay, &settings).await?;
            print(&answer, args.source.json, nodes::lines)?;
        }
        Some(What::Rooms(rooms)) => {
            let (mut relay, _) = connect(&rooms.source).await?;
            let answer = rooms::read(&mut relay, &rooms).await?;
            print(&answer, rooms.source.json, rooms::lines)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn connect(source: &Source) -> Result<(Inspector, Settings), Failure> {
    let settings = source.settings()?;
    let relay = Inspector::connect(&settings).await.map_err(unreachable)?;
    Ok((relay, settings))
}

fn print<T: Serialize>(
    answer: &T,
    is_json: bool,
    lines: impl FnOnce(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    let text = match is_json {
        true => serde_json::to_string(answer)?,
        false => lines(answer).join("\n"),
    };
    say::result(format_args!("{text}")).context("cannot write the answer")
}

fn unreachable(fault: StartError) -> Failure {
    if let StartError::Unreachable { url, source } = &fault
        && !(source.is_io_error() || source.is_timeout())
    {
        return Failure::failed(format_args!(
            "{url} refused: {source}\n  Give its user and password: --relay redis://USER:PASSWORD@HOST:PORT"
        ));
    }
    Failure::unreachable(format_args!(
        "{fault}\n  Check --relay, or ROOMCAST_RELAY, and that this machine may connect there"
    ))
}

fn refused(fault: RelayError) -> Failure {
    Failure::failed(format_args!(
        "{fault}\n  The user of --relay needs +info, +scan, and to read the keys below --relay-prefix"
    ))
}
