//! The verb `$auth`, whose token the host reads and removes before the message goes further.

use alloc::{borrow::Cow, string::String};

use memchr::memchr3;
use serde::Deserialize;

use super::{
    conn_id::ConnId,
    envelope::Message,
    head::{RequestId, write_head},
};

/// A message with the verb `$auth`, split into its token and the rest.
///
/// A token must not get into a journal or a log, and therefore not into an [`Input`](crate::Input)
/// either. A host looks for these messages first, and continues with [`rest`](Self::rest): as the
/// text of [`Input::Authenticate`](crate::Input::Authenticate), or of
/// [`Input::Text`](crate::Input::Text) if it takes no tokens.
///
/// ```
/// use roomcast_core::wire::AuthRequest;
///
/// let text = r#"{"event":"$auth","id":1,"data":{"token":"a.b.c"}}"#;
/// let request = AuthRequest::find(text).expect("an $auth");
/// assert_eq!(request.token.as_deref(), Some("a.b.c"));
/// assert_eq!(request.rest, r#"{"event":"$auth","id":1}"#);
/// assert!(AuthRequest::find(r#"{"event":"said","room":"a","data":"$auth"}"#).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthRequest<'a> {
    /// The token; `None` when it is not in its place.
    pub token: Option<Cow<'a, str>>,
    /// The message without its `data`. Empty when the message is not an envelope, which is then
    /// reported.
    pub rest: String,
}

/// The `data` of `$auth`.
#[derive(Deserialize)]
struct AuthData<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

impl<'a> AuthRequest<'a> {
    const VERB: &'static str = "$auth";

    /// Splits a message with this verb, or one that may be meant as such: also a text that is not
    /// an envelope, but seems to contain a token.
    ///
    /// Work: a search through the text, which is decoded only if it may be such a message.
    #[inline]
    pub fn find(text: &'a str) -> Option<Self> {
        // A letter of each searched text; most messages have none of them.
        memchr3(b'$', b'\\', b'J', text.as_bytes())?;
        if may_hold_token(text) || text.contains(Self::VERB) || has_escaped_letter(text) {
            Self::read(text)
        } else {
            None
        }
    }

    /// Another message of a client that has yet to identify itself, without the token that it seems
    /// to contain; `None` when it contains none. The message is refused whatever it says, so that
    /// its verb and its id are enough.
    ///
    /// Work: linear.
    pub fn hide_token(text: &str) -> Option<String> {
        if !may_hold_token(text) || !has_token(text) {
            return None;
        }
        let mut left = String::new();
        if let Ok(message) = Message::decode(ConnId::NOBODY, text) {
            write_head(&mut left, &message.event, message.id.as_ref(), None);
            left.push('}');
        }
        Some(left)
            .filter(|left| !has_token(left))
            .or_else(|| Some(String::new()))
    }

    #[cold]
    #[inline(never)]
    fn read(text: &'a str) -> Option<Self> {
        match Message::decode(ConnId::NOBODY, text) {
            Ok(message) if message.event == Self::VERB => {
                let data: Option<AuthData<'_>> = serde_json::from_str(message.data.as_str()).ok();
                let token = data.map(|data| data.token);
                let rest = rest(message.id.as_ref());
                Some(Self { token, rest })
            }
            Ok(_) => None,
            Err(read) => {
                let is_verb = read.event.as_deref() == Some(Self::VERB);
                // An unreadable text may contain a token anywhere.
                let is_meant =
                    read.event.is_none() && (text.contains(Self::VERB) || text.contains("token"));
                (is_verb || is_meant || has_token(text)).then(|| Self {
                    token: None,
                    rest: if is_verb {
                        rest(read.id.as_ref())
                    } else {
                        String::new()
                    },
                })
            }
        }
    }
}

/// The first letters of `{"` in base64, with which a token begins.
const TOKEN_START: &str = "eyJ";
/// The length of the shortest signed token in bytes: a header, a dot, two claims, a dot, 256 bits.
const TOKEN_BYTES_MIN: usize = 64;

fn may_hold_token(text: &str) -> bool {
    text.len() >= TOKEN_BYTES_MIN && text.contains(TOKEN_START)
}

/// True when the text has three base64 parts separated by dots, of which the first begins like a
/// token. Work: linear.
fn has_token(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut words = text.split(|letter| !is_part(letter));
    words.any(|word| {
        let [second, third] = [1, 2].map(|parts| word.split('.').skip(parts));
        let mut parts = word.split('.').zip(second).zip(third);
        parts.any(|((first, second), third)| {
            first.contains(TOKEN_START) && !second.is_empty() && !third.is_empty()
        })
    })
}

/// True when a letter of the verb is escaped somewhere. Escapes of letters beyond ASCII are common,
/// and do not count.
fn has_escaped_letter(text: &str) -> bool {
    const START: &str = "\\u00";
    let mut escapes = text.match_indices(START);
    escapes.any(|(at, _)| {
        let code = text.as_bytes().get(at + START.len()..at + START.len() + 2);
        matches!(code, Some(b"24" | b"61" | b"75" | b"74" | b"68"))
    })
}

