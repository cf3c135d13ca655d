//! The saved state of a connection, as its socket's attachment holds it.

use roomcast_core::{Limits, hub::ConnState, policy::GrantRules};

/// The most bytes of an attachment that the platform allows, in its own serialisation.
const PLATFORM_BYTES: usize = 16_384;
/// Bytes of the header that the platform puts before a byte array.
const PLATFORM_HEAD_BYTES: usize = 64;

/// The most bytes of an attachment.
const BYTES_MAX: usize = PLATFORM_BYTES - PLATFORM_HEAD_BYTES;

/// Bytes that a user may have, as the core allows; each may take two.
const USER_BYTES_MAX: usize = 200;

/// Bytes of it that are kept for everything but room names, sessions and what presence shows: a
/// user, numbers, names of members.
const REST_BYTES: usize = 2 * USER_BYTES_MAX + 960;

/// The most bytes that presence may show of a connection's user, in all rooms together: one value
/// of the largest size, or some dozens of a usual size.
const METAS_BYTES: usize = 2048 + 8;

/// Bytes of what an identity may do, beside its metadata: the most that grants may have, two times
/// and a stage.
const ACCESS_BYTES: usize = GrantRules::BYTES_MAX + 160;

/// The most rooms of a connection where a backend is asked for joins.
const GIVEN_MAX: usize = 48;

/// Bytes of the rights that a backend gave in one of these rooms, beside its name.
const GIVEN_BYTES: usize = r#"["",["join","publish","presence","history"]],"#.len();

/// Bytes of metadata in an identity; each may take two.
const IDENTITY_META_BYTES: usize = 2048;

/// Sets the limits that keep the state of a connection small enough for an attachment: a join that
/// would not fit is refused and changes nothing. `sessions` says that an application may keep one
/// there, `presence` that rooms show who is there, `identities` that connections have grants,
/// `given` that a backend gives them rights in single rooms.
pub(crate) fn fit(
    limits: &mut Limits,
    sessions: bool,
    presence: bool,
    identities: bool,
    given: bool,
) {
    let mut rest = REST_BYTES;
    if sessions {
        // Each byte may take two.
        rest += 2 * limits.session_bytes + r#""session":"","#.len();
    }
    if presence {
        rest += 2 * METAS_BYTES + r#""metas":[],"#.len();
        limits.metas_bytes = Some(METAS_BYTES);
    }
    if identities || given {
        rest += ACCESS_BYTES + 2 * IDENTITY_META_BYTES;
        limits.meta_bytes = limits.meta_bytes.min(IDENTITY_META_BYTES);
    }
    limits.room_names_bytes = Some(BYTES_MAX - rest);
    if given {
        // Each name may occur twice, even the name of a room that is being joined.
        limits.meta_bytes = limits.meta_bytes.min(IDENTITY_META_BYTES / 2);
        rest -= IDENTITY_META_BYTES;
        limits.rooms_per_connection = limits.rooms_per_connection.min(GIVEN_MAX);
        rest += (GIVEN_MAX + 1) * GIVEN_BYTES + 2 * limits.room_name_bytes;
        limits.room_names_bytes = Some((BYTES_MAX - rest) / 2);
    }
}

/// The first byte; another version of the format has another one.
const VERSION: u8 = 1;

