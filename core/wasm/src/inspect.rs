//! Journals, step by step: the commands of each input, the state after it, the differences without
//! it, messages that a connection did not get, and a check of the invariants.

mod comparison;
mod difference;
mod fault;
mod invariants;
mod lines;
mod missed;
mod output;
mod player;
mod snapshots;
mod state;
mod stepper;

pub use self::{
    comparison::Comparison, fault::InspectError, invariants::Invariants, missed::Missed,
    stepper::Stepper,
};
