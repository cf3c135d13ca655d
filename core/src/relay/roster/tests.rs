use alloc::{string::String, string::ToString, vec};

use super::*;
use crate::relay::users::PresentUser;

const LIST_MAX: usize = 3;
const LIMITS: (usize, Timestamp) = (LIST_MAX, Timestamp::from_millis(0));

fn notice(epoch: &str, number: u64, name: &str) -> Notice {
    let (change, name) = match name.strip_prefix('-') {
        Some(name) => (PresenceChange::Left, name),
        None => (PresenceChange::Joined, name),
    };
    Notice {
        room: "r".into(),
        epoch: epoch.into(),
        number,
        change,
        name: name.into(),
        meta: None,
    }
}

fn page(epoch: &str, number: u64, names: &[&str]) -> RoomUsers {
    let user = |name: &&str| PresentUser {
        name: (*name).into(),
        conns: 1,
        waits: false,
        meta: None,
    };
    RoomUsers {
        room: "r".into(),
        epoch: epoch.into(),
        number,
        total: names.len(),
        conns: names.len(),
        users: names.iter().map(user).collect(),
    }
}

fn live(names: &[&str]) -> Roster {
    let mut roster = Roster::default();
    roster.ask(1);
    assert!(!roster.take_users(1, &page("e", 5, names), LIMITS, &mut Vec::new()));
    roster
}

/// The changes that a notice leads to, and whether the relay is to be asked.
fn takes(roster: &mut Roster, notice: &Notice) -> (Vec<String>, bool) {
    let mut turns = Vec::new();
    let asks = roster.take_notice(notice, LIST_MAX, &mut turns);
    (shown(&turns), asks)
}

fn shown(turns: &[Turn]) -> Vec<String> {
    let turns = turns.iter().map(|turn| {
        let sign = match turn.change {
            PresenceChange::Joined => "+",
            PresenceChange::Left => "-",
        };
        sign.to_string() + &turn.name.who().cursor()
    });
    turns.collect()
}

#[test]
fn the_next_notice_counts_and_a_repeated_one_does_not() {
    let mut roster = live(&["uann"]);
    assert_eq!(
        takes(&mut roster, &notice("e", 6, "uben")),
        (vec!["+uben".into()], false)
    );
    assert_eq!(takes(&mut roster, &notice("e", 6, "uben")), (vec![], false));
    assert_eq!(
        takes(&mut roster, &notice("e", 7, "-uann")),
        (vec!["-uann".into()], false)
    );
    assert_eq!(roster.counts(), (1, 1));
}

#[test]
fn after_a_jump_the_difference_is_told() {
    let mut roster = live(&["uann", "uben"]);
    assert_eq!(takes(&mut roster, &notice("e", 7, "ucat")), (vec![], true));
    roster.ask(2);
    assert_eq!(takes(&mut roster, &notice("e", 8, "udan")), (vec![], false));
    let mut turns = Vec::new();
    assert!(!roster.take_users(2, &page("e", 7, &["uben", "ucat"]), LIMITS, &mut turns));
    assert_eq!(shown(&turns), ["-uann", "+ucat", "+udan"]);
}

#[test]
fn changes_before_the_first_list_are_told_although_it_has_them() {
    let mut roster = Roster::default();
    roster.ask(1);
    for notice in [
        notice("d", 9, "uold"),
        notice("e", 4, "-uann"),
        notice("e", 5, "uben"),
    ] {
        assert_eq!(takes(&mut roster, &notice), (vec![], false));
    }
    // The relay does not answer, and is asked again.
    roster.fail();
    assert_eq!(takes(&mut roster, &notice("e", 6, "ucat")), (vec![], false));
    roster.ask(2);
    assert_eq!(takes(&mut roster, &notice("e", 7, "udan")), (vec![], false));
    let mut turns = Vec::new();
    assert!(!roster.take_users(2, &page("e", 6, &["uben", "ucat"]), LIMITS, &mut turns));
    assert_eq!(shown(&turns), ["-uann", "+uben", "+ucat", "+udan"]);
    let counts: Vec<_> = turns.iter().map(|it| (it.before, it.after)).collect();
    assert_eq!(counts, [(1, 0), (0, 1), (1, 2), (2, 3)]);
    assert_eq!(
        takes(&mut roster, &notice("e", 8, "-ucat")),
        (vec!["-ucat".into()], false)
    );
}

