//! The table of errors: every error that a client can be told, with its code and its details.

use alloc::{format, string::String, string::ToString};

use super::*;
use crate::wire::{error::ErrorBody, payload::PayloadError};

/// Errors of one type, each with its code and its details as JSON. The patterns are exhaustive: a
/// new variant does not compile without a row.
macro_rules! rows {
    ($type:ty, $($pattern:pat => $error:expr, $code:ident, $details:expr;)+) => {{
        let _ = |error: &$type| match error { $($pattern => ()),+ };
        $(
            let error: $type = $error;
            check(&error, ErrorCode::$code, $details);
        )+
    }};
}

/// Checks a row, and what holds for all of them.
#[track_caller]
fn check(error: &dyn Coded, code: ErrorCode, details: &str) {
    let text = error.to_string();
    assert_eq!(error.code(), code, "{text}");
    let written = error.details().map(|details| {
        let json = serde_json::to_string(&details).expect("numbers");
        let limit = serde_json::from_str::<Limit>(&json).expect("a limit").limit;
        assert!(
            text.contains(&limit.to_string()),
            "{text} does not name {limit}"
        );
        json
    });
    assert_eq!(written.unwrap_or_default(), details, "{text}");
    assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    for word in [
        " fault",
        "noted",
        " told",
        " whom",
        "as many as",
        "why is",
        "  ",
    ] {
        assert!(!text.contains(word), "{text} has {word:?}");
    }
    // A program can read each limit that a text names.
    let names_a_limit = text.contains("at most ") || text.contains("limit of ");
    assert!(!names_a_limit || !details.is_empty(), "{text}");
}

#[derive(serde::Deserialize)]
struct Limit {
    limit: u64,
}

const NAME: RoomNameError = RoomNameError { bytes_max: 200 };
const CONN: UnknownConn = UnknownConn(ConnId::new(1, 0));

#[test]
fn messages_of_clients() {
    use RequestError as E;
    rows! { RequestError,
        E::Envelope(_) => E::Envelope(EnvelopeError::Id), BadEnvelope, r#"{"limit":64}"#;
        E::Room(_) => E::Room(NAME), BadRoom, r#"{"limit":200}"#;
        E::RoomMissing(_) => E::RoomMissing(NAME), BadRoom, r#"{"limit":200}"#;
        E::UnknownEvent => E::UnknownEvent, UnknownEvent, "";
        E::UnknownVerb => E::UnknownVerb, UnknownVerb, "";
        E::JoinData => E::JoinData, BadPayload, "";
        E::MembersData => E::MembersData, BadPayload, "";
        E::HistoryData => E::HistoryData, BadPayload, "";
        E::PreviousConns => E::PreviousConns, BadPayload, r#"{"limit":16}"#;
        E::Right { .. } => E::Right { right: Right::Join }, Forbidden, "";
        E::RightLost => E::RightLost, Forbidden, "";
        E::Expired => E::Expired, Expired, "";
        E::Token => E::Token, Unauthorized, "";
        E::TokenUnavailable => E::TokenUnavailable, Unavailable, "";
        E::OtherUser => E::OtherUser, Forbidden, "";
        E::LateUser => E::LateUser, Forbidden, "";
        E::JoinEnded => E::JoinEnded, Forbidden, "";
        E::Unidentified => E::Unidentified, Unauthorized, "";
        E::NotAMember => E::NotAMember, Forbidden, "";
        E::PublishForbidden => E::PublishForbidden, Forbidden, "";
        E::KeyReused => E::KeyReused, KeyReused, "";
        E::Join(_) => E::Join(JoinError::MemberLimit { limit: 9 }), MemberLimit, r#"{"limit":9}"#;
        E::Page(_) => E::Page(PageError::NoHistory), Forbidden, "";
        E::Rate { .. } => E::Rate { per_second: 50, noun: "message", after_ms: Some(20) },
            RateLimited, r#"{"limit":50,"after_ms":20}"#;
        E::UserRate { .. } => E::UserRate { per_second: 50, noun: "message", after_ms: Some(20) },
            RateLimited, r#"{"limit":50,"after_ms":20}"#;
        E::UserConnections { .. } => E::UserConnections { limit: 3 }, Overloaded, r#"{"limit":3}"#;
        E::Queued { .. } => E::Queued { limit: 64, noun: "message" }, Overloaded, r#"{"limit":64}"#;
        E::Pending { .. } => E::Pending { limit: 256 }, Overloaded, r#"{"limit":256}"#;
        E::Reads { .. } => E::Reads { limit: 1024 }, Overloaded, r#"{"limit":1024}"#;
        E::Unsaved => E::Unsaved, Unavailable, "";
        E::Relay => E::Relay, Unavailable, "";
        E::Internal => E::Internal, Internal, "";
    }
    check(
        &E::Rate {
            per_second: 1,
            noun: "byte",
            after_ms: None,
        },
        ErrorCode::RateLimited,
        r#"{"limit":1}"#,
    );
}

