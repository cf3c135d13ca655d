//! Errors of calls to a relay.

/// A call that the relay did not carry out, or may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The relay cannot be reached, or is overloaded. Nothing was done.
    #[error("the relay is unavailable: {0}")]
    Unavailable(&'static str),
    /// There was no answer in time, and the call may have been carried out. A publish may be
    /// retried only with its key. Changes of presence may be retried as they are.
    #[error("the relay did not answer: it is not known whether this was carried out")]
    InDoubt,
    /// The server refused. Nothing was done.
    #[error("the server of the relay refused: {0}")]
    Refusal(Box<str>),
    /// The lease of the node was taken away. [`Registered`](crate::Event::Registered) follows.
    #[error("the lease of this node was taken away")]
    Fenced,
    /// The idempotency key belongs to another message.
    #[error("the idempotency key belongs to another message")]
    KeyReused,
    /// The call breaks a rule of the relay.
    #[error("{0}")]
    Invalid(&'static str),
    /// The server gave an answer that its scripts do not give.
    #[error("the relay answered in a form that is not known: {0}")]
    Foreign(Box<str>),
}
