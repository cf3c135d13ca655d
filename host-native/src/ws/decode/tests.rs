//! Tests of frames: whole and in pieces, valid and invalid.

use super::*;

const GUARDS: Guards = Guards {
    message_bytes_max: 1000,
    fragments_max: 3,
    control: Some(Rate {
        per_second: 1,
        burst: 2,
    }),
    framing: None,
};

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let len = payload.len();
    let mut bytes = vec![first];
    if len < 126 {
        bytes.push(0x80 | u8::try_from(len).expect("short"));
    } else {
        bytes.push(0x80 | 126);
        bytes.extend(u16::try_from(len).expect("short").to_be_bytes());
    }
    bytes.extend(mask);
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
    bytes.extend(masked);
    bytes
}

/// Returns the events when the bytes arrive in pieces of the given size, and the result.
fn decode(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), Violation>) {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        let mut read = piece.to_vec();
        let fed = decoder.feed(&mut read, GUARDS, Timestamp::ZERO, |event| {
            seen.push(match event {
                Event::Text(text) => format!("text {text}"),
                Event::Binary(bytes) => format!("binary {bytes:?}"),
                Event::Control(answer) => format!("control {answer:?}"),
                Event::Close(code, answer) => format!("close {code:?} {answer:?}"),
            });
        });
        if fed.is_err() {
            return (seen, fed);
        }
    }
    (seen, Ok(()))
}

#[test]
fn the_pieces_in_which_bytes_arrive_do_not_matter() {
    let long = "x".repeat(300);
    let mut bytes = frame(0x81, "héllo".as_bytes());
    bytes.extend(frame(0x81, long.as_bytes()));
    bytes.extend(frame(0x82, &[7]));
    bytes.extend(frame(0x01, b"a"));
    bytes.extend(frame(0x89, b"p"));
    bytes.extend(frame(0x80, b"b"));
    bytes.extend(frame(0x88, &[3, 232]));
    let expected = [
        "text héllo".to_owned(),
        format!("text {long}"),
        "binary [7]".into(),
        "control [138, 1, 112]".into(),
        "text ab".into(),
        "close Some(1000) [136, 2, 3, 232]".into(),
    ];
    for piece in [1, 2, 3, 7, 100, 10_000] {
        assert_eq!(
            decode(&bytes, piece),
            (expected.to_vec(), Ok(())),
            "{piece}"
        );
    }
}

#[test]
fn faults_have_their_codes() {
    let huge = [
        0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0,
    ];
    let mut fragments = frame(0x01, b"");
    let mut split = frame(0x01, &[0; 600]);
    split.extend(frame(0x80, &[0; 600]));
    for _ in 0..3 {
        fragments.extend(frame(0x00, b""));
    }
    for (bytes, fault) in [
        (huge.to_vec(), Violation::too_big(GUARDS)),
        (frame(0x81, &[b'x'; 1001]), Violation::too_big(GUARDS)),
        (split, Violation::too_big(GUARDS)),
        (frame(0x81, &[0xff]), NOT_UTF8),
        (fragments, Violation::too_many_fragments(GUARDS)),
        (frame(0xc1, b"rsv"), FRAMING),
        (frame(0x83, b"reserved"), FRAMING),
        (frame(0x80, b"nothing to continue"), FRAMING),
        (frame(0x89, &[0; 126]), FRAMING),
        (frame(0x09, b"fragmented ping"), FRAMING),
        (vec![0x81, 1, b'x'], FRAMING),
        (frame(0x88, &[0]), FRAMING),
    ] {
        assert_eq!(decode(&bytes, 10_000).1, Err(fault.clone()), "{bytes:?}");
        assert_eq!(decode(&bytes, 1).1, Err(fault), "{bytes:?}");
    }
}

/// A frame with this many extended length bytes.
fn lengthy(first: u8, payload: &[u8], extended: usize) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | if extended == 2 { 126 } else { 127 }];
    let len = (payload.len() as u64).to_be_bytes();
    bytes.extend(&len[8 - extended..]);
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

