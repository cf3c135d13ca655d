//! Webhooks of Roomcast: events of rooms and connections, sent to backends in any language.
//!
//! Sans-IO, like the core: a host puts events into the [`Line`] of an endpoint, asks it for the
//! request to send, sends it, and reports the outcome. Time and randomness are inputs.
//!
//! ```
//! use roomcast_core::Timestamp;
//! use roomcast_hooks::{Keys, Line, LineLimits, Outcome, Poll, Report};
//!
//! let keys = Keys::new(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?])?;
//! let mut line = Line::new("4f2a", LineLimits::default());
//! let (mut now, unix_ms) = (Timestamp::ZERO, 1_700_000_000_000);
//! line.push(now, unix_ms, "default", r#"{"type":"room.occupied","room":"lobby"}"#);
//!
//! // The event waits for others, for a second at most.
//! let Poll::WaitUntil(at) = line.poll(now) else { unreachable!() };
//! now = at;
//! let Poll::Send(request) = line.poll(now) else { unreachable!() };
//! let [_, (name, signature), ..] = request.headers(&keys, unix_ms / 1000);
//! assert!(name == "webhook-signature" && signature.starts_with("v1,"));
//! // ... a POST with these headers and `request.body()`; then
//! let answered = Outcome::Answered { status: 204, retry_after: None };
//! assert_eq!(line.done(now, answered, 7), Report::Accepted { events: 1 });
//! assert_eq!(line.poll(now), Poll::Idle);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For a backend that is asked who a connection is, and which rooms it may join, there is [`Ask`].

#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::std_instead_of_core, clippy::alloc_instead_of_core)]

extern crate alloc;

mod ask;
mod change;
mod hook;
mod hook_url;
mod key;
pub mod limits;
mod line;
mod outcome;
mod request;
mod retry;

pub use ask::{
    Answer, Ask, AskCounts, AskEvent, AskLimits, AskOn, AskOutcome, AskPoll, AskRefusal, AskReport,
    AskRequest, AskSettings, AskSettingsError, Asked, HeaderName, Question, Verdict,
};
pub use change::{Change, KeptEvent, Progress};
pub use hook::{Hook, HookError};
pub use hook_url::{HookUrl, HookUrlError};
pub use key::{Key, KeyError, KeySource, Keys};
pub use line::{Line, LineLimits, Poll};
pub use outcome::{Outcome, Report};
pub use request::Request;

#[cfg(test)]
extern crate std;
