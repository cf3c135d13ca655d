//! Drivers: the systems that a story is performed on.

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

/// A Roomcast that a story can be performed on.
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
    /// True when this driver can do what the op says.
    fn supports(&self, op: &Op) -> bool;

    /// Does what the op says. Returns when everything has arrived that it leads to.
    ///
    /// An op that makes no sense, as of an actor that is not connected, does nothing.
    ///
    /// # Errors
    ///
    /// When the driver fails. A refusal by Roomcast is an [`Answer`].
    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError>;

    /// True when effects that are due at a time may come some time later, as they do from a server:
    /// the story then waits for them.
    fn is_late(&self) -> bool {
        false
    }

    /// True for servers that share their rooms. Each room has an epoch of its own there, while
    /// elsewhere all without a history have that of the namespace; and whatever an op leads to
    /// may come some time later.
    fn is_relayed(&self) -> bool {
        false
    }

    /// True for several such servers. Connections that a message reached are those of one of them.
    fn is_divided(&self) -> bool {
        false
    }

    /// Takes the events of an actor since the last call, in order.
    fn take(&mut self, actor: &Actor) -> Vec<Event>;

    /// The id of the actor's connection, or of its last one; `None` when it never connected.
    fn conn(&self, actor: &Actor) -> Option<String>;
}

/// A driver failed, which says nothing about Roomcast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The driver has no means for this.
    #[error("this driver cannot do it: {0}")]
    Unsupported(String),
    /// The connection to the server broke, or the server does not answer.
    #[error("{0}")]
    Transport(String),
    /// The hub gave a command that no hub may give.
    #[error("a broken command: {0}")]
    Command(String),
}
