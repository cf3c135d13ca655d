//! `roomcast explain`: why a connection got a message or did not, as a running server knows it.

use std::{fmt::Write, process::ExitCode};

use anyhow::Context;
use hyper::Request;
use roomcast_core::{ConnId, policy::Right};
use serde::Deserialize;

use crate::cli::{
    client::{
        api::{Doubts, Server},
        failure::Failure,
    },
    say,
};

const AFTER_HELP: &str = "\
Examples:
  roomcast explain --room chat:lobby --offset 7 --conn 1048577
  roomcast explain --room chat:lobby --from 1048576 --conn 1048577
  roomcast explain --room chat:lobby --right join --conn 1048577

The answer is one line that begins with `received`, `not received` or `unknown`, such as
  not received (joined_after): the connection joined the room after the message, at offset 9,
  without recovering it

Exit codes: 0 answered (`unknown`, too), 1 refused or failed, 2 wrong usage, 3 cannot connect.";

/// Explain why a connection did or did not get a message of a room's history
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ExplainArgs {
    /// Room of the message; for `--offset` its policy keeps a history
    #[arg(long)]
    room: String,
    /// `offset` of the message
    #[arg(
        long,
        value_parser = clap::value_parser!(u64).range(1..),
        required_unless_present_any = ["right", "from"]
    )]
    offset: Option<u64>,
    /// Explain the next message of this connection in place of one that was published
    #[arg(long, value_name = "ID", conflicts_with_all = ["offset", "right"])]
    from: Option<ConnId>,
    /// Explain a right in place of a message: join, publish, presence or history
    #[arg(long, conflicts_with = "offset")]
    right: Option<Right>,
    /// Connection, which may have ended: the id that `$welcome` and `from` name
    #[arg(long, value_name = "ID")]
    conn: ConnId,
    /// Print the answer as it came, in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// The part of the answer that is printed.
#[derive(Debug, Deserialize)]
struct Answer {
    received: Option<bool>,
    allowed: Option<bool>,
    reason: String,
    text: String,
}

/// Asks, and prints the answer.
///
/// # Errors
///
/// A [`Failure`] that can be fixed by the user or at the server, or a fault of this machine.
pub(crate) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let path = args.server.path("explain");
    let query = query(&args);
    let request = Request::get(format!("{path}?{query}"));
    let body = args.server.call(request, String::new(), DOUBTS).await?;
    // Another kind of server may answer 200 to anything.
    let answer: Answer = serde_json::from_str(&body).map_err(|_| {
        Failure::failed(format_args!(
            "{} is no Roomcast server: its answer is not an explanation\n  Check --url",
            args.server.url
        ))
    })?;
    let printed = if args.json {
        say::result(format_args!("{body}"))
    } else {
        say::result(format_args!("{}", line(&answer)))
    };
    printed.context("cannot write the answer")?;
    Ok(ExitCode::SUCCESS)
}

const DOUBTS: Doubts = Doubts {
    late: "no answer within 30 s; try again",
    unusable: "is this the port of a Roomcast server?",
};

fn line(answer: &Answer) -> String {
    let received = match (answer.allowed, answer.received) {
        (Some(true), _) => "allowed",
        (Some(false), _) => "not allowed",
        (None, Some(true)) => "received",
        (None, Some(false)) => "not received",
        (None, None) => "unknown",
    };
    format!("{received} ({}): {}", answer.reason, answer.text)
}

/// Makes the query of the call. Every byte of the room's name that may have a meaning is encoded.
fn query(args: &ExplainArgs) -> String {
    let mut query = String::from("room=");
    for byte in args.room.bytes() {
        if byte.is_ascii_alphanumeric() {
            query.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
    if let Some(offset) = args.offset {
        query += &format!("&offset={offset}");
    }
    if let Some(from) = args.from {
        query += &format!("&from={from}");
    }
    if let Some(right) = args.right {
        query += &format!("&right={}", right.as_str());
    }
    query + &format!("&conn={}", args.conn)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: ExplainArgs,
    }

    fn parse(args: &str) -> Result<ExplainArgs, clap::Error> {
        let args = ["explain"].into_iter().chain(args.split_whitespace());
        Command::try_parse_from(args).map(|command| command.args)
    }

    #[test]
    fn the_room_is_encoded() {
        let args = parse("--room chat:ü&b --offset 7 --conn 1048577").expect("valid");
        assert_eq!(query(&args), "room=chat%3A%C3%BC%26b&offset=7&conn=1048577");
        let args = parse("--room a --right join --conn 7").expect("valid");
        assert_eq!(query(&args), "room=a&right=join&conn=7");
        let args = parse("--room a --from 6 --conn 7").expect("valid");
        assert_eq!(query(&args), "room=a&from=6&conn=7");
    }

    #[test]
    fn a_message_and_a_connection_are_needed() {
        for args in [
            "--room r --offset 7",
            "--room r --conn 7",
            "--offset 7 --conn 7",
            "--room r --offset 0 --conn 7",
            "--room r --offset 7 --conn x",
            "--room r --offset 7 --right join --conn 7",
            "--room r --right Join --conn 7",
            "--room r --offset 7 --from 6 --conn 7",
            "--room r --right join --from 6 --conn 7",
        ] {
            parse(args).expect_err(args);
        }
    }

    #[test]
    fn a_line_says_whether_it_was_received() {
        for (outcome, says) in [
            (r#""received":true"#, "received"),
            (r#""received":null"#, "unknown"),
            (r#""allowed":false"#, "not allowed"),
        ] {
            let answer = format!(r#"{{{outcome},"reason":"sent","text":"so"}}"#);
            let answer: Answer = serde_json::from_str(&answer).expect("an answer");
            assert_eq!(line(&answer), format!("{says} (sent): so"));
        }
    }
}
