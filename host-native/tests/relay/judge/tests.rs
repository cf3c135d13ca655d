//! Handwritten histories: the judge accepts correct ones, and finds each kind of violation.

use super::{
    check::{Promise, judge},
    history::{History, Id, Joined, Position, Step},
};

fn at(epoch: &str, offset: u64) -> Position {
    let epoch = epoch.into();
    Position { epoch, offset }
}

fn joined(at: Position, already: bool, since: Option<(Position, Option<u64>)>) -> Step {
    Step::Joined(Box::new(Joined { at, already, since }))
}

fn first(epoch: &str, offset: u64) -> Step {
    joined(at(epoch, offset), false, None)
}

/// Messages of the publisher 0, from an offset on.
fn messages(numbers: std::ops::Range<u32>, offset: u64) -> Vec<Step> {
    let steps = numbers.zip(offset..);
    let step = |(number, offset)| message(number, Some(offset));
    steps.map(step).collect()
}

fn message(number: u32, offset: Option<u64>) -> Step {
    let id = Id {
        publisher: 0,
        number,
    };
    Step::Message { id, offset }
}

/// A publish whose message comes back before its answer.
fn published(number: u32, offset: u64) -> Vec<Step> {
    let (acked, offset) = (number, Some(offset));
    vec![
        Step::Invoked(number),
        message(number, offset),
        Step::Acked {
            number: acked,
            offset,
        },
    ]
}

fn publisher(steps: impl IntoIterator<Item = Vec<Step>>) -> History {
    let publisher = Some(0);
    let steps = [vec![first("a", 0)]].into_iter().chain(steps);
    History {
        room: 0,
        publisher,
        steps: steps.flatten().collect(),
    }
}

fn member(steps: Vec<Step>) -> History {
    History {
        room: 0,
        publisher: None,
        steps,
    }
}

/// A publisher of five messages.
fn five() -> History {
    publisher((0..5).map(|number| published(number, u64::from(number) + 1)))
}

/// Kinds of the violations of a publisher and one member.
fn found(publisher: History, steps: impl IntoIterator<Item = Vec<Step>>) -> Vec<&'static str> {
    let steps = steps.into_iter().flatten().collect();
    let verdict = judge(&[publisher, member(steps)], Promise::Told);
    verdict.violations.into_keys().collect()
}

const NONE: [&str; 0] = [];

#[test]
fn histories_without_a_loss_pass() {
    let whole = [vec![first("a", 0)], messages(0..5, 1)];
    assert_eq!(found(five(), whole), NONE);
    let late = [vec![first("a", 2)], messages(2..5, 3)];
    assert_eq!(found(five(), late), NONE);
    let back = joined(at("a", 4), false, Some((at("a", 2), Some(2))));
    let back = [
        vec![first("a", 0)],
        messages(0..2, 1),
        vec![back],
        messages(2..5, 3),
    ];
    assert_eq!(found(five(), back), NONE);
    let told = joined(at("a", 4), false, Some((at("a", 2), None)));
    let told = [
        vec![first("a", 0)],
        messages(0..2, 1),
        vec![told],
        messages(4..5, 5),
    ];
    assert_eq!(found(five(), told), NONE);
    let asked = joined(at("a", 4), true, None);
    let gap = vec![Step::Gap, message(3, Some(4)), asked];
    let gap = [
        vec![first("a", 0)],
        messages(0..2, 1),
        gap,
        messages(4..5, 5),
    ];
    assert_eq!(found(five(), gap), NONE);
}

#[test]
fn a_loss_that_is_told_is_none_where_nothing_may_be_lost() {
    let gap = vec![first("a", 0), Step::Gap, message(4, Some(5))];
    let histories = [five(), member(gap)];
    assert!(judge(&histories, Promise::Told).is_clean());
    let verdict = judge(&histories, Promise::Whole);
    assert!(verdict.violations.contains_key("lost"), "{verdict}");
}

