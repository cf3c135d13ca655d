//! The application layer in front of the hub, sans-IO like the hub itself.

mod answer;
mod app;
mod apply;
mod connect;
mod context;
mod failure;
mod hooks;
mod input;
mod namespace_context;
mod outcome;
mod rejection;
mod timetable;
mod upgrade;
mod wait;

pub use self::{
    app::{App, AppState},
    context::{Context, Scope, To},
    failure::{Failure, HandlerError, ok},
    hooks::{Decision, Gateway, RoomAction},
    input::{Applied, Input},
    namespace_context::NamespaceContext,
    outcome::{IntoOutcome, Outcome, Reply, Token},
    rejection::{ConnectError, Rejection},
    upgrade::{Admission, UpgradeRequest},
    wait::{CompleteError, HistoryRead, IntoNowOrLater, Later, NowOrLater, Work, later},
};
