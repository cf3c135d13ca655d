//! `roomcast send`: sends one message through the HTTP API of a running server.

use std::{
    io::{self, Read},
    process::ExitCode,
};

use anyhow::Context;
use hyper::{Request, header::CONTENT_TYPE};
use roomcast_core::{Audience, ConnId, Delivery, Payload, hub::KEY_BYTES_MAX, wire::PayloadError};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::{
    client::{
        api::{Doubts, Server},
        endpoint,
        failure::Failure,
    },
    say,
};

const AFTER_HELP: &str = "\
Examples:
  roomcast send --room lobby said '{\"text\":\"hi\"}'
  roomcast send --room lobby --string said \"it's on\"
  roomcast send --all --except-room quiet reload
  jq -n '{n: 1}' | roomcast send --room lobby --room attic changed -

Audiences add up; each connection receives the message once. The answer is printed as it came:
  {\"matched\":2,\"queued\":2,\"dropped\":0}

Exit codes: 0 sent (to nobody, too, when nobody is there), 1 refused or failed, 2 wrong usage,
3 cannot connect.";

/// Send a message to rooms, connections or users
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct SendArgs {
    /// Event name: 1 to 128 bytes, not starting with `$`
    #[arg(value_parser = endpoint::event)]
    event: String,
    /// Payload as JSON; `-` reads it from standard input; absent is null
    #[arg(allow_negative_numbers = true)]
    data: Option<String>,
    /// Label for the client's code, the member `path` of the message: 1 to 200 bytes
    #[arg(long)]
    path: Option<String>,
    /// DATA is plain text: send it as a JSON string, without the line end that closes it
    #[arg(long, requires = "data")]
    string: bool,
    /// Send once, however often this is repeated within 5 minutes: 1 to 128 bytes
    #[arg(long, value_name = "KEY", value_parser = idempotency_key)]
    idempotency_key: Option<String>,
    #[command(flatten)]
    server: Server,
    // Last, because its help heading applies to all arguments after it.
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    except: Except,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "To whom (at least one)")]
struct To {
    /// The members of this room; repeatable
    #[arg(long)]
    room: Vec<String>,
    /// This connection; repeatable
    #[arg(long, value_name = "ID")]
    conn: Vec<ConnId>,
    /// The connections of this user; repeatable
    #[arg(long)]
    user: Vec<String>,
    /// Every connection of the namespace
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "But not to")]
struct Except {
    /// The members of this room; repeatable
    #[arg(long, value_name = "ROOM")]
    except_room: Vec<String>,
    /// This connection; repeatable
    #[arg(long, value_name = "ID")]
    except_conn: Vec<ConnId>,
    /// The connections of this user; repeatable
    #[arg(long, value_name = "USER")]
    except_user: Vec<String>,
}

/// Sends, and prints the answer.
///
/// # Errors
///
/// A [`Failure`] that can be fixed by the user or at the server, or a fault of this machine.
pub(crate) async fn run(args: SendArgs) -> anyhow::Result<ExitCode> {
    let data = data(args.data.as_deref(), args.string, io::stdin().lock())?;
    let answer = send(&args, &data).await?;
    say::result(format_args!("{answer}")).context("sent, but cannot write the answer")?;
    Ok(ExitCode::SUCCESS)
}

/// The payload as JSON that the server will accept.
fn data(given: Option<&str>, string: bool, mut stdin: impl Read) -> Result<String, Failure> {
    let mut read = String::new();
    let text = match given {
        None => "null",
        Some("-") => {
            stdin.read_to_string(&mut read).map_err(|fault| {
                Failure::failed(format_args!("cannot read standard input: {fault}"))
            })?;
            &read
        }
        Some(given) => given,
    };
    if string {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        return Ok(serde_json::Value::from(text).to_string());
    }
    match Payload::parse(text) {
        Ok(payload) => Ok(payload.as_str().to_owned()),
        Err(PayloadError::Syntax) => {
            let at = serde_json::from_str::<&RawValue>(text).err();
            let at = at.map_or_else(String::new, |fault| format!(": {fault}"));
            Err(Failure::usage(format_args!(
                "DATA is not JSON{at}\n  \
                 Quote it, or the shell takes its quotes away: '{{\"text\":\"hi\"}}'\n  \
                 To send it as text, add --string"
            )))
        }
        Err(fault) => Err(Failure::usage(format_args!("DATA cannot be sent: {fault}"))),
    }
}

