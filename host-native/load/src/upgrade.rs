//! The upgrade from HTTP to a WebSocket.

use std::{
    fmt::Display,
    io::{self, ErrorKind},
};

use httparse::{EMPTY_HEADER, Response, Status};

/// The key, which is the same for all: keys guard against caches, and there is none here.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
/// The only correct answer to the key.
const ACCEPT: &[u8] = b"BACScCJPNqyz+UBoqMH89VmURoA=";
/// Headers of an answer that are read.
const HEADERS_MAX: usize = 64;
/// The longest body that is waited for: refusals with an explanation are shorter.
const BODY_BYTES_MAX: usize = 65_536;

/// The reason why a connection ended, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectError {
    /// There is no answer, or the handshake is not valid.
    Unreachable(String),
    /// An HTTP answer that is not an upgrade: the status and the body.
    Http(u16, String),
    /// The WebSocket ended, or did not let the connection in.
    Rejected(String),
}

impl From<io::Error> for ConnectError {
    fn from(fault: io::Error) -> Self {
        Self::Unreachable(if fault.kind() == ErrorKind::ConnectionRefused {
            "connection refused".to_owned()
        } else {
            fault.to_string()
        })
    }
}

pub(crate) fn request(path: &str, host: &str, protocol: Option<&str>) -> String {
    let protocol = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}\r\n",
        protocol.unwrap_or_default()
    )
}

/// Reads the answer when it is complete, or when no more bytes will come (`comes` is false), and
/// returns its length.
///
/// # Errors
///
/// When it is not the requested WebSocket.
pub(crate) fn answer(
    bytes: &[u8],
    protocol: Option<&str>,
    comes: bool,
) -> Result<Option<usize>, ConnectError> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if comes => return Ok(None),
        Ok(Status::Partial) => return Err(broken("Handshake not finished")),
        Err(fault) => return Err(broken(format_args!("httparse error: {fault}"))),
    };
    let header = |name: &str| {
        let mut headers = response.headers.iter();
        let header = headers.find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        let announced = header("content-length").and_then(super::stamp::number);
        let announced = announced.and_then(|bytes| usize::try_from(bytes).ok());
        let body = &bytes[length..];
        if comes && body.len() < announced.unwrap_or_default().min(BODY_BYTES_MAX) {
            return Ok(None);
        }
        return Err(ConnectError::Http(
            status,
            String::from_utf8_lossy(body).into(),
        ));
    }
    if header("sec-websocket-accept") != Some(ACCEPT) {
        return Err(broken("Key mismatch in \"Sec-WebSocket-Accept\" header"));
    }
    if header("sec-websocket-protocol") != protocol.map(str::as_bytes) {
        return Err(broken("SubProtocol error: not the one that was asked for"));
    }
    Ok(Some(length))
}

fn broken(fault: impl Display) -> ConnectError {
    ConnectError::Unreachable(format!("WebSocket protocol error: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgraded(headers: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: \
             BACScCJPNqyz+UBoqMH89VmURoA=\r\n{headers}\r\n"
        )
    }

    #[test]
    fn an_upgrade_is_one_when_it_is_what_was_asked_for() {
        let text = upgraded("Sec-WebSocket-Protocol: a\r\n");
        let whole = text.as_bytes();
        assert_eq!(answer(whole, Some("a"), true), Ok(Some(whole.len())));
        assert_eq!(answer(&whole[..40], Some("a"), true), Ok(None));
        for (text, protocol) in [
            (&text[..40], Some("a")),
            (&text, None),
            (&text, Some("b")),
            (&upgraded(""), Some("b")),
            ("HTTP/1.1 101 Yes\r\n\r\n", None),
            ("+OK ready\r\n\r\n", None),
        ] {
            let answer = answer(text.as_bytes(), protocol, false);
            assert!(
                matches!(answer, Err(ConnectError::Unreachable(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_refusal_is_read_with_its_body() {
        let text = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nfull";
        assert_eq!(answer(&text[..text.len() - 1], None, true), Ok(None));
        for (bytes, body) in [(&text[..], "full"), (&text[..text.len() - 1], "ful")] {
            let refused = Err(ConnectError::Http(503, body.to_owned()));
            assert_eq!(answer(bytes, None, false), refused);
        }
    }
}
