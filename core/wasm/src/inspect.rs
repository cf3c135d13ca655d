//! Journals, step by step: what each input led to, the state behind it, what would have been
//! without it, and who did not get a message.

mod comparison;
mod difference;
mod fault;
mod lines;
mod missed;
mod output;
mod player;
mod snapshots;
mod state;
mod stepper;

pub use self::{comparison::Comparison, fault::InspectError, missed::Missed, stepper::Stepper};
