//! Failures of commands: the printed text and the exit code.

use std::fmt;

use hyper::StatusCode;
use serde::Deserialize;

/// The reason why a command failed, with its exit code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    exit: u8,
    text: String,
    is_too_long: bool,
}

impl Failure {
    fn new(exit: u8, text: impl fmt::Display) -> Self {
        Self {
            exit,
            text: text.to_string(),
            is_too_long: false,
        }
    }

    /// An answer that is longer than the limit: exit code 1.
    pub(crate) fn too_long(by: impl fmt::Display) -> Self {
        Self {
            is_too_long: true,
            ..Self::failed(format_args!(
                "the answer of {by} has more than 1 MiB\n  Ask for less at a time"
            ))
        }
    }

    /// True for an answer that is longer than the limit: a request for half as much may succeed.
    pub(crate) const fn is_too_long(&self) -> bool {
        self.is_too_long
    }

    /// A refusal, or an error on the way: exit code 1.
    pub(crate) fn failed(text: impl fmt::Display) -> Self {
        Self::new(1, text)
    }

    /// A refusal over HTTP. The server's problem details name the setting to change at the server;
    /// advice for the user is added. An answer without problem details is not from a Roomcast
    /// server.
    pub(crate) fn refused(by: impl fmt::Display, status: StatusCode, body: &str) -> Self {
        let Some(detail) = detail(body) else {
            return Self::failed(format_args!(
                "{by} answers {status}, not as a Roomcast server does\n  Check the URL, or ROOMCAST_URL"
            ));
        };
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "\n  Give a key of the server: --api-key KEY, or ROOMCAST_API_KEY"
            }
            StatusCode::SERVICE_UNAVAILABLE => "\n  Try again in a few seconds",
            _ => "",
        };
        Self::failed(format_args!("{by} refused: {status}: {detail}{advice}"))
    }

    /// The token is missing or wrong: exit code 1.
    pub(crate) fn no_token(by: impl fmt::Display, body: &str) -> Self {
        let detail = detail(body).unwrap_or_else(|| "it says no more".into());
        Self::failed(format_args!(
            "{by} refused: {detail}\n  Give a token: --token, or ROOMCAST_TOKEN"
        ))
    }

    /// Wrong usage: exit code 2.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self::new(2, text)
    }

    /// The server cannot be reached: exit code 3.
    pub(crate) fn unreachable(text: impl fmt::Display) -> Self {
        Self::new(3, text)
    }

    /// The exit code.
    pub(crate) const fn exit(&self) -> u8 {
        self.exit
    }
}

/// The explanation in the problem details of a Roomcast server; `None` for any other body.
pub(crate) fn detail(body: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let problem = serde_json::from_str::<Problem>(body);
    problem.ok().map(|problem| problem.detail)
}

/// The meaning of a close code.
pub(crate) fn close_meaning(code: u16) -> &'static str {
    match code {
        1000 | 4410 => "the application wants this connection no more",
        1001 => "the server shut down; connect again later",
        1002 | 1007 => "what this program sent was taken for broken; please report it",
        1003 => "the application takes text messages only",
        1005 => "without a code",
        1006 => "the connection was lost, without a close frame",
        1008 => "a message came in too many pieces, or too slowly",
        1009 => "a message was too large; `roomcast serve --message-bytes-max` is the limit",
        1011 => "internal server error; see the server log",
        1013 => "the server is full; try again in a few seconds",
        4401 => "a token is missing, wrong or expired",
        4403 => "this is not allowed",
        4408 => "nothing was heard from here for too long: this program was too busy",
        4409 => "this program or the network was too slow for what was queued",
        4429 => "far over the rate limit, for too long; send slower",
        _ => "the application knows what it means",
    }
}
