use alloc::vec;

use super::*;
use crate::relay::{event::StreamMessage, topic::Topic};

const ONE: &[u8] = b"1";

fn live(offset: u64) -> Track {
    Track {
        position: Some(TopicPosition::new("e", offset)),
        state: State::Live,
        ..Track::default()
    }
}

fn page(epoch: &str, top: u64, offsets: &[u64]) -> TopicPage {
    let message = |&offset: &u64| StreamMessage {
        offset,
        body: ONE.into(),
    };
    TopicPage {
        topic: Topic::room("r"),
        position: TopicPosition::new(epoch, top),
        first: offsets.first().copied().unwrap_or(top + 1),
        messages: offsets.iter().map(message).collect(),
    }
}

fn deliver(offset: u64) -> Effect {
    let body = ONE.into();
    Effect::Deliver { offset, body }
}

#[test]
fn the_next_is_delivered_and_what_came_before_is_dropped() {
    let mut track = live(3);
    assert_eq!(track.take_message("e", 3, ONE), Taken::Duplicate);
    assert_eq!(track.take_message("e", 4, ONE), Taken::Next);
    assert_eq!(track.take_message("e", 4, ONE), Taken::Duplicate);
}

#[test]
fn a_jump_is_filled_and_what_came_meanwhile_follows_in_order() {
    let mut track = live(3);
    assert_eq!(track.take_message("e", 5, ONE), Taken::Ask);
    track.ask(1);
    assert_eq!(track.take_message("e", 6, ONE), Taken::Held);
    let effects = track.take_page(&page("e", 5, &[4, 5]));
    assert_eq!(effects, [deliver(4), deliver(5)]);
    assert_eq!(track.take_held(1), (vec![deliver(6)], false));
    assert_eq!(track.position, Some(TopicPosition::new("e", 6)));
}

#[test]
fn messages_that_came_meanwhile_are_no_gap_where_the_relay_keeps_none() {
    let mut track = live(3);
    track.ask(1);
    for offset in 4..=6 {
        assert_eq!(track.take_message("e", offset, ONE), Taken::Held);
    }
    let effects = track.take_page(&page("e", 5, &[]));
    assert_eq!(effects, [deliver(4), deliver(5)]);
    assert_eq!(track.take_held(1), (vec![deliver(6)], false));
}

#[test]
fn a_gap_that_is_not_filled_is_told() {
    let mut track = live(3);
    track.ask(1);
    let effects = track.take_page(&page("e", 7, &[6, 7]));
    assert_eq!(effects, [Effect::Gap { after: 3 }, deliver(6), deliver(7)]);
    track.ask(2);
    assert_eq!(
        track.take_page(&page("e", 9, &[])),
        [Effect::Gap { after: 7 }]
    );
    assert_eq!(track.position, Some(TopicPosition::new("e", 9)));
}

#[test]
fn a_page_that_was_cut_off_is_asked_for_again() {
    let mut track = live(0);
    track.ask(1);
    assert_eq!(
        track.take_page(&page("e", 9, &[1, 2])),
        [deliver(1), deliver(2)]
    );
    assert_eq!(track.take_held(1), (vec![], true));
}

#[test]
fn another_epoch_is_a_gap_once_the_relay_says_so() {
    let mut track = live(3);
    assert_eq!(track.take_message("f", 1, ONE), Taken::Ask);
    track.ask(1);
    let effects = track.take_page(&page("f", 1, &[]));
    assert_eq!(effects, [Effect::Gap { after: 3 }]);
    assert_eq!(track.take_held(1), (vec![], false));
    assert_eq!(track.position, Some(TopicPosition::new("f", 1)));
}

#[test]
fn an_old_message_of_another_epoch_changes_nothing() {
    let mut track = live(3);
    assert_eq!(track.take_message("d", 9, ONE), Taken::Ask);
    track.ask(1);
    assert_eq!(track.take_page(&page("e", 3, &[])), []);
    assert_eq!(track.take_held(1), (vec![], false));
}

#[test]
fn a_newer_epoch_behind_a_page_is_asked_for() {
    let mut track = live(3);
    track.ask(1);
    assert_eq!(track.take_message("f", 1, ONE), Taken::Held);
    assert_eq!(track.take_page(&page("e", 3, &[])), []);
    assert_eq!(track.take_held(1), (vec![], true));
    track.ask(2);
    assert_eq!(
        track.take_page(&page("f", 1, &[])),
        [Effect::Gap { after: 3 }]
    );
    assert_eq!(track.take_held(2), (vec![], false));
}

#[test]
fn too_much_to_hold_back_is_asked_for_again() {
    let mut track = live(0);
    track.ask(1);
    for offset in 1..=Track::HELD_MAX as u64 + 1 {
        assert_eq!(track.take_message("e", offset, ONE), Taken::Held);
    }
    assert!(track.take_page(&page("e", 0, &[])).is_empty());
    assert_eq!(track.take_held(1), (vec![], true));
}

#[test]
fn a_position_below_that_of_the_members_is_a_gap() {
    let mut track = live(7);
    track.ask(1);
    assert_eq!(
        track.take_page(&page("e", 4, &[])),
        [Effect::Gap { after: 4 }]
    );
    assert_eq!(track.position, Some(TopicPosition::new("e", 4)));
}