#[test]
fn a_list_of_another_epoch_counts_when_it_was_asked_for() {
    let mut roster = live(&["uann"]);
    let mut turns = Vec::new();
    assert!(roster.take_users(9, &page("f", 1, &[]), LIMITS, &mut turns));
    assert!(turns.is_empty());
    assert_eq!(takes(&mut roster, &notice("f", 1, "uben")), (vec![], true));
    roster.ask(2);
    assert!(!roster.take_users(2, &page("f", 1, &["uben"]), LIMITS, &mut turns));
    assert_eq!(shown(&turns), ["+uben"], "ann is given time");
}

#[test]
fn an_older_list_changes_nothing() {
    let mut roster = live(&["uann"]);
    takes(&mut roster, &notice("e", 6, "uben"));
    let mut turns = Vec::new();
    assert!(!roster.take_users(9, &page("e", 5, &["uann"]), LIMITS, &mut turns));
    assert_eq!((turns.len(), roster.counts().0), (0, 2));
}

#[test]
fn a_notice_that_does_not_fit_is_asked_about() {
    let mut roster = live(&["uann"]);
    assert_eq!(takes(&mut roster, &notice("e", 6, "uann")), (vec![], true));
    let mut roster = live(&["uann"]);
    assert_eq!(takes(&mut roster, &notice("e", 6, "-uben")), (vec![], true));
}

#[test]
fn above_the_limit_there_are_counts_and_below_it_the_list_is_asked_for() {
    let mut roster = live(&["uann", "uben", "ucat"]);
    let (turns, asks) = takes(&mut roster, &notice("e", 6, "udan"));
    assert_eq!(
        (turns.len(), asks, roster.list(None).count()),
        (1, false, 0)
    );
    assert_eq!(takes(&mut roster, &notice("e", 7, "-udan")), (vec![], true));
    roster.ask(2);
    let mut turns = Vec::new();
    let page = page("e", 7, &["uann", "uben", "ucat"]);
    assert!(!roster.take_users(2, &page, LIMITS, &mut turns));
    assert_eq!((turns[0].before, turns[0].after), (4, 3));
    assert_eq!(roster.list(None).count(), 3);
}

#[test]
fn guests_come_behind_users_by_age() {
    let roster = live(&["c10", "c9", "uann"]);
    let names: Vec<_> = roster.list(None).map(|it| it.who.cursor()).collect();
    assert_eq!(names, ["uann", "c9", "c10"]);
    assert_eq!(roster.list(Some(Who::User("ann"))).count(), 2);
}

#[test]
fn users_whom_the_relay_lost_are_there_for_as_long_as_a_lease() {
    let mut roster = live(&["uann", "uben", "ucat"]);
    roster.ask(2);
    let mut turns = Vec::new();
    assert!(!roster.take_users(2, &page("f", 1, &["uann"]), LIMITS, &mut turns));
    assert_eq!((turns.len(), roster.counts()), (0, (3, 3)));
    // A list in between knows no more of them.
    roster.ask(3);
    assert!(!roster.take_users(3, &page("f", 1, &["uann"]), LIMITS, &mut turns));
    assert_eq!((turns.len(), roster.list(None).count()), (0, 3));
    assert_eq!(takes(&mut roster, &notice("f", 2, "uben")), (vec![], false));
    let until = roster.absent_until().expect("cat is absent");
    roster.end_absence(Timestamp::from_millis(9_999), &mut turns);
    assert_eq!((turns.len(), until), (0, Timestamp::from_millis(10_000)));
    roster.end_absence(until, &mut turns);
    assert_eq!(shown(&turns), ["-ucat"]);
    assert_eq!((roster.counts(), roster.absent_until()), ((2, 2), None));
    assert_eq!(takes(&mut roster, &notice("f", 3, "ucat")).0, ["+ucat"]);
}

#[test]
fn who_left_is_told_at_once_in_an_epoch_that_goes_on() {
    let mut roster = live(&["uann", "uben"]);
    roster.ask(2);
    let mut turns = Vec::new();
    assert!(!roster.take_users(2, &page("e.2", 6, &["uann"]), LIMITS, &mut turns));
    assert_eq!(
        (shown(&turns), roster.absent_until()),
        (vec!["-uben".into()], None)
    );
}
