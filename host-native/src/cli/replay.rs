//! `roomcast replay`: plays a recorded journal through the core, and prints the server's output.

mod files;
mod moment;
mod play;
pub(super) mod show;

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use roomcast_core::ConnId;

use self::{
    files::Source,
    moment::Moment,
    play::{Player, Stop},
    show::{Filter, Printer},
};
use super::client::endpoint::namespace;

const AFTER_HELP: &str = "\
One line for each input of the server and each thing that it did, in columns separated by tabs:
  TIME  NAMESPACE  NUMBER  start  RUN PART VERSION
  TIME  NAMESPACE  NUMBER  open   EPOCH
  TIME  NAMESPACE  NUMBER  input  INPUT
  TIME  NAMESPACE  NUMBER  send   CONN,CONN,...  FRAME
  TIME  NAMESPACE  NUMBER  close  CONN  CODE  REASON
  TIME  NAMESPACE  NUMBER  ping   CONN
NUMBER is that of the line in the journal: what an input led to has its number. Heartbeats and timers
that led to nothing are left out. A line break or a tab inside of a frame is printed as a space where it is
one in JSON, and as \\n or \\t elsewhere; other control characters as \\u001b, bytes of a binary frame as \\x1b.

`send` is what the server sent. A client that read too slowly may have got less: messages that were
dropped for it are not taken back here.

Examples:
  roomcast serve --record journal
  roomcast replay journal --room lobby --since 2026-07-13T10:15:00Z
  roomcast replay journal/20260713T101500.000Z-4711.*.jsonl --namespace default --conn 1048577
  zcat journal.jsonl.gz | roomcast replay -

It replays rooms. A namespace with an application of yours (a gateway) is refused, for what it said is
not in the journal: a program of yours replays it with roomcast_core::journal::Replay::with_gateways, or leave
it out with --namespace.

The last line of a run may be cut off, as by a crash or a full disk: that is a warning. Any other line
that does not fit is an error.

Exit codes: 0 replayed, 1 not readable, no journal or one with an application, 2 wrong usage.";

/// Replay a journal of `roomcast serve --record DIR`, and print what the server sent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// The journal: its folder, or files of it in their order; `-` is standard input
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print only the frames that were sent to this connection, one per line and nothing else; ids
    /// are given out per namespace, so add --namespace when the journal has several
    #[arg(long, value_name = "ID")]
    conn: Option<ConnId>,
    /// Print only what this namespace did
    #[arg(long, value_parser = namespace)]
    namespace: Option<String>,
    /// Print only what is about this room
    #[arg(long)]
    room: Option<String>,
    /// Print only from this time on: like 2026-07-13T10:15:00Z, or milliseconds of `at` in the
    /// journal
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Print only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
}

/// Replays, and prints.
pub(crate) fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    match replay(args) {
        // The reader of the output has seen enough, as in `| head`.
        Err(Stop::Output(fault)) if fault.kind() == io::ErrorKind::BrokenPipe => {}
        replayed => replayed?,
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(args: ReplayArgs) -> Result<(), Stop> {
    let mut printer = Printer::new(
        BufWriter::new(io::stdout().lock()),
        Filter {
            conn: args.conn,
            namespace: args.namespace,
            room: args.room,
            since: args.since,
            until: args.until,
        },
    );
    let played = play_all(&args.files, &mut printer);
    // Flushed even after an error: the output up to there is worth seeing.
    printer.flush().map_err(Stop::Output)?;
    played
}

fn play_all(paths: &[PathBuf], printer: &mut Printer<impl Write>) -> Result<(), Stop> {
    let mut player = Player::default();
    for path in paths {
        for source in Source::of(path)? {
            let name = source.name();
            if let Some(line) = player.play(&name, source.open()?, printer)? {
                say!(
                    "roomcast: warning: {name}, line {line} is cut off: all before it was replayed"
                );
            }
        }
    }
    Ok(())
}