#[test]
fn an_epoch_has_what_the_one_before_it_kept_once() {
    let page = |offsets: [u64; 5]| {
        let id = |number| Id {
            publisher: 0,
            number,
        };
        let messages = offsets.into_iter().zip((0..5).map(id)).collect();
        let epoch = "b".into();
        vec![Step::Page { epoch, messages }]
    };
    let kept = [vec![first("b", 5)], page([1, 2, 3, 4, 5])];
    assert_eq!(found(five(), kept.clone()), NONE);
    let verdict = judge(&[five(), member(kept.concat())], Promise::Told);
    assert_eq!(verdict.again, 0, "{verdict}");
    let mut twice = page([1, 2, 3, 4, 5]);
    twice.extend(page([1, 2, 3, 4, 6]));
    assert_eq!(found(five(), [twice]), ["twice"]);
    let mut other = page([1, 2, 3, 4, 5]);
    other.extend(page([2, 1, 3, 4, 5]));
    assert_eq!(found(five(), [other]), ["conflict"]);
}

#[test]
fn an_acknowledged_message_that_is_nowhere_is_one_where_nothing_may_be_lost() {
    let (number, offset) = (1, None);
    let (invoked, answer) = (Step::Invoked(number), Step::Acked { number, offset });
    let over = [published(0, 1), vec![invoked, Step::Gap, answer]];
    let verdict = judge(&[publisher(over)], Promise::Told);
    assert!(verdict.is_clean() && verdict.late == 1, "{verdict}");
    let acked = vec![Step::Invoked(number), Step::Acked { number, offset }];
    let gap = vec![Step::Gap];
    let behind = [published(0, 1), gap.clone(), acked.clone()];
    let verdict = judge(&[publisher(behind)], Promise::Told);
    assert!(verdict.violations.contains_key("nowhere"), "{verdict}");
    let histories = [publisher([published(0, 1), acked, gap])];
    assert!(judge(&histories, Promise::Told).is_clean());
    let verdict = judge(&histories, Promise::Whole);
    assert!(verdict.violations.contains_key("lost"), "{verdict}");
}

#[test]
fn what_a_member_lacks_is_found() {
    let hole = [vec![first("a", 0)], messages(0..2, 1), messages(3..5, 4)];
    assert_eq!(found(five(), hole), ["missing", "skipped"]);
    let back = joined(at("a", 3), false, Some((at("a", 2), Some(0))));
    let short = [
        vec![first("a", 0)],
        messages(0..2, 1),
        vec![back],
        messages(3..5, 4),
    ];
    assert_eq!(found(five(), short), ["missing", "recovery", "skipped"]);
    // Without offsets the numbers of the publisher tell.
    let plain = |numbers: &[u32]| {
        let steps = numbers.iter().map(|number| message(*number, None));
        [vec![first("a", 0)], steps.collect()]
    };
    let acked = |number| {
        let acked = Step::Acked {
            number,
            offset: None,
        };
        vec![Step::Invoked(number), message(number, None), acked]
    };
    let source = || publisher((0..5).map(acked));
    assert_eq!(found(source(), plain(&[0, 1, 2, 3, 4])), NONE);
    assert_eq!(found(source(), plain(&[0, 1, 3, 4])), ["missing"]);
    assert_eq!(found(source(), plain(&[0, 1, 1, 2, 3, 4])), ["twice"]);
    assert_eq!(
        found(source(), plain(&[0, 2, 1, 3, 4])),
        ["missing", "order"]
    );
}

#[test]
fn an_epoch_that_changes_without_a_word_is_found() {
    let asked = vec![joined(at("b", 2), true, None)];
    let silent = [vec![first("a", 0)], messages(0..2, 1), asked];
    assert_eq!(found(five(), silent), ["epoch"]);
    let asked = vec![joined(at("a", 7), true, None)];
    let moved = [vec![first("a", 0)], messages(0..2, 1), asked];
    assert_eq!(found(five(), moved), ["position"]);
}

