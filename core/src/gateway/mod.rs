//! Application code, sans-IO like the hub it stands before.

mod answer;
mod app;
mod apply;
mod context;
mod failure;
mod hooks;
mod input;
mod later;
mod namespace_context;
mod outcome;
mod read;
mod rejection;
mod timetable;
mod upgrade;
mod work;

pub use self::{
    app::{App, AppState},
    context::{Context, Scope, To},
    failure::{Failure, HandlerError, ok},
    hooks::{Gateway, RoomAction},
    input::{Applied, Input},
    later::CompleteError,
    namespace_context::NamespaceContext,
    outcome::{IntoOutcome, Outcome, Reply, Token},
    read::HistoryRead,
    rejection::{ConnectError, Rejection},
    upgrade::{Admission, UpgradeRequest},
    work::Work,
};
