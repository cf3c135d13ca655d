//! Saving the state of a router as text, and loading it.

use alloc::{boxed::Box, string::String, vec, vec::Vec};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub(super) trait Persist<S> {
    /// Serializes the state; `None` when that fails.
    fn save(&self, state: &S) -> Option<String>;

    /// Replaces the state by the saved one; false when the text is not such a state.
    fn load(&self, saved: &str, state: &mut S) -> bool;
}

/// All of the state as JSON.
pub(super) struct Whole;

impl<S: Serialize + DeserializeOwned> Persist<S> for Whole {
    fn save(&self, state: &S) -> Option<String> {
        serde_json::to_string(state).ok()
    }

    fn load(&self, saved: &str, state: &mut S) -> bool {
        let loaded = serde_json::from_str(saved);
        loaded.map(|loaded| *state = loaded).is_ok()
    }
}

type Part<S> = Option<Box<dyn Persist<S>>>;

/// The persistent ones of two states: `[[first],[second]]`, with an empty list for a state that is
/// not persistent.
struct Parts<S, T>(Part<S>, Part<T>);

/// Persistence of the states of two routers; `None` when neither is persistent.
pub(super) fn of_both<S: 'static, T: 'static>(first: Part<S>, second: Part<T>) -> Part<(S, T)> {
    let any = first.is_some() || second.is_some();
    any.then(|| Box::new(Parts(first, second)) as _)
}

impl<S, T> Persist<(S, T)> for Parts<S, T> {
    fn save(&self, (first, second): &(S, T)) -> Option<String> {
        let parts = (save(&self.0, first)?, save(&self.1, second)?);
        serde_json::to_string(&parts).ok()
    }

    fn load(&self, saved: &str, (first, second): &mut (S, T)) -> bool {
        serde_json::from_str(saved).is_ok_and(|(one, two): (Vec<&RawValue>, Vec<&RawValue>)| {
            load(&self.0, &one, first) && load(&self.1, &two, second)
        })
    }
}

fn save<S>(part: &Part<S>, state: &S) -> Option<Vec<Box<RawValue>>> {
    let Some(persist) = part else {
        return Some(Vec::new());
    };
    let json = RawValue::from_string(persist.save(state)?).ok()?;
    Some(vec![json])
}

/// Loads a part. The state stays as it is if none was saved, or if the part is not persistent.
fn load<S>(part: &Part<S>, saved: &[&RawValue], state: &mut S) -> bool {
    match (part, saved) {
        (Some(persist), [json, ..]) => persist.load(json.get(), state),
        _ => true,
    }
}