#[derive(Serialize)]
struct Body<'a> {
    audience: Audience,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    data: &'a RawValue,
}

fn audience(args: &SendArgs) -> Audience {
    let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    let mut audience = Audience::none();
    audience.all = args.to.all;
    audience.rooms = boxed(&args.to.room);
    audience.conns.clone_from(&args.to.conn);
    audience.users = boxed(&args.to.user);
    audience.except_rooms = boxed(&args.except.except_room);
    audience.except_conns.clone_from(&args.except.except_conn);
    audience.except_users = boxed(&args.except.except_user);
    audience
}

async fn send(args: &SendArgs, data: &str) -> Result<String, Failure> {
    let body = Body {
        audience: audience(args),
        event: &args.event,
        path: args.path.as_deref(),
        data: serde_json::from_str(data).map_err(Failure::failed)?,
    };
    let body = serde_json::to_string(&body).map_err(Failure::failed)?;
    let mut request =
        Request::post(args.server.path("send")).header(CONTENT_TYPE, "application/json");
    if let Some(key) = &args.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let body = args.server.call(request, body, DOUBTS).await?;
    // Another kind of server may answer 200 to anything.
    match serde_json::from_str::<Delivery>(&body) {
        Ok(_) => Ok(body),
        Err(_) => Err(Failure::failed(format_args!(
            "{} is no Roomcast server: its answer is not a delivery\n  Check --url",
            args.server.url
        ))),
    }
}

const DOUBTS: Doubts = Doubts {
    late: "no answer within 30 s; the message may have been delivered: with \
           --idempotency-key KEY a repetition is safe",
    unusable: "is this the port of a Roomcast server? It may have delivered the message",
};

fn idempotency_key(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    if (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "a key is 1 to {KEY_BYTES_MAX} visible ASCII characters, without commas"
        ))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: SendArgs,
    }

    fn parse(args: &str) -> Result<SendArgs, clap::Error> {
        let args = ["send"].into_iter().chain(args.split_whitespace());
        Command::try_parse_from(args).map(|command| command.args)
    }

    #[test]
    fn an_audience_is_as_the_server_reads_it() {
        for (args, json) in [
            ("--room a --room b e", r#"{"rooms":["a","b"]}"#),
            (
                "e 1 --all --except-conn 7",
                r#"{"all":true,"except_conns":["7"]}"#,
            ),
            (
                "--user u --conn 0 e -1 --except-room r --except-user v",
                r#"{"conns":["0"],"users":["u"],"except_rooms":["r"],"except_users":["v"]}"#,
            ),
        ] {
            let args = parse(args).expect(args);
            assert_eq!(serde_json::to_string(&audience(&args)).unwrap(), json);
        }
    }

    #[test]
    fn an_audience_is_needed() {
        for args in ["e", "e --except-room r"] {
            let fault = parse(args).expect_err(args);
            assert_eq!(fault.kind(), ErrorKind::MissingRequiredArgument);
            assert!(fault.to_string().contains("--room"), "{fault}");
        }
        for args in [
            "--all $e",
            "--conn x e",
            "--all e --string",
            "--all e --namespace a/b",
        ] {
            parse(args).expect_err(args);
        }
    }

    #[test]
    fn data_is_checked_before_it_is_sent() {
        let data = |given, string| data(given, string, "[1,\n 2]\r\n".as_bytes());
        assert_eq!(data(None, false).unwrap(), "null");
        assert_eq!(data(Some("-"), false).unwrap(), "[1,\n 2]");
        assert_eq!(data(Some("-"), true).unwrap(), r#""[1,\n 2]""#);
        assert_eq!(data(Some("it's"), true).unwrap(), r#""it's""#);
        assert_eq!(data(Some(" 1e999"), false).unwrap(), "1e999");
        for (bad, says) in [
            ("{text:hi}", r#"'{"text":"hi"}'"#),
            ("hi", "--string"),
            ("", "--string"),
            (r#""\ud800""#, "surrogate"),
        ] {
            let fault = data(Some(bad), false).expect_err(bad);
            assert_eq!(fault.exit(), 2);
            assert!(fault.to_string().contains(says), "{fault}");
        }
    }
}
