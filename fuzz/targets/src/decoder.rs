//! WebSocket frames from a client, in pieces of any size.

use roomcast_core::{Rate, Timestamp};

// The decoder is private to the host: its file is compiled here a second time.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../host-native/src/ws/decode.rs"]
mod decode;

use self::decode::{Decoder, Event, Guards, Violation};

const GUARDS: Guards = Guards {
    message_bytes_max: 1000,
    fragments_max: 3,
    control: Some(Rate {
        per_second: 1,
        burst: 2,
    }),
    framing: Some(Rate {
        per_second: 1,
        burst: 500,
    }),
};

/// Decodes the bytes of a connection at once, one by one, and in pieces of the size that the first
/// byte gives. Events and end do not depend on the pieces.
///
/// # Panics
///
/// If they depend on the pieces, or when a message is longer than the limit.
pub fn decoder(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else {
        return;
    };
    let whole = decode(bytes, bytes.len());
    for piece in [1, usize::from(piece)] {
        assert_eq!(decode(bytes, piece), whole, "in pieces of {piece} bytes");
    }
}

/// Returns the events, and the violation that ended the connection.
fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), Violation>) {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        let mut read = piece.to_vec();
        let fed = decoder.feed(&mut read, GUARDS, Timestamp::ZERO, |event| {
            if let Event::Text(_) | Event::Binary(_) = event {
                assert!(size(&event) <= GUARDS.message_bytes_max, "{event:?}");
            }
            seen.push(format!("{event:?}"));
        });
        if fed.is_err() {
            return (seen, fed);
        }
    }
    (seen, Ok(()))
}

const fn size(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) | Event::Control(bytes) | Event::Close(_, bytes) => bytes.len(),
    }
}
