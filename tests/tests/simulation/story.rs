//! Stories: told from a seed, told again from their ops, made short when they fail.

use std::{
    cell::Cell,
    hash::Hasher,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use roomcast_tests::Op;

use super::{chance::Chance, scene::Host, world::World};

/// Steps of one story, of one or some ops each.
pub(crate) const STEPS: usize = 40;

/// A story that broke an invariant.
pub(crate) struct Failure {
    host: Host,
    ops: Vec<Op>,
    /// The number of them at first.
    told: usize,
    fault: String,
}

/// A story that broke nothing.
pub(crate) struct Told {
    ops: Vec<Op>,
    /// Hashes of all that happened, up to each op.
    hashes: Vec<u64>,
}

/// The story of a seed.
pub(crate) fn tell(seed: u64, host: Host) -> Result<Told, Failure> {
    let (mut ops, mut hashes) = (Vec::new(), Vec::new());
    let told = caught(|| {
        let mut world = World::new(host);
        let mut chance = Chance::new(seed);
        let mut perform = |world: &mut World, next: Vec<Op>| {
            for op in next {
                ops.push(op.clone());
                world.perform(&op);
                hashes.push(world.hash.finish());
            }
        };
        for _ in 0..STEPS {
            let next = chance.ops(&world);
            perform(&mut world, next);
        }
        // Faults stop: everybody is back, and knows all.
        for at in 0..world.clients.len() {
            let next = chance.last(&world, at);
            perform(&mut world, next);
        }
        world.i39_everybody_knows_the_same();
    });
    match told {
        Ok(()) => Ok(Told { ops, hashes }),
        Err(fault) => Err(Failure {
            host,
            told: ops.len(),
            ops,
            fault,
        }),
    }
}

impl Told {
    pub(crate) fn hash(&self) -> u64 {
        self.hashes.last().copied().unwrap_or_default()
    }

    /// The ops up to the place where it went another way than the other.
    pub(crate) fn parting(&self, other: &Self) -> Option<String> {
        let mut pairs = self.hashes.iter().zip(&other.hashes);
        let at = pairs.position(|(ours, theirs)| ours != theirs)?;
        Some(
            self.ops[..=at]
                .iter()
                .map(|op| format!("    {op}\n"))
                .collect(),
        )
    }
}

fn tell_again(host: Host, ops: &[Op]) -> Result<(), String> {
    caught(|| {
        let mut world = World::new(host);
        for op in ops {
            world.perform(op);
        }
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Catches a panic, and keeps its message from being printed.
fn caught<T>(tell: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    let told = panic::catch_unwind(AssertUnwindSafe(tell));
    QUIET.set(false);
    told.map_err(|fault| {
        let text = fault.downcast_ref::<String>().cloned();
        let text = text.or_else(|| fault.downcast_ref::<&str>().map(|text| (*text).into()));
        text.unwrap_or_default()
    })
}

impl Failure {
    /// Leaves out what the failure does not need: halves, quarters and so on to single ops.
    pub(crate) fn shrink(&mut self) {
        let mut len = self.ops.len();
        while len > 0 {
            let mut at = 0;
            while at < self.ops.len() {
                let mut fewer = self.ops.clone();
                fewer.drain(at..(at + len).min(fewer.len()));
                match tell_again(self.host, &fewer) {
                    Err(fault) if id(&fault) == id(&self.fault) => {
                        (self.ops, self.fault) = (fewer, fault);
                    }
                    _ => at += len,
                }
            }
            len /= 2;
        }
    }

    pub(crate) fn report(&self, seed: u64) -> String {
        let ops: String = self.ops.iter().map(|op| format!("    {op}\n")).collect();
        format!(
            "seed {seed}, {:?}\n{}\nin {} of its {} ops:\n{ops}",
            self.host,
            self.fault,
            self.ops.len(),
            self.told
        )
    }
}

/// The first invariant that a fault names.
fn id(fault: &str) -> &str {
    let fault = fault.trim_start_matches("assertion `left == right` failed: ");
    fault.split([',', ':']).next().unwrap_or_default()
}
