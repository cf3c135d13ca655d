//! Journals, step by step: what each input led to, the state behind it, what would have been
//! without it, who did not get a message, and whether the invariants hold.

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