#[test]
fn offsets_that_are_given_out_again_are_found() {
    // The publisher is told that its fourth message has an offset that it has already passed.
    let unseen = vec![
        Step::Invoked(3),
        Step::Acked {
            number: 3,
            offset: Some(2),
        },
    ];
    let hidden = publisher(
        (0..3)
            .map(|it| published(it, u64::from(it) + 1))
            .chain([unseen]),
    );
    let whole = [vec![first("a", 0)], messages(0..3, 1)];
    assert_eq!(found(hidden, whole.clone()), ["nowhere", "unseen"]);
    // It was told of a gap.
    let told = vec![
        Step::Invoked(3),
        Step::Gap,
        Step::Acked {
            number: 3,
            offset: Some(1),
        },
    ];
    let told = publisher(
        (0..3)
            .map(|it| published(it, u64::from(it) + 1))
            .chain([told]),
    );
    assert_eq!(found(told, whole), NONE);
    // One member has another message at the offset.
    let other = [vec![first("a", 0), message(1, Some(1))], messages(2..5, 2)];
    let violations = found(five(), other);
    assert_eq!(violations, ["conflict", "missing"]);
}

#[test]
fn what_nobody_published_and_what_comes_twice_is_found() {
    let foreign = [vec![first("a", 0)], messages(0..6, 1)];
    assert_eq!(found(five(), foreign), ["foreign"]);
    let foreign = [
        vec![first("a", 0), Step::Foreign("{}".into())],
        messages(0..5, 1),
    ];
    assert_eq!(found(five(), foreign), ["foreign"]);
    let again = [vec![first("a", 0)], messages(0..3, 1), messages(2..5, 4)];
    assert_eq!(found(five(), again), ["conflict", "missing", "twice"]);
    let repeated = [vec![first("a", 0)], messages(0..3, 1), messages(2..5, 3)];
    assert_eq!(found(five(), repeated), ["missing", "repeated", "twice"]);
    let early = [messages(0..1, 1), vec![first("a", 1)], messages(1..5, 2)];
    assert_eq!(found(five(), early), ["early"]);
}

#[test]
fn an_order_that_members_do_not_share_is_found() {
    let of = |publisher| History {
        room: 0,
        publisher: Some(publisher),
        steps: vec![Step::Invoked(0)],
    };
    let seen = |publishers: [u32; 2]| {
        let ids = publishers.map(|publisher| Id {
            publisher,
            number: 0,
        });
        let steps = ids.map(|id| Step::Message { id, offset: None });
        member([vec![first("a", 0)], steps.to_vec()].concat())
    };
    let agree = [of(0), of(1), seen([0, 1]), seen([0, 1])];
    assert!(judge(&agree, Promise::Told).is_clean());
    let disagree = [of(0), of(1), seen([0, 1]), seen([1, 0])];
    let verdict = judge(&disagree, Promise::Told);
    assert!(verdict.violations.contains_key("order"), "{verdict}");
}

#[test]
fn pages_of_the_history_are_held_against_what_members_saw() {
    let page = |number| Step::Page {
        epoch: "a".into(),
        messages: vec![(
            2,
            Id {
                publisher: 0,
                number,
            },
        )],
    };
    let read = |number| [vec![first("a", 0)], messages(0..5, 1), vec![page(number)]];
    assert_eq!(found(five(), read(1)), NONE);
    assert_eq!(found(five(), read(2)), ["conflict"]);
    let unfinished = [
        vec![first("a", 0)],
        messages(0..5, 1),
        vec![Step::Unfinished],
    ];
    assert_eq!(found(five(), unfinished), ["unfinished"]);
    let ghosts = Step::Members("user-7".into());
    let ghosts = [vec![first("a", 0)], messages(0..5, 1), vec![ghosts]];
    assert_eq!(found(five(), ghosts), ["members"]);
}
