//! The tape: commands as numbers.
//!
//! A record is its kind, then:
//!
//! | kind | numbers |
//! |---|---|
//! | 1, a text to send | class, address and bytes of the frame, count of ids, the ids |
//! | 2, bytes to send | the same |
//! | 3, a close | id, code, address and bytes of the reason |
//! | 4, a ping | id |
//!
//! A class is 0 for frames that must arrive, 1 for a message that closes a slow reader, and 2 for a
//! message that the policy of its room lets a host drop.

use roomcast_core::{Command, ConnId, Frame, Outbox, outbox::Class};

use crate::layout::address;

const TEXT: f64 = 1.0;
const BINARY: f64 = 2.0;
const CLOSE: f64 = 3.0;
const PING: f64 = 4.0;

/// Writes the commands of an outbox. The addresses are valid until the outbox changes.
pub(crate) fn write(tape: &mut Vec<f64>, out: &Outbox) {
    tape.clear();
    for command in out {
        match command {
            Command::Send { to, frame, class } => send(tape, to, frame, class),
            Command::Close { conn, code, reason } => {
                let code = f64::from(code.as_u16());
                tape.extend([CLOSE, id(conn), code]);
                tape.extend([address(reason.as_ptr()), reason.len() as f64]);
            }
            Command::Ping { conn } => tape.extend([PING, id(conn)]),
            // For hosts that are evicted, store histories or notify backends, unlike this one.
            Command::Persist { .. }
            | Command::Append { .. }
            | Command::PersistRoom { .. }
            | Command::PersistKey { .. }
            | Command::LoadHistory { .. }
            | Command::Relay(_)
            | Command::Tell { .. } => {}
        }
    }
}

fn send(tape: &mut Vec<f64>, to: &[ConnId], frame: Frame<'_>, class: Class<'_>) {
    let kind = match frame {
        Frame::Text(_) => TEXT,
        Frame::Binary(_) => BINARY,
    };
    let class = match class {
        Class::Control | Class::Position(_) => 0.0,
        Class::Message => 1.0,
        Class::Sheddable(_) => 2.0,
    };
    let bytes = frame.as_bytes();
    tape.extend([kind, class, address(bytes.as_ptr()), bytes.len() as f64]);
    tape.push(to.len() as f64);
    tape.extend(to.iter().map(|&conn| id(conn)));
}

/// The id as a number: below 2<sup>53</sup>, so exact.
const fn id(conn: ConnId) -> f64 {
    conn.as_u64() as f64
}
