//! Flow control between shards: limits on the mail that may be under way.
//!
//! A shard that is given more than it gets done must slow down the senders, or its mail would
//! fill the memory: the limits on rates and queues act where the mail is read. So both kinds of
//! mail that clients cause are counted until they are dealt with. Past a limit a shard reads no
//! sockets; TCP passes that on to the clients.
//!
//! Frames are always taken in and paid back at once, so that shards cannot wait for each other in
//! a circle. Messages are paid back behind the frames that they caused, and later while those pile
//! up.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Waker},
};

use roomcast_core::Input;

use super::{Mail, Shard};

/// Bytes of messages under way to one shard.
const MESSAGES_MAX: usize = 1 << 20;
/// Bytes of frames under way to one shard; a buffer for many sockets counts once.
const FRAMES_MAX: usize = 8 << 20;
/// Bytes that a piece of mail costs beside its content: itself, and what its buffers need to be
/// found again.
const OVERHEAD: usize = size_of::<Mail>() + 64;

/// Account of one shard with another.
#[derive(Debug, Default)]
struct Account {
    messages_out: Cell<usize>,
    frames_out: Cell<usize>,
    /// Messages of theirs that are done and not paid back.
    messages_owed: Cell<usize>,
}

#[derive(Debug)]
pub(super) struct Flow {
    accounts: Vec<Account>,
    waiting: RefCell<Vec<Waker>>,
}

fn add(cell: &Cell<usize>, bytes: usize) {
    cell.set(cell.get() + bytes);
}

fn take(cell: &Cell<usize>, bytes: usize) {
    debug_assert!(cell.get() >= bytes, "paid back more than was lent");
    cell.set(cell.get().saturating_sub(bytes));
}

impl Flow {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            accounts: (0..shards).map(|_| Account::default()).collect(),
            waiting: RefCell::default(),
        }
    }

    /// Writes down what leaves for another shard.
    pub(super) fn posted(&self, to: usize, mail: &Mail) {
        let account = &self.accounts[to];
        match mail {
            Mail::Input { .. } => add(&account.messages_out, cost(mail)),
            Mail::Deliver { .. } => add(&account.frames_out, cost(mail)),
            Mail::Ask { .. } | Mail::Task(_) | Mail::Paid { .. } => {}
        }
    }

    fn frames_pile_up(&self) -> bool {
        self.accounts
            .iter()
            .any(|account| account.frames_out.get() > FRAMES_MAX)
    }
}

/// Bytes that a piece of mail counts for.
#[allow(clippy::wildcard_enum_match_arm)] // other inputs are small
pub(super) fn cost(mail: &Mail) -> usize {
    match mail {
        Mail::Input { input, .. } => {
            OVERHEAD
                + match &**input {
                    Input::Text { text, .. } => text.len(),
                    Input::Binary { bytes, .. } => bytes.len(),
                    _ => 0,
                }
        }
        Mail::Deliver { keys, bytes, .. } => OVERHEAD + bytes.len() + size_of_val(&**keys),
        Mail::Ask { .. } | Mail::Task(_) | Mail::Paid { .. } => 0,
    }
}

impl Shard {
    /// True when a connection must not be read, because the home of its namespace, or the shards
    /// that get its messages, are behind. Its task is woken when they have caught up.
    pub(crate) fn must_wait(&self, home: usize, cx: &Context<'_>) -> bool {
        if self.posts.len() == 1 {
            return false;
        }
        let full = self.flow.accounts[home].messages_out.get() > MESSAGES_MAX;
        let wait = full || self.flow.frames_pile_up();
        if wait {
            self.flow.waiting.borrow_mut().push(cx.waker().clone());
        }
        wait
    }

    /// Frames of another shard were taken in, and messages of it dealt with.
    pub(super) fn dealt_with(&self, from: usize, messages: usize, frames: usize) {
        add(&self.flow.accounts[from].messages_owed, messages);
        if frames > 0 {
            let messages = 0;
            self.post(from, Mail::Paid { messages, frames });
        } else if messages > 0 {
            self.ring();
        }
    }

    /// Another shard pays back.
    pub(super) fn paid(&self, from: usize, messages: usize, frames: usize) {
        let account = &self.flow.accounts[from];
        take(&account.messages_out, messages);
        take(&account.frames_out, frames);
        for waker in self.flow.waiting.take() {
            waker.wake();
        }
        self.ring();
    }

    /// Pays back the messages that are done, behind the frames that they caused: at the end of the
    /// turn, when those are on their way.
    pub(super) fn pay(&self) {
        if self.flow.frames_pile_up() {
            return;
        }
        for (to, account) in self.flow.accounts.iter().enumerate() {
            let messages = account.messages_owed.take();
            if messages > 0 {
                let frames = 0;
                self.post(to, Mail::Paid { messages, frames });
            }
        }
    }
}
