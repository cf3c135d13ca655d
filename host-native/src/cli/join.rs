//! `roomcast join`: a client with one connection, which prints and publishes messages of rooms.

mod line;
mod pace;
mod session;

use std::{process::ExitCode, time::Duration};

use hyper::{StatusCode, Uri};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, client::ClientRequestBuilder},
};

use self::session::Session;
use super::client::{
    endpoint::{Endpoint, event, namespace},
    failure::Failure,
    wire::Wire,
};

const AFTER_HELP: &str = "\
Every frame that arrives is printed as it is, one per line; remarks go to standard error.
What you type is read line by line:
  {\"event\":...}   A JSON object with an event is sent as it is: a verb, a publish to any room
  /quit           Leaves once everything sent is answered, like the end of the input;
                  Ctrl-C leaves at once
  anything else   Is published to the first ROOM, as JSON if it is JSON, as {\"text\":LINE} if
                  not, like the page of the server does; empty lines are skipped

Lines are sent no faster than the server's rate limit allows. A lost connection is not opened again.

Examples:
  roomcast join lobby
  echo '{\"text\":\"hi\"}' | roomcast join lobby
  tail -f /dev/null | roomcast join lobby kitchen | jq .data      (only listens)
  roomcast join lobby --token eyJhbGciOi...

Exit codes: 0 left, 1 a room or a line was refused, or the server closed, 2 wrong usage,
3 cannot connect.";

/// Join rooms, print what arrives, publish what is typed
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct JoinArgs {
    /// Rooms to join; the first one is published to
    #[arg(required = true, value_name = "ROOM")]
    rooms: Vec<String>,
    /// Event name of what is typed
    #[arg(long, default_value = "said", value_parser = event)]
    event: String,
    /// Address of the server
    #[arg(long, env = "ROOMCAST_URL", default_value = "ws://127.0.0.1:3000/ws")]
    url: Endpoint,
    /// Namespace; `default` unless the URL names one
    #[arg(long, env = "ROOMCAST_NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
    /// Token that says who you are, for a server that asks; `roomcast token` makes one
    #[arg(long, env = "ROOMCAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Joins, and stays until the input ends or the server closes.
///
/// # Errors
///
/// A [`Failure`] that can be fixed by the user or at the server, or a fault of this machine.
pub(crate) async fn run(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let socket = connect(&args).await?;
    let code = Session::new(socket, args.rooms, args.event).run().await?;
    Ok(code)
}

async fn connect(args: &JoinArgs) -> Result<WebSocketStream<Wire>, Failure> {
    const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
    let stream = args.url.connect().await?;
    let url = args.url.websocket(args.namespace.as_deref());
    let uri: Uri = url.parse().map_err(Failure::usage)?;
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol("roomcast.v1");
    if let Some(token) = &args.token {
        request = request.with_header("authorization", bearer(token)?);
    }
    let not_here = |fault: &dyn std::fmt::Display| {
        Failure::unreachable(format_args!(
            "no Roomcast server at {url}: {fault}\n  Check --url, or ROOMCAST_URL"
        ))
    };
    match timeout(HANDSHAKE_TIME, client_async(request, stream)).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            Err(match response.status() {
                StatusCode::UNAUTHORIZED => Failure::no_token(&url, &body),
                status => Failure::refused(&url, status, &body),
            })
        }
        Ok(Err(fault)) => Err(not_here(&fault)),
        Err(_) => Err(not_here(&"no answer within 10 s")),
    }
}

/// The header field with a token.
fn bearer(token: &str) -> Result<String, Failure> {
    let token = token.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failure::usage(
            "the token (--token, ROOMCAST_TOKEN) is none: three parts of letters, digits, `-` and `_`, \
             with dots between",
        ));
    }
    Ok(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: JoinArgs,
    }

    #[test]
    fn a_room_is_needed_and_several_may_be_named() {
        let parse = |args: &[&str]| Command::try_parse_from(args).map(|command| command.args);
        assert!(parse(&["join"]).is_err());
        assert!(parse(&["join", "lobby", "--event", "$join"]).is_err());
        let args = parse(&["join", "lobby", "the kitchen", "--event", "said"]).unwrap();
        assert_eq!(args.rooms, ["lobby", "the kitchen"]);
        assert!(bearer("a.b-c.d_e\n").is_ok_and(|field| field == "Bearer a.b-c.d_e"));
        for none in ["", " ", "a b", "a\nb", "\u{e4}"] {
            let fault = bearer(none).expect_err(none).to_string();
            assert!(fault.contains("--token"), "{fault}");
        }
        // What the page and the README publish.
        assert_eq!(parse(&["join", "lobby"]).unwrap().event, "said");
    }
}
