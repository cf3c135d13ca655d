//! Drivers: the systems on which a story is performed.

use crate::{Actor, Answer, Event, Op};

mod api;
mod core;
mod hibernating;
mod url;

pub(crate) use self::api::ask;
pub use self::{
    core::{Core, Overflows, Sleep},
    hibernating::Hibernating,
    url::Url,
};

/// A Roomcast implementation on which a story can be performed.
///
/// ```
/// use roomcast_tests::{Core, Driver, Event, Limits, Op};
///
/// let mut core = Core::new(&Limits::default());
/// core.perform(&"alice connects".parse()?)?;
/// core.perform(&r#"alice sends {"event":"$ping"}"#.parse()?)?;
/// assert_eq!(core.take(&"alice".into()), [Event::Text(r#"{"event":"$pong"}"#.into())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Driver {
    /// True when this driver can perform the op.
    fn supports(&self, op: &Op) -> bool;

    /// Performs the op, and returns when all of its effects have arrived.
    ///
    /// An op that makes no sense, such as one of an actor that is not connected, does nothing.
    ///
    /// # Errors
    ///
    /// When the driver fails. A refusal by Roomcast is an [`Answer`].
    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError>;

    /// True when timed effects may be late, as with a real server: the story then waits for them.
    fn is_late(&self) -> bool {
        false
    }

    /// True for servers that share their rooms. Each room then has its own epoch, while otherwise
    /// all rooms without a history have the epoch of the namespace; and the effects of any op may
    /// be late.
    fn is_relayed(&self) -> bool {
        false
    }

    /// True for several such servers. Each counts only its own connections that a message reached.
    fn is_divided(&self) -> bool {
        false
    }

    /// Takes the events of an actor since the last call, in order.
    fn take(&mut self, actor: &Actor) -> Vec<Event>;

    /// The id of the actor's current or last connection; `None` when it never connected.
    fn conn(&self, actor: &Actor) -> Option<String>;
}

/// A failure of a driver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The driver does not support the op.
    #[error("this driver cannot do it: {0}")]
    Unsupported(String),
    /// The connection to the server broke, or the server does not answer.
    #[error("{0}")]
    Transport(String),
    /// The hub gave a command that no hub may give.
    #[error("a broken command: {0}")]
    Command(String),
}
