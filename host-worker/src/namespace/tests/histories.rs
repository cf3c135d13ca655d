//! Histories in a storage that changed while the object slept.

use super::{
    bench::{Bench, Call, Text, User, keeping},
    fake::Storage,
};

/// Messages that a history lost are never passed over, and their offsets do not come again.
#[test]
fn a_history_that_is_lost_is_not_recovered() {
    let say = Text(0, r#"{"event":"said","id":1,"room":"log"}"#);
    let since = r#"{"event":"$join","room":"log","data":{"since":{"epoch":"e.1","offset":1}}}"#;
    let lose: [fn(&mut Storage); 3] = [
        |storage| storage.messages.clear(),
        |storage| drop(storage.messages.remove(&("log".to_owned(), 2))),
        |storage| storage.rooms.clear(),
    ];
    for lose in lose {
        let mut bench = Bench::new(&keeping());
        bench.run(User("ann"));
        bench.run(Text(0, r#"{"event":"$join","room":"log"}"#));
        for _ in 0..3 {
            bench.run(say);
        }
        lose(&mut bench.fake.0.borrow_mut().storage);
        bench.evict();
        bench.run(User("bob"));
        let seen = bench.run(Text(1, since));
        assert!(
            seen.iter().any(|one| one.contains(r#""recovered":false"#)),
            "{seen:?}"
        );
        assert!(
            !seen
                .iter()
                .any(|one| one.starts_with("1 < {\"event\":\"said\"")),
            "{seen:?}"
        );
    }
}

/// Removing a policy removes the history that it kept.
#[test]
fn what_no_policy_keeps_is_forgotten() {
    let mut bench = Bench::new(&keeping());
    bench.run(User("ann"));
    bench.run(Text(0, r#"{"event":"$join","room":"log"}"#));
    bench.run(Text(0, r#"{"event":"said","room":"log"}"#));
    assert_eq!(bench.fake.0.borrow().storage.messages.len(), 1);
    let policies = r#"{"rooms":[{"match":"other","history":{"messages":300}}]}"#;
    bench.setup.policies = serde_json::from_str(policies).expect("valid");
    bench.evict();
    bench.run(Text(0, r#"{"event":"$join","room":"other"}"#));
    let world = bench.fake.0.borrow();
    assert_eq!(world.storage.messages.len(), 0);
    assert_eq!(world.storage.rooms.keys().collect::<Vec<_>>(), ["other"]);
}

/// An evicted object says what it no longer knows, and loads the message to explain.
#[test]
fn an_explanation_reads_what_is_kept() {
    let ask = |conn: &'static str| Call("GET", conn, "", "");
    let (ann, bob) = (
        ask("/api/v1/ns/explain?room=log&offset=1&conn=0"),
        ask("/api/v1/ns/explain?room=log&offset=1&conn=1048577"),
    );
    let mut bench = Bench::new(&keeping());
    for op in [
        User("ann"),
        Text(0, r#"{"event":"$join","room":"log"}"#),
        User("bob"),
        Text(1, r#"{"event":"$join","room":"log"}"#),
        Text(0, r#"{"event":"said","room":"log"}"#),
    ] {
        bench.run(op);
    }
    let says = |bench: &mut Bench, op, reason: &str| {
        let seen = bench.run(op);
        let code = format!(r#""reason":"{reason}""#);
        assert!(seen.iter().any(|one| one.contains(&code)), "{seen:?}");
    };
    says(&mut bench, ann, "own_without_echo");
    says(&mut bench, bob, "sent");
    bench.evict();
    says(&mut bench, ann, "own_without_echo");
    says(&mut bench, bob, "membership_unknown");
}
