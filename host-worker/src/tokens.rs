//! Verification of tokens in an object, and the keys that an issuer publishes.

use std::cell::RefCell;

use roomcast_core::{Identity, Timestamp};
use roomcast_http::{TokenRefusal, Tokens, identity_of, settings::SettingError};
use roomcast_token::{Jwks, KeySet, Now, Poll, Verifier};

thread_local! {
    /// Published keys, shared by all objects of an isolate. If each object asked the issuer,
    /// anybody could multiply the requests by naming new objects.
    static PUBLISHED: RefCell<Jwks> = RefCell::default();
}

/// The verifier of an object's tokens.
#[derive(Debug)]
pub(crate) struct TokenGate {
    verifier: Verifier,
    /// The URL of published keys.
    url: Option<Box<str>>,
}

/// The next step for a token that waits for published keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextKeys {
    /// The keys are fetched from this URL.
    Fetch(Box<str>),
    /// Another object fetches them.
    Wait,
    /// Nothing needs to be fetched: the token is verified with the present keys.
    None,
}

impl TokenGate {
    /// Creates a gate with these settings.
    ///
    /// # Errors
    ///
    /// When a key cannot be used.
    pub(crate) fn new(tokens: &Tokens) -> Result<Self, SettingError> {
        let url = tokens.jwks.as_ref().map(|url| url.as_str().into());
        let verifier = tokens.verifier()?;
        // All objects have the same settings.
        PUBLISHED.with_borrow_mut(|published| published.set_pace(tokens.jwks_pace));
        Ok(Self { verifier, url })
    }

    /// The URL of published keys, when there is one.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Verifies a token; `None` when published keys are to be [fetched](Self::next) first.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let both = Now {
            unix_s: now.as_millis() / 1000,
            time: now,
        };
        if self.url.is_none() {
            let verified = self.verifier.verify(token, &KeySet::default(), both);
            return Some(verified.map(identity_of).map_err(TokenRefusal::Invalid));
        }
        let keys = PUBLISHED.with_borrow(|published| published.keys().clone());
        match self.verifier.verify(token, &keys, both) {
            Ok(claims) => Some(Ok(identity_of(claims))),
            Err(error) => PUBLISHED.with_borrow_mut(|published| {
                let refusal = TokenRefusal::after(error, published, now);
                refusal.map(Err)
            }),
        }
    }

    /// Verifies a token without waiting for keys any longer.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Verified {
        let checked = self.check(token, now);
        checked.unwrap_or(Err(TokenRefusal::Unavailable))
    }

    /// Returns the next step for a token whose key is unknown. The caller reports the end of a
    /// fetch with [`received`] or [`failed`].
    pub(crate) fn next(&self, now: Timestamp) -> NextKeys {
        let Some(url) = &self.url else {
            return NextKeys::None;
        };
        PUBLISHED.with_borrow_mut(|published| match published.poll(now) {
            Poll::Fetch => NextKeys::Fetch(url.clone()),
            Poll::WaitUntil(_) if published.is_fetching() => NextKeys::Wait,
            Poll::WaitUntil(_) => NextKeys::None,
        })
    }

    /// True when the keys are old, or were never fetched.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.url.is_some() && PUBLISHED.with_borrow(|published| published.is_due(now))
    }
}

/// The identity that a token gives, or the reason why it gives none.
pub(crate) type Verified = Result<Identity, TokenRefusal>;

/// Takes the answer to a fetch of published keys.
///
/// # Errors
///
/// The reason why the answer has no keys, for the log.
pub(crate) fn received(now: Timestamp, status: u16, body: &[u8]) -> Result<(), String> {
    PUBLISHED.with_borrow_mut(|published| {
        let read = published.received(now, status, body);
        read.map(drop).map_err(|fault| fault.to_string())
    })
}

/// Records that a fetch of published keys had no answer.
pub(crate) fn failed(now: Timestamp) {
    PUBLISHED.with_borrow_mut(|published| published.failed(now));
}

/// Takes keys that an object kept, unless there are keys: their text, and when they were fetched.
pub(crate) fn restore(now: Timestamp, body: &[u8], fetched: Timestamp) {
    PUBLISHED.with_borrow_mut(|published| {
        let has_keys = published.keys().keys().next().is_some();
        if !has_keys
            && !published.is_fetching()
            && let age = now.saturating_since(fetched)
            && let Ok(kept) = Jwks::restore(published.pace(), now, body, age)
        {
            *published = kept;
        }
    });
}
