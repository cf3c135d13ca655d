//! Three nodes and a relay that is broken in every way it can be: stale replicas are promoted,
//! subscriptions die silently, messages come twice, answers are lost while the relay does what it
//! was asked, sooner or later or not at all; it begins again, and forgets.
//!
//! After every step, clients hold what they are told against what the relay did. The same seed
//! gives the same story. `ROOMCAST_SEEDS=100000` runs more of it, `ROOMCAST_SEED=17` one story, and
//! prints it when it fails.
//!
//! | id | says | checked in |
//! |---|---|---|
//! | I10, I11 | nothing after the leave answer or before the join answer | `client`: a message needs a membership, and comes behind its position |
//! | I12 | one order, no duplicates | `client`: positions in the log only grow |
//! | I13 | no gap unless told | `client`: nothing that was owed lies between two messages, nor behind the last |
//! | I15 | never to who is left out | `truth`: whoever published it, or is excepted, on any node |
//! | I16 | the order of a publisher | `story`, at the end |
//! | I17 | answers match requests | `client`, by id; at the end none is missing |
//! | I28 to I32 | offsets, recovery, epochs | `client`: offsets are those of the relay; what is recovered has no seam; another epoch is told |
//! | I34 | a key is one place | `story`, unless the relay lost something since |
//! | I35, I36 | users come and go in turn, after a page too | `seen`; at the end all agree with who is there |
//! | I38, I39 | dead nodes leave nobody behind | `check`, at the end; `dead`, each told once |
//! | I40 | a node delivers its own once | as I12 |
//! | I41 | a node follows its rooms | `story`, at the end; `Hub::assert_consistent`, after each input |
//! | I42 | foreign bytes are dropped | `story`: some come, and nothing follows |

#![allow(clippy::wildcard_enum_match_arm)] // the model knows few events and commands at each place

mod broker;
mod client;
mod dead;
mod node;
mod seen;
mod story;
mod truth;

use std::{
    any::Any,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use broker::Plants;
use client::Violation;
use story::{Figures, STEPS, Story};

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    if let Some(Violation(text)) = panic.downcast_ref() {
        return text.clone();
    }
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
    text.unwrap_or_else(|| "a panic".into())
}

/// Tells the story of a seed, or says what does not hold in it.
fn tell(seed: u64, plants: Plants) -> Result<Figures, String> {
    let mut story = Story::new(seed, plants, false);
    let told = panic::catch_unwind(AssertUnwindSafe(|| story.tell()));
    told.map_err(|panic| {
        let lines = story.lines.join("\n");
        format!("seed {seed}: {}\n{lines}", text_of(&*panic))
    })
}

#[test]
#[allow(clippy::print_stdout, reason = "a simulation says how much it did")]
fn i10_to_i42_hold_for_several_nodes() {
    if let Some(seed) = number("ROOMCAST_SEED") {
        let told = tell(seed, Plants::default());
        println!("{:?}", told.unwrap_or_else(|text| panic!("{text}")));
        return;
    }
    let seeds = number("ROOMCAST_SEEDS").unwrap_or(10_000);
    let (start, next, failed) = (Instant::now(), AtomicU64::new(0), Mutex::new(None));
    let tell_some = || {
        let mut figures = Figures::default();
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= seeds {
                return figures;
            }
            match tell(seed, Plants::default()) {
                Ok(told) => figures.add(&told),
                Err(text) => {
                    next.store(seeds, Relaxed);
                    *failed.lock().expect("no panic") = Some(text);
                }
            }
        }
    };
    let mut figures = Figures::default();
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, Into::into);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(tell_some)).collect();
        for thread in threads {
            figures.add(&thread.join().expect("no panic"));
        }
    });
    if let Some(text) = failed.into_inner().expect("no panic") {
        panic!("{text}");
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{seeds} seeds of {STEPS} steps in {seconds:.1} s: {figures:?}");
    // Not a story without faults, and not one in which everything fails.
    assert!(figures.recovered > 0 && figures.gaps > 0 && figures.in_doubt > 0);
    assert!(figures.acked > figures.publishes / 4);
}

/// Each bug is found, and so is the relay without the check of its lineage: then a stale replica
/// that is promoted makes clients miss messages without being told.
#[test]
#[allow(clippy::print_stdout, reason = "it says what was found, and where")]
fn planted_bugs_are_found() {
    const SEEDS: u64 = 2_000;
    let planted = |plant: fn(&mut Plants)| {
        let mut plants = Plants::default();
        plant(&mut plants);
        plants
    };
    for plants in [
        planted(|plants| plants.no_lineage_check = true),
        planted(|plants| plants.no_keys = true),
        planted(|plants| plants.offset_twice = true),
        planted(|plants| plants.epoch_kept = true),
        planted(|plants| plants.doubt_is_success = true),
        planted(|plants| plants.position_first = true),
        planted(|plants| plants.no_probe = true),
        planted(|plants| plants.same_serials = true),
        planted(|plants| plants.local_first = true),
        planted(|plants| plants.gap_ignored = true),
        planted(|plants| plants.lineage_ignored = true),
        planted(|plants| plants.waiting_kept = true),
        planted(|plants| plants.no_reaper = true),
        planted(|plants| plants.no_fence = true),
        planted(|plants| plants.incarnation_kept = true),
        planted(|plants| plants.list_too_new = true),
    ] {
        let found = (0..SEEDS).find_map(|seed| tell(seed, plants).err());
        let found = found.unwrap_or_else(|| panic!("{SEEDS} seeds do not find {plants:?}"));
        println!("{plants:?}: {}", found.lines().next().unwrap_or_default());
    }
}

#[test]
fn journals_of_nodes_lead_to_the_same_commands() {
    let mut lines = 0;
    for seed in 0..50 {
        let mut story = Story::new(seed, Plants::default(), true);
        let told = panic::catch_unwind(AssertUnwindSafe(|| story.tell()));
        if let Err(panic) = told {
            panic!("seed {seed}: {}", text_of(&*panic));
        }
        lines += story.replays();
    }
    assert!(lines > 10_000, "{lines} lines");
}
