//! The rates of a user, whatever its connections do: send, go, and come back.

use proptest::prelude::*;
use roomcast_core::{
    Rate, Timestamp,
    hub::{Allowance, Excess, Meter, Resting},
};

use crate::stories::config;

/// Numbers at a time in the order of their rest.
const NUMBERS: usize = 20;
const SPAN_MS: u64 = 5_000;

#[derive(Debug, Clone, Copy)]
enum Sent {
    Message(usize),
    /// Bytes in no message.
    Overhead(usize),
}

fn rate() -> impl Strategy<Value = Rate> {
    (1..20_u32, 1..40_u32).prop_map(|(per_second, burst)| Rate { per_second, burst })
}

fn allowance() -> impl Strategy<Value = (Rate, Rate, Rate)> {
    (rate(), rate(), (0..5_u32, 0..5_u32)).prop_map(|(messages, bytes, (per_second, burst))| {
        (messages, bytes, Rate { per_second, burst })
    })
}

/// Things that are sent, each after so many milliseconds.
fn sent() -> impl Strategy<Value = Vec<(u64, Sent)>> {
    let pause = prop_oneof![0..50_u64, 0..3_000_u64];
    let sent = prop_oneof![
        (0..20_usize).prop_map(Sent::Message),
        (1..20_usize).prop_map(Sent::Overhead),
    ];
    prop::collection::vec((pause, sent), 1..100)
}

/// The verdict on something sent; of bytes in no message only that it ends the connection.
fn take(
    meter: &mut Meter,
    rates: &Allowance,
    now: Timestamp,
    sent: Sent,
) -> Result<(), Option<Excess>> {
    match sent {
        Sent::Message(bytes) => meter.message(rates, now, bytes).map_err(Some),
        Sent::Overhead(bytes) => {
            let taken = meter.overhead(rates, now, bytes);
            taken.map_err(|excess| (excess == Excess::Close).then_some(excess))
        }
    }
}

/// The most of a rate in so many milliseconds.
fn most(rate: Rate, millis: u64) -> u64 {
    u64::from(rate.burst) + u64::from(rate.per_second) * millis / 1000
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Insert(usize, u64),
    Remove(usize),
    TakeFirst,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..NUMBERS, 0..=SPAN_MS).prop_map(|(number, ms)| Step::Insert(number, ms)),
        1 => (0..NUMBERS).prop_map(Step::Remove),
        1 => Just(Step::TakeFirst),
        2 => (0..SPAN_MS).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(config(512))]

    /// A full meter can be dropped without effect on anybody.
    #[test]
    fn a_meter_that_is_full_is_as_a_new_one((messages, bytes, refusals) in allowance(), sent in sent()) {
        let rates = Allowance::new(Some(messages), Some(bytes), refusals);
        let mut now = Timestamp::from_millis(1_000);
        let mut lasting = Meter::full(&rates, now);
        let mut kept = lasting.clone();
        let mut renewed = 0;
        for (pause, sent) in sent {
            now = Timestamp::from_millis(now.as_millis() + pause);
            if kept.full_at(&rates).is_some_and(|full_at| full_at <= now) {
                kept = Meter::full(&rates, now);
                renewed += 1;
            }
            let (verdict, of_kept) = (take(&mut lasting, &rates, now, sent), take(&mut kept, &rates, now, sent));
            prop_assert_eq!(verdict, of_kept, "at {:?}, {} renewed", now, renewed);
        }
    }

    /// However often the user comes back in between.
    #[test]
    fn no_more_passes_than_the_burst_and_the_rate((messages, bytes, refusals) in allowance(), sent in sent()) {
        let rates = Allowance::new(Some(messages), Some(bytes), refusals);
        let mut meter = Meter::full(&rates, Timestamp::ZERO);
        let (mut now, mut passed) = (0, Vec::new());
        for (pause, sent) in sent {
            now += pause;
            let verdict = take(&mut meter, &rates, Timestamp::from_millis(now), sent);
            match (verdict, sent) {
                (Ok(()), Sent::Message(bytes)) => passed.push((now, 1, bytes as u64)),
                (Ok(()), Sent::Overhead(bytes)) => passed.push((now, 0, bytes as u64)),
                (Err(_), _) => {}
            }
        }
        for first in 0..passed.len() {
            let mut sum = (0, 0);
            for &(at, one, size) in &passed[first..] {
                sum = (sum.0 + one, sum.1 + size);
                let millis = at - passed[first].0;
                prop_assert!(sum.0 <= most(messages, millis), "{sum:?} in {millis} ms");
                prop_assert!(sum.1 <= most(bytes, millis), "{sum:?} in {millis} ms");
            }
        }
    }

    #[test]
    fn numbers_rest_until_their_time_and_the_earliest_go_first(steps in steps()) {
        let mut resting = Resting::new(SPAN_MS);
        let mut times = [None::<u64>; NUMBERS];
        let slot_ms = SPAN_MS / 62 + 1;
        let mut now = 0;
        for step in steps {
            match step {
                Step::Insert(number, ahead) => {
                    resting.insert(number, Timestamp::from_millis(now + ahead));
                    times[number] = Some(now + ahead);
                }
                Step::Remove(number) => {
                    prop_assert_eq!(resting.remove(number), times[number].take().is_some());
                }
                Step::TakeFirst => {
                    let least = times.iter().flatten().min().copied();
                    let taken = resting.take_first().map(|number| times[number].take());
                    prop_assert_eq!(taken.is_some(), least.is_some());
                    if let Some((taken, least)) = taken.zip(least) {
                        let taken = taken.expect("it was there");
                        prop_assert!(taken / slot_ms == least / slot_ms, "{taken} before {least}");
                    }
                }
                Step::Pass(millis) => {
                    now += millis;
                    while let Some(number) = resting.take_due(Timestamp::from_millis(now)) {
                        let time = times[number].take().expect("it was there");
                        prop_assert!(time <= now, "{time} at {now}");
                    }
                    let late = times.iter().flatten().min().is_some_and(|time| time + slot_ms <= now);
                    prop_assert!(!late, "{times:?} at {now}");
                }
            }
            let count = times.iter().flatten().count();
            prop_assert_eq!((resting.len(), resting.is_empty()), (count, count == 0));
        }
    }
}