/// An attachment that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachmentError {
    #[error("it is empty")]
    Empty,
    #[error("its version is {0}, known is {VERSION}")]
    Version(u8),
    /// Describes the fault without the content, which clients chose.
    #[error("it is not a saved state, from byte {0} on")]
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
    use roomcast_core::{
        App, Applied, Config, Frame, Handshake, Hub, Identity, Input, Outbox, Outcome, Policies,
        Timestamp,
    };

    use super::*;

    /// A state as large as the limits let it become: with names of rooms of so many bytes, each of
    /// which takes two, and with this shown in each.
    fn largest(name_bytes: usize, session: bool, meta: Option<&str>, identity: bool) -> ConnState {
        let mut limits = Limits::default();
        limits.rooms_per_connection = usize::MAX;
        (limits.inbound_messages, limits.inbound_bytes) = (None, None);
        fit(&mut limits, session, meta.is_some(), identity, false);
        let session_bytes = limits.session_bytes;
        let policies = r#"{"rooms":[{"match":"*","presence":"members"}]}"#;
        let policies: Policies = serde_json::from_str(policies).expect("valid");
        let mut config = Config::new("e").with_limits(limits);
        if meta.is_some() {
            config = config.with_policies(policies);
        }
        let mut hub = Hub::new(config);
        let (now, mut out) = (Timestamp::from_millis(u64::MAX >> 11), Outbox::new());
        let user = "\"".repeat(USER_BYTES_MAX);
        let mut handshake = Handshake::new().with_user(&*user);
        if identity {
            handshake = handshake.with_identity(largest_identity(&user, now));
        }
        if session {
            handshake = handshake.with_session("\"".repeat(session_bytes));
        }
        let conn = hub.connect(now, handshake, &mut out).expect("a place");
        let mut full = false;
        for number in 0.. {
            // Once nothing can be shown any more, names alone.
            let with = meta.filter(|_| !full);
            let room = format!("{}{number}", "\\".repeat(name_bytes));
            let name = room.replace('\\', "\\\\");
            let data = with.map_or(String::new(), |meta| {
                format!(r#","data":{{"meta":{meta}}}"#)
            });
            let join = format!(r#"{{"event":"$join","room":"{name}"{data}}}"#);
            let _ = hub.receive(now, conn, Frame::Text(&join), &mut out);
            out.clear();
            match (!hub.members(&room).is_empty(), with) {
                (true, _) => {}
                (false, Some(_)) => full = true,
                (false, None) => break,
            }
        }
        hub.conn_state(conn).expect("alive")
    }

    /// An identity with as much as it may have.
    fn largest_identity(user: &str, now: Timestamp) -> Identity {
        let all = r#"{"rooms":"*","can":["join","publish","presence","history"]}"#;
        let rest = GrantRules::BYTES_MAX - all.len() - 3;
        let mut rules = vec![all.to_owned()];
        let frame = r#"{"rooms":"","can":[]},"#.len();
        for _ in 0..rest / (frame + 256) {
            rules.push(format!(r#"{{"rooms":"{}","can":[]}}"#, "x".repeat(256)));
        }
        let rules = GrantRules::from_json(&format!("[{}]", rules.join(","))).expect("grants");
        let mut identity = Identity::user(user)
            .with_grants(rules.for_user(Some(user)))
            .with_deadline(now + std::time::Duration::from_millis(u64::MAX >> 12));
        identity.issued_s = Some(253_402_300_799);
        let meta = format!("\"{}\"", "\\\"".repeat(IDENTITY_META_BYTES / 2 - 1));
        identity.meta = Some(meta.into());
        identity
    }

    #[test]
    fn a_state_comes_back_and_always_fits() {
        let long = format!("\"{}\"", "\\\"".repeat(1020));
        let metas = [None, Some("1"), Some("[\"\",\"\"]"), Some(&*long)];
        for session in [false, true] {
            for (name_bytes, meta) in [0, 20, 190].into_iter().flat_map(|n| metas.map(|m| (n, m))) {
                let state = largest(name_bytes, session, meta, false);
                let mut bytes = Vec::new();
                encode(&state, &mut bytes).expect("encodes");
                assert!(bytes.len() <= BYTES_MAX, "{} {meta:?}", bytes.len());
                if meta.is_none() {
                    assert!(bytes.len() > BYTES_MAX - 1500, "{}", bytes.len());
                }
                assert_eq!(decode(&bytes).expect("decodes"), state);
            }
        }
    }

    #[test]
    fn a_state_with_an_identity_fits_as_well() {
        for (session, meta) in [(false, None), (true, None), (true, Some("1"))] {
            let state = largest(20, session, meta, true);
            let mut bytes = Vec::new();
            encode(&state, &mut bytes).expect("encodes");
            assert!(bytes.len() <= BYTES_MAX, "{} {meta:?}", bytes.len());
            assert_eq!(decode(&bytes).expect("decodes"), state);
        }
    }

    /// A state whose rights in single rooms a backend gave, in as many as the limits let it.
    fn largest_given(name_bytes: usize, session: bool, meta: bool) -> ConnState {
        let mut limits = Limits::default();
        (limits.inbound_messages, limits.inbound_bytes) = (None, None);
        fit(&mut limits, session, meta, true, true);
        let (session_bytes, meta_bytes) = (limits.session_bytes, limits.meta_bytes);
        let mut config = Config::new("e").with_limits(limits).with_asks_join(true);
        if meta {
            let policies = r#"{"rooms":[{"match":"*","presence":"members"}]}"#;
            config = config.with_policies(serde_json::from_str(policies).expect("valid"));
        }
        let mut app = App::new(config, ());
        let (now, mut out) = (Timestamp::from_millis(u64::MAX >> 11), Outbox::new());
        let user = "\"".repeat(USER_BYTES_MAX);
        let mut identity = largest_identity(&user, now);
        let rule = format!(r#"{{"rooms":"{}","can":["history"]}}"#, "x".repeat(256));
        let rules = GrantRules::from_json(&format!("[{}]", vec![rule; 7].join(",")));
        identity.grants = Some(rules.expect("grants").for_user(Some(&user)));
        identity.meta = Some(format!("\"{}\"", "\\\"".repeat(meta_bytes / 2 - 1)).into());
        let mut handshake = Handshake::new().with_identity(identity);
        if session {
            handshake = handshake.with_session("\"".repeat(session_bytes));
        }
        let input = Input::Connect(handshake);
        let Applied::Connected(Ok(conn)) = app.apply(now, &input, &mut out) else {
            panic!("a place");
        };
        let all = r#"["join","publish","presence","history"]"#;
        let all = serde_json::from_str(all).expect("rights");
        for number in 0..200 {
            let name = "\\\\".repeat(name_bytes);
            let join = format!(r#"{{"event":"$join","room":"{name}{number}"}}"#);
            app.apply(now, &Input::message(conn, Frame::Text(&join)), &mut out);
            for (token, _) in app.take_asked() {
                let outcome = Outcome::Grant(all);
                app.apply(now, &Input::Complete { token, outcome }, &mut out);
            }
            out.clear();
        }
        app.hub().conn_state(conn).expect("alive")
    }

    #[test]
    fn a_state_with_rights_of_a_backend_fits_as_well() {
        for (session, meta) in [(false, false), (true, false), (false, true), (true, true)] {
            for name_bytes in [0, 3, 20, 98] {
                let state = largest_given(name_bytes, session, meta);
                let mut bytes = Vec::new();
                encode(&state, &mut bytes).expect("encodes");
                let text = String::from_utf8_lossy(&bytes);
                assert!(text.contains("\"given\""), "{text}");
                assert!(bytes.len() <= BYTES_MAX, "{} {name_bytes}", bytes.len());
                assert_eq!(decode(&bytes).expect("decodes"), state);
            }
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