fn rest(id: Option<&RequestId<'_>>) -> String {
    let mut text = String::new();
    write_head(&mut text, AuthRequest::VERB, id, None);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, format};

    use super::*;

    fn parts(text: &str) -> Option<(Option<String>, String)> {
        let request = AuthRequest::find(text)?;
        let token = request.token.as_deref().map(ToOwned::to_owned);
        Some((token, request.rest))
    }

    #[test]
    fn a_token_is_found_however_the_verb_is_written() {
        let token = Some("T".to_owned());
        let plain = r#"{"event":"$auth"}"#.to_owned();
        for text in [
            r#"{"event":"$auth","data":{"token":"T"}}"#,
            r#"{"data":{"token":"T","more":1},"x":[],"event":"$auth"}"#,
            r#"{"event":"$a\u0075th","data":{"token":"\u0054"}}"#,
            r#"{"event":"\u0024auth","room":"r","data":{"token":"T"}}"#,
            r#"{"event":"$\u0061u\u0074\u0068","data":{"token":"T"}}"#,
        ] {
            assert_eq!(parts(text), Some((token.clone(), plain.clone())), "{text}");
        }
        let numbered = r#"{"event":"$auth","id":"a","data":{"token":"T"}}"#;
        let rest = r#"{"event":"$auth","id":"a"}"#.to_owned();
        assert_eq!(parts(numbered), Some((token, rest)));
    }

    #[test]
    fn nothing_of_a_message_that_is_meant_so_is_left() {
        for text in [
            r#"{"event":"$auth","data":{"token":"secret"}"#,
            r#"{"event":"$auth","id":1.5,"data":{"token":"secret"}}"#,
            r#"{"event":"$auth","event":"$auth","data":{"token":"secret"}}"#,
            r#"{"event":"$auth","data":"secret"}"#,
            r#"{"event":"$auth","data":{"token":["secret"]}}"#,
            r#"{"event":"\u0024auth","data":{"token":"secret"}"#,
            r#"{"event":"$auth","data":{"token":"secret\ud800"}}"#,
        ] {
            let (token, rest) = parts(text).expect(text);
            assert!(
                token.is_none() && !rest.contains("secret"),
                "{text}: {rest}"
            );
        }
    }

    #[test]
    fn a_token_outside_of_an_envelope_is_left_out() {
        let token =
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjF9.c2lnbmF0dXJlLW9mLTI1Ni1iaXRz";
        for text in [
            token.to_owned(),
            format!("\"{token}\""),
            format!("Bearer {token}\n"),
            format!("[1,\"{token}\"]"),
            format!(r#"{{"jwt":"{token}"}}"#),
            format!(r#"{{"event":"said","id":1.5,"data":"{token}"}}"#),
            format!(r#"{{"event":"said","room":"a","data":"{token}"#),
        ] {
            assert_eq!(parts(&text), Some((None, String::new())), "{text}");
        }
        for text in [
            format!(r#"{{"event":"said","room":"a","data":"{token}"}}"#),
            token.replace('.', " "),
            token.replace("eyJ", "eyK"),
            format!("{}.", &token[..50]),
            "eyJ".repeat(1 << 14),
        ] {
            assert_eq!(parts(&text), None, "{text}");
        }
    }

    #[test]
    fn verb_and_id_are_left_of_a_message_with_a_token() {
        let token =
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjF9.c2lnbmF0dXJlLW9mLTI1Ni1iaXRz";
        for (text, left) in [
            (
                format!(r#"{{"event":"$login","id":1,"data":{{"token":"{token}"}}}}"#),
                r#"{"event":"$login","id":1}"#,
            ),
            (
                format!(r#"{{"event":"$join","room":"a","token":"{token}"}}"#),
                r#"{"event":"$join"}"#,
            ),
            (format!(r#"{{"event":"said","id":"{token}"}}"#), ""),
            (
                format!(r#"{{"event":"said","id":1.5,"data":"{token}"}}"#),
                "",
            ),
            (token.to_owned(), ""),
        ] {
            let hidden = AuthRequest::hide_token(&text);
            assert_eq!(hidden.as_deref(), Some(left), "{text}");
        }
        let plain = r#"{"event":"said","room":"a","data":"eyJ.a.b"}"#;
        assert_eq!(AuthRequest::hide_token(plain), None);
    }

    #[test]
    fn other_messages_pass() {
        for text in [
            r#"{"event":"said","data":"$auth"}"#,
            r#"{"event":"said","data":"\u0024auth"}"#,
            r#"{"event":"$authenticate","data":{"token":"T"}}"#,
            r#"{"event":"said","data":"\u00e4\u00"}"#,
            r#"{"event":"$ping"}"#,
            "",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}
