//! The ground state of a connection, as it lies in its socket's attachment.

use roomcast_core::ConnState;

/// What the platform allows an attachment to have, serialised by it: a byte array and its head.
const PLATFORM_BYTES: usize = 16_384;
const PLATFORM_HEAD_BYTES: usize = 64;

/// Bytes that an attachment may have.
const BYTES_MAX: usize = PLATFORM_BYTES - PLATFORM_HEAD_BYTES;

/// Bytes that a user may have; each may take two.
const USER_BYTES_MAX: usize = 2048;

/// Bytes of it that are kept for everything but room names and sessions: a user, numbers, names of
/// members.
const REST_BYTES: usize = 2 * USER_BYTES_MAX + 960;

/// Bytes of it that the names of rooms may take: a limit of the hub, so that a join that would not
/// fit is refused and changes nothing. An application may also keep a session there, of so many
/// bytes.
pub(crate) const fn room_names_bytes(session_bytes: Option<usize>) -> usize {
    let rest = match session_bytes {
        // Each byte may take two.
        Some(bytes) => REST_BYTES + 2 * bytes + r#""session":"","#.len(),
        None => REST_BYTES,
    };
    BYTES_MAX - rest
}

/// The first byte; another version of the format begins with another one.
const VERSION: u8 = 1;

/// An attachment that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachmentError {
    #[error("it is empty")]
    Empty,
    #[error("its version is {0}, known is {VERSION}")]
    Version(u8),
    /// Without what stands there: clients chose it.
    #[error("it is no state, from byte {0} on")]
    Json(usize),
}

impl From<serde_json::Error> for AttachmentError {
    fn from(fault: serde_json::Error) -> Self {
        Self::Json(fault.column())
    }
}

/// Appends the attachment that holds this state.
pub(crate) fn encode(state: &ConnState, bytes: &mut Vec<u8>) -> Result<(), AttachmentError> {
    bytes.push(VERSION);
    serde_json::to_writer(bytes, state)?;
    Ok(())
}

/// Reads an attachment.
pub(crate) fn decode(bytes: &[u8]) -> Result<ConnState, AttachmentError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => Ok(serde_json::from_slice(json)?),
        Some((&other, _)) => Err(AttachmentError::Version(other)),
        None => Err(AttachmentError::Empty),
    }
}

#[cfg(test)]
mod tests {
    use roomcast_core::{Config, Handshake, Hub, JoinError, Limits, Outbox, Timestamp};

    use super::*;

    /// A state as large as the limits let it become.
    fn largest(session_bytes: Option<usize>) -> ConnState {
        let limit = room_names_bytes(session_bytes);
        let mut limits = Limits::default();
        limits.rooms_per_connection = usize::MAX;
        limits.room_names_bytes = Some(limit);
        let mut hub = Hub::new(Config::new("e").with_limits(limits));
        let (now, mut out) = (Timestamp::from_millis(u64::MAX >> 11), Outbox::new());
        let mut handshake = Handshake::new().with_user("\"".repeat(USER_BYTES_MAX));
        if let Some(bytes) = session_bytes {
            handshake = handshake.with_session("\"".repeat(bytes));
        }
        let conn = hub.connect(now, handshake, &mut out).expect("a place");
        // Names of which each byte takes two.
        let name = |number: usize| format!("{}{number}", "\\".repeat(190));
        let refused = (0..).find_map(|number| hub.join(now, conn, &name(number), &mut out).err());
        assert_eq!(refused, Some(JoinError::RoomNames { limit }));
        hub.conn_state(conn).expect("alive")
    }

    #[test]
    fn a_state_comes_back_and_always_fits() {
        for session_bytes in [None, Some(Limits::default().session_bytes)] {
            let state = largest(session_bytes);
            let mut bytes = Vec::new();
            encode(&state, &mut bytes).expect("encodes");
            assert!(bytes.len() <= BYTES_MAX, "{}", bytes.len());
            assert!(bytes.len() > BYTES_MAX - 1200, "{}", bytes.len());
            assert_eq!(decode(&bytes).expect("decodes"), state);
        }
    }

    #[test]
    fn what_is_no_attachment_is_refused() {
        assert!(matches!(decode(&[]), Err(AttachmentError::Empty)));
        assert!(matches!(
            decode(b"\x02{}"),
            Err(AttachmentError::Version(2))
        ));
        assert!(matches!(decode(b"\x01{}"), Err(AttachmentError::Json(_))));
    }
}
