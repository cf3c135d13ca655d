//! Flow control between shards: limits on mail in flight.
//!
//! A shard that receives more than it can process must slow down the senders, or its mail would
//! fill the memory: limits on rates and queues apply only where the mail is read. So both kinds of
//! mail that clients cause are counted until they are processed. Above a limit a shard reads no
//! sockets, and TCP passes the pressure on to the clients.
//!
//! Frames are always accepted, and their credit is returned at once, so that shards cannot wait for
//! each other in a circle. Credit for messages is returned after the frames that they caused, and
//! later while frames pile up.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

/// The maximum number of message bytes in flight to one shard.
const MESSAGES_MAX: usize = 1 << 20;
/// The maximum number of frame bytes in flight to one shard; a buffer for many sockets counts once.
const FRAMES_MAX: usize = 8 << 20;
/// The number of bytes that may wait to be written, over all sockets, before bulk senders are not
/// read.
const BEHIND_BYTES: usize = 8 << 20;

/// Tasks that wait for fewer bytes in flight.
#[derive(Debug, Default)]
struct Waiting(RefCell<Vec<Waker>>);

impl Waiting {
    /// Registers the task for a wake-up if it must wait; returns whether it must.
    fn join_if(&self, must_wait: bool, cx: &Context<'_>) -> bool {
        if must_wait {
            self.0.borrow_mut().push(cx.waker().clone());
        }
        must_wait
    }

    fn wake(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }
}

/// Bytes queued for sockets that wait to be flushed, and the tasks that wait for fewer bytes.
#[derive(Debug, Default)]
pub(in crate::shard) struct Backlog {
    bytes: Cell<usize>,
    waiting: Waiting,
}

impl Backlog {
    pub(in crate::shard) fn add(&self, bytes: usize) {
        add(&self.bytes, bytes);
    }

    pub(in crate::shard) fn take(&self, bytes: usize) {
        take(&self.bytes, bytes);
        if self.bytes.get() <= BEHIND_BYTES {
            self.waiting.wake();
        }
    }

    /// True when too much waits to be written. The task is then woken when it is less.
    pub(in crate::shard) fn is_long(&self, cx: &Context<'_>) -> bool {
        self.waiting.join_if(self.bytes.get() > BEHIND_BYTES, cx)
    }
}

/// The account of one shard with another.
#[derive(Debug, Default)]
struct Account {
    messages_out: Cell<usize>,
    frames_out: Cell<usize>,
    /// Bytes of the other shard's messages that are processed, and whose credit is not returned
    /// yet.
    messages_done: Cell<usize>,
}

/// The accounts of one shard with all others.
#[derive(Debug)]
pub(in crate::shard) struct Flow {
    accounts: Vec<Account>,
    waiting: Waiting,
}

/// The bytes of mail that count against the limits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(in crate::shard) messages: usize,
    pub(in crate::shard) frames: usize,
}

fn add(cell: &Cell<usize>, bytes: usize) {
    cell.set(cell.get() + bytes);
}

fn take(cell: &Cell<usize>, bytes: usize) {
    debug_assert!(cell.get() >= bytes, "more was taken than was added");
    cell.set(cell.get().saturating_sub(bytes));
}

impl Flow {
    pub(in crate::shard) fn new(shards: usize) -> Self {
        Self {
            accounts: (0..shards).map(|_| Account::default()).collect(),
            waiting: Waiting::default(),
        }
    }

    /// Counts mail to another shard.
    pub(in crate::shard) fn posted(&self, to: usize, cost: Cost) {
        add(&self.accounts[to].messages_out, cost.messages);
        add(&self.accounts[to].frames_out, cost.frames);
    }

    /// Books credit that another shard has returned.
    pub(in crate::shard) fn take_credit(&self, from: usize, cost: Cost) {
        take(&self.accounts[from].messages_out, cost.messages);
        take(&self.accounts[from].frames_out, cost.frames);
        self.waiting.wake();
    }

    /// Counts processed messages of another shard.
    pub(in crate::shard) fn count_done(&self, to: usize, messages: usize) {
        add(&self.accounts[to].messages_done, messages);
    }

    /// Takes the processed messages whose credit can be returned, by shard; none while frames pile
    /// up.
    pub(in crate::shard) fn take_done(&self) -> impl Iterator<Item = (usize, usize)> {
        let accounts: &[_] = if self.frames_pile_up() {
            &[]
        } else {
            &self.accounts
        };
        let done = accounts.iter().map(|account| account.messages_done.take());
        done.enumerate().filter(|&(_, messages)| messages > 0)
    }

    /// True when a connection must not be read, because the home shard of its namespace, or the
    /// shards that receive its messages, are behind. The task is woken when they have caught up.
    pub(in crate::shard) fn must_wait(&self, home: usize, cx: &Context<'_>) -> bool {
        let full = self.accounts[home].messages_out.get() > MESSAGES_MAX;
        self.waiting.join_if(full || self.frames_pile_up(), cx)
    }

    fn frames_pile_up(&self) -> bool {
        let mut accounts = self.accounts.iter();
        accounts.any(|account| account.frames_out.get() > FRAMES_MAX)
    }
}
