//! Hooks of a namespace: the lines of the backends that are told of events.

mod asker;
mod backends;
mod endpoint;
mod post;
mod stored;

use roomcast_core::{
    Timestamp,
    policy::{EventKind, Subscriptions},
};
use roomcast_hooks::Outcome;

pub(crate) use self::{
    asker::{AskedJoin, Asker, Asking},
    backends::Backends,
    post::Post,
    stored::{LineChanges, StoredLine},
};
use self::{
    backends::Told,
    endpoint::{Endpoint, Step},
};

/// For a platform.
#[cfg(any(test, target_arch = "wasm32"))]
pub(crate) use self::post::PostKind;

/// The lines of a namespace. They are in the storage, and here while the namespace is awake.
#[derive(Debug)]
pub(crate) struct Hooks {
    configured: Vec<Told>,
    endpoints: Vec<Endpoint>,
    /// Names of stored lines whose endpoint no longer exists.
    gone: Vec<String>,
    posts: u32,
}

impl Hooks {
    pub(crate) const fn new(configured: Vec<Told>) -> Self {
        Self {
            configured,
            endpoints: Vec::new(),
            gone: Vec::new(),
            posts: 0,
        }
    }

    pub(crate) const fn is_on(&self) -> bool {
        !self.configured.is_empty()
    }

    /// The events that any endpoint wants.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let hooks = self.configured.iter();
        hooks.map(|(hook, _)| hook.subscription.clone()).collect()
    }

    /// Starts with the stored lines. Also returns the number of events whose endpoint no longer
    /// exists.
    pub(crate) fn load(
        &mut self,
        now: Timestamp,
        mut stored: Vec<StoredLine>,
        random: impl Fn() -> u64,
    ) -> usize {
        self.endpoints.clear();
        for (at, (hook, keys)) in self.configured.iter().enumerate() {
            let url = hook.url.as_str();
            let before = self.configured[..at].iter();
            let same = before.filter(|(other, _)| other.url == hook.url).count();
            let name = format!("{url} {same}");
            let line = stored.iter().position(|line| line.name == name);
            let line = line.map(|at| stored.swap_remove(at));
            let endpoint = Endpoint::new(name, hook, keys, line, now, &random);
            self.endpoints.push(endpoint);
        }
        let dropped = stored.iter().map(|line| line.events.len()).sum();
        self.gone = stored.into_iter().map(|line| line.name).collect();
        dropped
    }

    /// Appends an event to the lines of the endpoints that want it.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        namespace: &str,
        kind: EventKind,
        room: Option<&str>,
        event: &str,
    ) {
        for endpoint in &mut self.endpoints {
            endpoint.push(now, namespace, kind, room, event);
        }
    }

    /// Takes the changes since this was last called.
    pub(crate) fn take_changes(&mut self) -> Vec<LineChanges<'_>> {
        let gone = self.gone.iter().map(|name| LineChanges {
            name,
            state: None,
            changes: Vec::new(),
        });
        let changed = self.endpoints.iter_mut();
        let changed = changed.filter_map(Endpoint::take_changes);
        changed.chain(gone).collect()
    }

    /// Records that the changes are stored.
    pub(crate) fn saved(&mut self) {
        self.gone.clear();
    }

    /// The requests that are due, and the time at which to poll again.
    pub(crate) fn poll(&mut self, now: Timestamp) -> (Vec<Post>, Option<Timestamp>) {
        let (mut posts, mut next) = (Vec::new(), None::<Timestamp>);
        for endpoint in &mut self.endpoints {
            let number = self.posts.wrapping_add(1);
            let mut step = endpoint.poll(now, number);
            if let Step::Send(post) = step {
                self.posts = number;
                posts.push(post);
                step = endpoint.poll(now, number);
            }
            if let Step::WaitUntil(at) = step {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        (posts, next)
    }

    /// Takes the outcome of a request; returns a notice for the operator, if there is any.
    pub(crate) fn posted(
        &mut self,
        now: Timestamp,
        number: u32,
        outcome: Result<Outcome<'_>, &str>,
        random: u64,
    ) -> Option<String> {
        let mut endpoints = self.endpoints.iter_mut();
        let endpoint = endpoints.find(|endpoint| endpoint.is_sending(number))?;
        endpoint.posted(now, outcome, random)
    }
}
