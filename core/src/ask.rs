//! Requests to a namespace from outside its handlers, each as one value, and their answers.
//!
//! The HTTP API, the handles of applications, and the calls between objects at the edge use them.
//! Requests and answers are plain data and may travel.

mod answer;
mod bus;
mod handle;
mod nodes;
mod request;

pub use self::{
    answer::{Answer, AskError, WITHDRAW_AHEAD_S, wire},
    bus::{BusHead, BusMessage, ConnectionDetails, NodeAnswer},
    handle::{NamespaceHandle, Nowhere, Transport},
    nodes::{Gathered, Gathering, Scope},
    request::{Ask, Asked},
};
