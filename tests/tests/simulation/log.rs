//! What was said, as far as anybody was told: which message has which offset of which epoch.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where a message is: epoch and offset.
pub(crate) type Place = (String, u64);

#[derive(Default)]
pub(crate) struct Log {
    /// By room and place the number that was said.
    places: BTreeMap<(String, Place), u64>,
}

impl Log {
    /// A message is at an offset of the room's epoch.
    pub(crate) fn at(&mut self, room: &str, epoch: &str, offset: u64, said: u64) {
        let place = (epoch.to_owned(), offset);
        let known = self.places.insert((room.to_owned(), place), said);
        assert!(
            known.is_none_or(|known| known == said),
            "I12, I28: {room} has {known:?} and {said} at {offset} of {epoch}"
        );
    }

    pub(crate) fn get(&self, room: &str, epoch: &str, offset: u64) -> Option<u64> {
        let place = (epoch.to_owned(), offset);
        self.places.get(&(room.to_owned(), place)).copied()
    }
}

/// The messages that a room keeps end with the last, and have no gap.
pub(crate) fn i29_a_contiguous_suffix(room: &str, page: &[&str], top: u64) {
    let offsets = page.iter().map(|frame| {
        let frame: Value = serde_json::from_str(frame).expect("JSON");
        frame["offset"].as_u64().expect("an offset")
    });
    let offsets: Vec<u64> = offsets.collect();
    let first = top + 1 - offsets.len() as u64;
    assert!(
        offsets.iter().copied().eq(first..=top),
        "I29: {room} has {offsets:?} up to {top}"
    );
}