#[test]
fn envelopes_and_what_is_in_them() {
    use EnvelopeError as E;
    rows! { EnvelopeError,
        E::Object => E::Object, BadEnvelope, "";
        E::Event => E::Event, BadEnvelope, r#"{"limit":128}"#;
        E::Id => E::Id, BadEnvelope, r#"{"limit":64}"#;
        E::Room => E::Room, BadEnvelope, "";
        E::Echo => E::Echo, BadEnvelope, "";
        E::Key => E::Key, BadEnvelope, r#"{"limit":64}"#;
        E::Conn => E::Conn, BadEnvelope, r#"{"limit":16}"#;
        E::Payload(_) => E::Payload(PayloadError::Syntax), BadPayload, "";
    }
    use PayloadError as P;
    rows! { PayloadError,
        P::Syntax => P::Syntax, BadPayload, "";
        P::Depth => P::Depth, BadPayload, r#"{"limit":64}"#;
        P::Surrogate => P::Surrogate, BadPayload, "";
    }
    use EncodeError as W;
    rows! { EncodeError,
        W::Event => W::Event, BadRequest, r#"{"limit":128}"#;
        W::Path => W::Path, BadRequest, r#"{"limit":200}"#;
        W::Payload(_) => W::Payload(PayloadError::Depth), BadPayload, r#"{"limit":64}"#;
        W::Value => W::Value, BadPayload, "";
        W::Room(_) => W::Room(NAME), BadRoom, r#"{"limit":200}"#;
        W::Unavailable => W::Unavailable, Unavailable, "";
    }
    check(&NAME, ErrorCode::BadRoom, r#"{"limit":200}"#);
}

#[test]
fn calls_of_the_hub() {
    check(&CONN, ErrorCode::NotFound, "");
    use JoinError as J;
    rows! { JoinError,
        J::UnknownConn(_) => J::UnknownConn(CONN), NotFound, "";
        J::Room(_) => J::Room(NAME), BadRoom, r#"{"limit":200}"#;
        J::Encode(_) => J::Encode(EncodeError::Value), BadPayload, "";
        J::RoomLimit { .. } => J::RoomLimit { limit: 128 }, RoomLimit, r#"{"limit":128}"#;
        J::RoomNames { .. } => J::RoomNames { limit: 500 }, RoomLimit, r#"{"limit":500}"#;
        J::MemberLimit { .. } => J::MemberLimit { limit: 1 }, MemberLimit, r#"{"limit":1}"#;
        J::Meta { .. } => J::Meta { bytes_max: 2048 }, TooLarge, r#"{"limit":2048}"#;
        J::Metas { .. } => J::Metas { bytes_max: 500 }, TooLarge, r#"{"limit":500}"#;
    }
    use SendError as S;
    rows! { SendError,
        S::Encode(_) => S::Encode(EncodeError::Event), BadRequest, r#"{"limit":128}"#;
        S::KeyReused => S::KeyReused, KeyReused, "";
        S::Key => S::Key, BadRequest, r#"{"limit":128}"#;
        S::Unavailable => S::Unavailable, Unavailable, "";
    }
    use Refusal as R;
    rows! { Refusal,
        R::Full { .. } => R::Full { limit: 3 }, Overloaded, r#"{"limit":3}"#;
        R::Exhausted => R::Exhausted, Overloaded, "";
        R::Unidentified => R::Unidentified, Unauthorized, "";
        R::Expired => R::Expired, Expired, "";
        R::Withdrawn => R::Withdrawn, Unauthorized, "";
    }
    use SessionError as Session;
    rows! { SessionError,
        Session::UnknownConn(_) => Session::UnknownConn(CONN), NotFound, "";
        Session::Value => Session::Value, Internal, "";
        Session::Type => Session::Type, Internal, "";
        Session::TooLarge { .. } => Session::TooLarge { bytes_max: 1024 },
            TooLarge, r#"{"limit":1024}"#;
    }
    use PageError as P;
    rows! { PageError,
        P::NoHistory => P::NoHistory, Forbidden, "";
        P::NoPresence => P::NoPresence, Forbidden, "";
        P::Cursor => P::Cursor, BadRequest, "";
        P::Unavailable => P::Unavailable, Unavailable, "";
        P::Unfollowed => P::Unfollowed, Unavailable, "";
    }
    use RestoreError as Restore;
    rows! { RestoreError,
        Restore::Conn(_) => Restore::Conn(ConnId::new(1, 0)), Internal, "";
        Restore::Room(_) => Restore::Room(ConnId::new(1, 0)), Internal, "";
        Restore::RoomState => Restore::RoomState, Internal, "";
        Restore::Gateway => Restore::Gateway, Internal, "";
    }
}

#[test]
fn an_error_frame_has_its_members_in_order() {
    let frame = |error: &RequestError| ErrorBody::from(error).frame();
    assert_eq!(
        frame(&RequestError::Pending { limit: 2 }),
        r#"{"event":"$error","error":{"code":"overloaded","message":"at most 2 requests of a connection may wait for their answers: wait for some of them","details":{"limit":2}}}"#
    );
    assert_eq!(
        frame(&RequestError::Internal),
        r#"{"event":"$error","error":{"code":"internal","message":"internal server error (logged)"}}"#
    );
}

#[test]
fn every_code_has_its_own_word_and_a_status() {
    let words: alloc::collections::BTreeSet<String> = ErrorCode::ALL
        .iter()
        .map(|code| format!("{code}"))
        .collect();
    assert_eq!(words.len(), ErrorCode::ALL.len());
    assert!(
        ErrorCode::ALL
            .iter()
            .all(|code| (400..=599).contains(&code.status()))
    );
}
