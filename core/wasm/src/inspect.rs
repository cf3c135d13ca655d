//! Journals, step by step: what each input led to, the state behind it, and what would have been
//! without it.

mod difference;
mod fault;
mod output;
mod state;
mod stepper;

pub use self::{fault::InspectError, stepper::Stepper};
