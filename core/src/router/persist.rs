//! The state of a router as text, and made from text.

use alloc::{boxed::Box, string::String, vec, vec::Vec};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

pub(super) trait Persist<S> {
    /// `None` when the state has no form in JSON.
    fn save(&self, state: &S) -> Option<String>;

    /// False when this is not the text of such a state.
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

/// The kept ones of two states: `[[first],[second]]`, with nothing in the place of the other.
struct Parts<S, T>(Part<S>, Part<T>);

/// Persistence of the states of two routers; `None` when neither is kept.
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

/// A part that was not kept stays as it is, and one that is kept no longer is dropped.
fn load<S>(part: &Part<S>, saved: &[&RawValue], state: &mut S) -> bool {
    match (part, saved) {
        (Some(persist), [json, ..]) => persist.load(json.get(), state),
        _ => true,
    }
}
