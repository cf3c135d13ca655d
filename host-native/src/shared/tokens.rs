//! Verification of tokens, with the settings in force.

mod fetch;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use roomcast_core::Identity;
use roomcast_http::{TokenRefusal, Tokens, identity_of, settings::SettingError};
use roomcast_token::{FetchPace, Jwks, JwksUrl, Now, Poll, Verifier, limits::JWKS_FETCH_TIMEOUT};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::clock::Clock;

/// The number of tokens that may wait for published keys: a fetch takes a second at most.
const WAITING_MAX: usize = 1024;

/// The verifier of tokens that all threads share, with the published keys.
///
/// [`verify`](Self::verify) works on any thread; [`keep_fresh`](Self::keep_fresh) runs on one.
#[derive(Debug)]
pub(crate) struct TokenGate {
    clock: Clock,
    rules: RwLock<Arc<Rules>>,
    /// True when messages must be checked for `$auth`: because tokens are verified, or because
    /// inputs are recorded, which must not contain tokens.
    looks: AtomicBool,
    records: bool,
    published: Mutex<Jwks>,
    /// Notified when there may be something to fetch.
    wanted: Notify,
    /// The number of finished fetches.
    fetches: watch::Sender<u64>,
    waiting: AtomicUsize,
}

/// The settings in force.
#[derive(Debug)]
struct Rules {
    is_on: bool,
    verifier: Verifier,
    jwks: Option<JwksUrl>,
    pace: FetchPace,
}

impl Rules {
    fn new(tokens: &Tokens) -> Result<Self, SettingError> {
        Ok(Self {
            is_on: tokens.is_on(),
            verifier: tokens.verifier()?,
            jwks: tokens.jwks.clone(),
            pace: tokens.jwks_pace,
        })
    }
}

impl TokenGate {
    /// Creates a gate with these settings. `records` tells that inputs are recorded.
    ///
    /// # Errors
    ///
    /// When a key cannot be used.
    pub(crate) fn new(tokens: &Tokens, clock: Clock, records: bool) -> Result<Self, SettingError> {
        let rules = Rules::new(tokens)?;
        Ok(Self {
            clock,
            looks: AtomicBool::new(rules.is_on || records),
            published: Mutex::new(Jwks::new(rules.pace)),
            rules: RwLock::new(Arc::new(rules)),
            records,
            wanted: Notify::new(),
            fetches: watch::Sender::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Changes the settings. Published keys are kept if their URL is the same.
    ///
    /// # Errors
    ///
    /// When a key cannot be used; nothing has changed then.
    pub(crate) fn set(&self, tokens: &Tokens) -> Result<(), SettingError> {
        let rules = Arc::new(Rules::new(tokens)?);
        self.looks.store(rules.is_on || self.records, Relaxed);
        let mut in_force = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if in_force.jwks == rules.jwks {
            self.published().set_pace(rules.pace);
        } else {
            *self.published() = Jwks::new(rules.pace);
        }
        *in_force = rules;
        drop(in_force);
        self.wanted.notify_one();
        Ok(())
    }

    /// True when messages must be checked for `$auth`.
    pub(crate) fn looks(&self) -> bool {
        self.looks.load(Relaxed)
    }

    /// True when tokens are verified.
    pub(crate) fn is_on(&self) -> bool {
        self.rules().is_on
    }

    fn rules(&self) -> Arc<Rules> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    fn published(&self) -> MutexGuard<'_, Jwks> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Verifies a token; `None` when published keys must be fetched first, for which
    /// [`verify`](Self::verify) waits.
    pub(crate) fn check(&self, token: &str) -> Option<Result<Identity, TokenRefusal>> {
        let (rules, time) = (self.rules(), self.clock.now());
        let unix_s = (self.clock.unix_zero_ms() + time.as_millis()) / 1000;
        let keys = match &rules.jwks {
            Some(_) => self.published().keys().clone(),
            None => roomcast_token::KeySet::default(),
        };
        let error = match rules.verifier.verify(token, &keys, Now { unix_s, time }) {
            Ok(claims) => return Some(Ok(identity_of(claims))),
            Err(error) => error,
        };
        if rules.jwks.is_none() {
            return Some(Err(TokenRefusal::Invalid(error)));
        }
        TokenRefusal::after(error, &mut self.published(), time).map(Err)
    }

    /// Verifies a token. If its key is unknown, waits for the next fetch of published keys, if one
    /// is allowed.
    ///
    /// # Errors
    ///
    /// The reason why the token is refused.
    pub(crate) async fn verify(&self, token: &str) -> Result<Identity, TokenRefusal> {
        // Subscribed first, so that the end of a fetch is not missed.
        let mut fetches = self.fetches.subscribe();
        if let Some(checked) = self.check(token) {
            return checked;
        }
        let place = Place::take(&self.waiting).ok_or(TokenRefusal::Unavailable)?;
        self.wanted.notify_one();
        // The fetching task enforces the time as well; this limit holds even if the task is stuck.
        let _ = timeout(2 * JWKS_FETCH_TIMEOUT, fetches.changed()).await;
        drop(place);
        let checked = self.check(token);
        checked.unwrap_or(Err(TokenRefusal::Unavailable))
    }

    /// Fetches published keys when it is time, as long as the server runs.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            let Some(url) = self.rules().jwks.clone() else {
                self.wanted.notified().await;
                continue;
            };
            let now = self.clock.now();
            let poll = self.published().poll(now);
            match poll {
                Poll::Fetch => {
                    let fetched = timeout(JWKS_FETCH_TIMEOUT, fetch::get(&url)).await;
                    let fetched = fetched.unwrap_or_else(|_| {
                        Err(format!("no whole answer within {JWKS_FETCH_TIMEOUT:?}").into())
                    });
                    if self.rules().jwks.as_ref() == Some(&url) {
                        self.received(fetched);
                    }
                    self.fetches.send_modify(|fetches| *fetches += 1);
                }
                Poll::WaitUntil(at) => {
                    let left = at.saturating_since(now).max(Duration::from_millis(1));
                    let mut wanted = pin!(self.wanted.notified());
                    tokio::select! {
                        () = sleep(left) => {}
                        () = &mut wanted => {}
                    }
                }
            }
        }
    }

    fn received(&self, fetched: Result<(u16, Vec<u8>), super::call_failure::CallFailure>) {
        let (mut published, now) = (self.published(), self.clock.now());
        match fetched {
            Ok((status, body)) => match published.received(now, status, &body) {
                Ok(keys) => {
                    let count = keys.keys().count();
                    let ignored = keys
                        .ignored()
                        .map(|(count, first)| format!("{count}: {first}"));
                    tracing::debug!(keys = count, ?ignored, "fetched the published keys");
                }
                Err(fault) => tracing::warn!("--jwks: {fault}; the keys from before stay"),
            },
            Err(fault) => {
                published.failed(now);
                tracing::warn!("--jwks: {fault}; the keys from before stay");
            }
        }
    }
}

/// A permit to wait for published keys.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let before = waiting.fetch_add(1, Relaxed);
        let place = Self(waiting);
        (before < WAITING_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