#[test]
fn bytes_in_no_message_have_a_rate() {
    let guards = Guards {
        control: None,
        framing: Some(Rate {
            per_second: 10,
            burst: 26,
        }),
        ..GUARDS
    };
    let mut decoder = Decoder::default();
    let mut feed = |at, mut bytes: Vec<u8>| {
        decoder.feed(&mut bytes, guards, Timestamp::from_millis(at), |_| ())
    };
    // Two headers of six bytes, whatever the fragments contain; then a ping of fourteen.
    let long = [b'x'; 100];
    let halves = [frame(0x01, &long), frame(0x80, &long)].concat();
    assert_eq!(feed(0, halves), Ok(()));
    assert_eq!(feed(0, frame(0x89, b"12345678")), Ok(()));
    // Whole messages, and a close, are not charged.
    assert_eq!(feed(0, frame(0x81, &long)), Ok(()));
    assert_eq!(feed(599, frame(0x00, b"")), Err(OVERHEAD));
    let mut other = Decoder::default();
    let mut spent = [frame(0x89, b"12345678"), frame(0x89, b"123456")].concat();
    let mut close = frame(0x88, &[3, 232]);
    let mut feed = |bytes: &mut [u8]| other.feed(bytes, guards, Timestamp::ZERO, |_| ());
    assert_eq!(feed(&mut spent), Ok(()));
    assert_eq!(feed(&mut close), Ok(()));
}

#[test]
fn a_length_takes_the_shortest_form() {
    let guards = Guards {
        message_bytes_max: 1 << 20,
        ..GUARDS
    };
    let fed = |bytes: &[u8]| {
        let mut decoder = Decoder::default();
        let mut read = bytes.to_vec();
        decoder.feed(&mut read, guards, Timestamp::ZERO, |_| ())
    };
    let (long, longer) = (vec![b'x'; 126], vec![b'x'; 0x1_0000]);
    for (extended, payload) in [(2, &long[..]), (2, &longer[1..]), (8, &longer)] {
        // Whole messages, and frames of the slow path.
        for first in [0x81, 0x82, 0x01, 0x02] {
            assert_eq!(fed(&lengthy(first, payload, extended)), Ok(()));
            let shorter = &payload[..payload.len().min(if extended == 2 { 125 } else { 0xffff })];
            assert_eq!(fed(&lengthy(first, shorter, extended)), Err(FRAMING));
        }
    }
    for first in [0x80, 0x81, 0x82, 0x01, 0x02, 0x88, 0x89, 0x8a] {
        for payload in [&b""[..], b"\x03\xe8", &long[1..]] {
            for extended in [2, 8] {
                let bytes = lengthy(first, payload, extended);
                assert_eq!(fed(&bytes), Err(FRAMING), "{first:x} {extended}");
                // Detected as soon as the head has arrived, also within a message.
                let amid = [frame(0x01, b"a"), bytes[..2 + extended + 4].to_vec()].concat();
                assert_eq!(fed(&amid), Err(FRAMING), "{first:x} {extended}");
            }
        }
        let high = [&[first, 0xff, 0x80][..], &[0; 7], &[0; 4]].concat();
        assert_eq!(fed(&high), Err(FRAMING), "{first:x}");
    }
}

#[test]
fn nothing_is_heard_after_a_close() {
    let mut bytes = frame(0x88, &[3, 232]);
    bytes.extend(frame(0x81, b"late"));
    bytes.extend(frame(0x83, b"broken"));
    for piece in [1, 10_000] {
        let (seen, fed) = decode(&bytes, piece);
        assert_eq!((seen.len(), fed), (1, Ok(())));
    }
}

#[test]
fn pings_over_the_rate_are_dropped_and_then_end_it() {
    let ping = frame(0x89, b"");
    let (answered, fed) = decode(&ping.repeat(102), 10_000);
    assert_eq!((answered.len(), fed), (2, Ok(())));
    assert_eq!(decode(&ping.repeat(103), 10_000).1, Err(CONTROL));
}
