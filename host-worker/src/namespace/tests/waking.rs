//! Alarms, and namespaces that cannot wake.

use roomcast_core::{Limits, Timestamp};

use super::bench::{Alarm, Bench, Connect, Setup, Text, Wait};

#[test]
fn a_namespace_that_cannot_wake_closes_who_speaks_to_it_and_wakes_later() {
    let mut bench = Bench::new(&Setup::default());
    let (first, second) = (bench.run(Connect), bench.run(Connect));
    assert_eq!((first.len(), second.len()), (1, 1));
    bench.evict();
    bench.fake.0.borrow_mut().deaf = true;
    let told = bench.run(Text(0, r#"{"event":"$rooms"}"#));
    assert_eq!(told, ["0 closed 1011 the server could not read its state"]);
    bench.fake.0.borrow_mut().deaf = false;
    let told = bench.run(Text(1, r#"{"event":"$rooms"}"#));
    assert_eq!(told, [r#"1 < {"event":"$rooms","data":[]}"#]);
}

#[test]
fn the_alarm_is_set_once_for_many_deadlines() {
    let mut limits = Limits::default();
    limits.heartbeat = Some(std::time::Duration::from_secs(20));
    let mut bench = Bench::new(&Setup {
        limits,
        ..Setup::default()
    });
    bench.run(Connect);
    let alarm = |bench: &Bench| bench.fake.0.borrow_mut().alarm.take();
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(20_000)));
    bench.run(Wait(1000));
    bench.run(Connect);
    assert_eq!(alarm(&bench), None, "the one that is set comes first");
    bench.run(Wait(19_000));
    assert_eq!(bench.run(Alarm), [""; 0]);
    assert_eq!(alarm(&bench), Some(Timestamp::from_millis(21_000)));
    // Asleep between the ping and the end.
    bench.evict();
    bench.run(Wait(10_000));
    let seen = bench.run(Alarm);
    assert_eq!(seen[1], "0 closed 4408 no heartbeat");
    assert_eq!(seen.len(), 2);
}
