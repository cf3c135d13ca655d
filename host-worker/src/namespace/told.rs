//! Backends that are told of events.

use roomcast_core::Command;
use roomcast_hooks::Outcome;

use super::Namespace;
use crate::{
    hooks::StoredLine,
    platform::{Platform, PlatformError},
};

impl<P: Platform> Namespace<P> {
    /// Starts with the stored lines.
    pub(super) fn load_lines(&mut self, stored: Vec<StoredLine>) {
        let (now, platform) = (self.platform.now(), &self.platform);
        let dropped = self.hooks.load(now, stored, || platform.random());
        if dropped > 0 {
            let text = format!("{dropped} events of hooks that there are no more were dropped");
            self.platform.log(&text);
        }
    }

    /// Appends the events of an input to the lines.
    pub(super) fn push_events(&mut self) {
        if !self.hooks.is_on() {
            return;
        }
        let now = self.platform.now();
        for command in &self.out {
            if let Command::Tell { kind, room, event } = command {
                self.hooks.push(now, &self.name, kind, room, event);
            }
        }
    }

    /// Sends what is due, once the input is done.
    pub(super) fn tell(&mut self) {
        if !self.hooks.is_on() {
            return;
        }
        let (posts, next) = self.hooks.poll(self.platform.now());
        for post in posts {
            self.platform.post(post);
        }
        self.schedule(next);
    }

    /// Processes the outcome of a request to a backend, or the reason why there is none.
    pub(crate) fn posted(
        &mut self,
        number: u32,
        outcome: Result<Outcome<'_>, &str>,
    ) -> Result<(), PlatformError> {
        self.wake()?;
        let (now, random) = (self.platform.now(), self.platform.random());
        if let Some(text) = self.hooks.posted(now, number, outcome, random) {
            self.platform.log(&text);
        }
        self.finish(None)
    }
}
