//! Clients that stall, lose their connections and reconnect, a backend, a server that crashes, and
//! time: after every step, every invariant of delivery, memory, history and presence is checked,
//! under its number. The same seed gives the same story, byte for byte.
//!
//! `ROOMCAST_SEEDS=100000` runs more of it, `ROOMCAST_SEED=17` one story.
//!
//! | id | says | checked in |
//! |---|---|---|
//! | I10, I11 | nothing after the leave answer or before the join answer | `client`: nobody gets what it is not owed; `check`: members |
//! | I12 | one order, no duplicates | `client`: what is owed comes in the order of the hub, once |
//! | I13 | no gap unless closed or marked | `client`: `i13_*`, for each policy of overflow |
//! | I14 | a union delivers once | `world`: one debt for each connection, and the answer's count |
//! | I15 | never to who is left out | the same, and of what is replayed under a new id |
//! | I16 | the order of a publisher | as I12 |
//! | I17 | answers match requests | `client`: by id, with the whole answer |
//! | I18 | the same bytes | `client`: the raw data of each message |
//! | I19 | errors disturb nobody | refused joins; what others are owed stays |
//! | I20, I22 | bytes are bounded | `check`: each queue, counted again; histories; `world`: they lose messages for it only when it is reached, and no more than that takes |
//! | I21 | shared payloads | not here: `runs_share_no_buffer` in `host-native/src/namespace/run.rs`, `tests/memory.rs` |
//! | I23 | one outcome of an overflow | `world`: who is closed is who overflowed; the metrics: `slow_reader.rs` |
//! | I24 | control frames arrive | `client`: an answer is never passed over |
//! | I25 | one close, nothing else | `client`: nothing behind `$bye` but the close, nothing behind that |
//! | I26 | bounded work | `check`: commands per step |
//! | I27 | rate buckets | not here: `core/src/hub/rate.rs`, `traces/rate_limit_*.trace` |
//! | I28, I32 | offsets and epochs | `truth`: `i28_i32_position`, after each step and in each answer |
//! | I29 | a contiguous suffix | `check`: the kept messages against all that were said |
//! | I30, I31 | recovery | `truth`: `i30_i31_missed`, for all that the client ever was, against each answer and what follows it; `page`, against each answer to `$history` |
//! | I33 | the rights of now | members only, users that are left out; there are no grants yet |
//! | I34 | idempotency keys | `world`: the same answer and nothing sent, also after a crash |
//! | I35 to I37 | presence | `client`: notices alternate; `check`: lists are the truth, with its grace |
//! | I38 | the dead are gone | members and lists after a crash |
//! | I39 | lists converge | `check`: at the end of each story |

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use roomcast_tests::Sleep;

mod chance;
mod check;
mod client;
mod debts;
mod due;
mod message;
pub(crate) mod random;
mod scene;
mod story;
mod truth;
mod world;

use scene::{Host, host};
use story::{Failure, STEPS, tell};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn fail(seed: u64, mut failure: Failure) -> ! {
    failure.shrink();
    panic!("{}", failure.report(seed));
}

#[test]
#[allow(clippy::print_stdout, reason = "a simulation says how much it did")]
fn i10_to_i39_hold() {
    if let Some(seed) = number("ROOMCAST_SEED") {
        let told = tell(seed, host(seed));
        let told = told.unwrap_or_else(|failure| fail(seed, failure));
        println!("seed {seed}: hash {:016x}", told.hash());
        return;
    }
    let seeds = number("ROOMCAST_SEEDS").unwrap_or(10_000);
    let (start, next, failed) = (Instant::now(), AtomicU64::new(0), Mutex::new(None));
    // Each core takes the next seed that is left.
    let tell_some = || {
        let mut hashes = Vec::new();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds {
                return hashes;
            }
            match tell(seed, host(seed)) {
                Ok(told) => hashes.push((seed, told.hash())),
                Err(failure) => {
                    next.store(seeds, Relaxed);
                    *failed.lock().expect("no panic") = Some((seed, failure));
                }
            }
        }
    };
    let mut hashes = thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, Into::into);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(tell_some)).collect();
        let hashes = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        hashes.flatten().collect::<Vec<_>>()
    });
    if let Some((seed, failure)) = failed.into_inner().expect("no panic") {
        fail(seed, failure);
    }
    hashes.sort_unstable();
    let mut all = DefaultHasher::new();
    hashes.hash(&mut all);
    let (hash, seconds) = (all.finish(), start.elapsed().as_secs_f64());
    let rate = (seeds as f64 * STEPS as f64 / seconds).round();
    println!("{seeds} seeds of {STEPS} steps, {rate} steps per second, hash {hash:016x}");
}

#[test]
fn the_same_seed_gives_the_same_story_asleep_or_awake() {
    for seed in 0..100 {
        let tell = |sleep| {
            let host = Host {
                sleep,
                crowded: false,
                ..host(seed)
            };
            tell(seed, host).unwrap_or_else(|failure| fail(seed, failure))
        };
        let told = tell(Sleep::Never);
        for sleep in [Sleep::Never, Sleep::Saved, Sleep::Persisted] {
            if let Some(ops) = told.parting(&tell(sleep)) {
                panic!("I44, I45: seed {seed} goes another way with {sleep:?}:\n{ops}");
            }
        }
    }
}
