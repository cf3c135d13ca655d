//! Work that a namespace does for its application beside the inputs that clients give.

use roomcast_core::{
    Frame, Input,
    ask::{Answer, Ask, AskError, Asked},
    hub::RequestError,
    queue::QueueFate,
};

use super::Namespace;
use crate::{
    hooks::Asker,
    platform::{Platform, PlatformError},
    tasks::Done,
};

impl<P: Platform> Namespace<P> {
    /// Processes one pending piece of work: an answer of the backend, a request of the
    /// application's handle, or a future that was woken. Returns true when there is more.
    pub(crate) fn turn(&mut self) -> Result<bool, PlatformError> {
        self.wake()?;
        if let Some((asking, verdict)) = self.asker.as_mut().and_then(Asker::take_answer) {
            self.answer(asking, verdict)?;
        } else if !cfg!(feature = "applications") {
            return Ok(false);
        } else if let Some((ask, asker)) = self.mailbox.take() {
            let told = self.ask(ask).unwrap_or_else(|fault| {
                self.platform.log(&fault.to_string());
                // The asker may be lost while another client waits for it.
                if let Err(fault) = self.wake() {
                    let text = format!("the namespace cannot wake: {fault}");
                    self.platform.log(&text);
                }
                Err(AskError::Unavailable(fault.to_string()))
            });
            let _ = asker.send(told); // fails when the asker no longer waits
        } else if self.upgrades.is_ready() {
            if let Some(number) = self.upgrades.poll() {
                self.platform.answered(number);
            }
        } else if let Some(done) = self.tasks.poll() {
            self.complete(done)?;
        }
        let has_answers = self.asker.as_ref().is_some_and(Asker::has_answers);
        let has_work =
            !self.mailbox.is_empty() || self.tasks.is_ready() || self.upgrades.is_ready();
        let has_work = cfg!(feature = "applications") && has_work;
        Ok(has_answers || has_work)
    }

    /// Runs a request from outside of the namespace's handlers.
    pub(crate) fn ask(&mut self, ask: Ask) -> Result<Result<Answer, AskError>, PlatformError> {
        // Loading may evict the messages of other rooms.
        let changes = self.load_for(&ask)? | ask.changes();
        self.awake()?;
        let folded_s = self.folded_s();
        let mut awake = self.awake()?;
        let mut answer = ask.run(awake.now, &mut awake);
        if let Ok(Answer::Explanation(explanation)) = &mut answer {
            // The queues of the platform have no limit.
            explanation.resolve(QueueFate::Kept);
        }
        self.save_withdrawn(&ask, folded_s)?;
        if changes {
            self.finish(None)?;
        }
        Ok(answer)
    }

    pub(super) fn complete(&mut self, done: Done) -> Result<(), PlatformError> {
        let Done { id, token, outcome } = done;
        let mut awake = self.awake()?;
        // Nobody may wait for it.
        awake.apply(&Input::Complete { token, outcome });
        let conn = token.conn();
        let (waits, is_alive) = {
            let app = &awake.app;
            (app.is_waiting(conn), app.hub().connection(conn).is_some())
        };
        self.finish(None)?;
        self.platform.work_ended(id);
        // Or the slot may be another connection's.
        if is_alive {
            self.platform.wait(conn.slot(), waits);
        }
        Ok(())
    }

    /// Logs a message over which the application panicked, which ended an earlier instance of the
    /// module. Reports the fault to the sender, unless messages have no envelopes.
    pub(crate) fn failed(&mut self, slot: usize, text: &str) -> Result<(), PlatformError> {
        if let Some(conn) = self.conn(slot)? {
            let event = event_of(text).unwrap_or_default();
            let text = format!("{event:?} of connection {conn} panicked: nothing of it was done");
            self.platform.log(&text);
        }
        if self.is_raw() {
            return Ok(());
        }
        self.decline(slot, Frame::Text(text), RequestError::Internal)
    }

    /// Skips the schedules that are due until their next time, because one of them panicked; the
    /// panic ended an earlier instance of the module.
    pub(crate) fn skip_due(&mut self) -> Result<(), PlatformError> {
        self.give(&Input::SkipDue)
    }

    /// Starts the work that handlers began, and drops work that nobody waits for.
    pub(super) fn begin_work(&mut self) {
        let (works, asks) = (self.application.is_some(), self.asker.is_some());
        let Some(app) = self.app.as_mut().filter(|_| works || asks) else {
            return;
        };
        let begun = if works { app.take_work() } else { Vec::new() };
        for (token, work) in begun {
            let lost = app.lost_answer(token);
            let id = self.tasks.add(token, work);
            let slot = token.conn().slot();
            self.platform.work_began(id, slot, lost.as_deref());
        }
        for token in app.take_cancelled() {
            let asked = self.asker.as_mut().and_then(|asker| asker.cancel(token));
            if let Some(id) = asked.or_else(|| self.tasks.cancel(token)) {
                self.platform.work_ended(id);
            }
            let conn = token.conn();
            if app.hub().connection(conn).is_some() {
                // The connection continues without the work, which took too long.
                self.platform.wait(conn.slot(), app.is_waiting(conn));
            }
        }
    }
}

/// The event of an envelope, for the log.
fn event_of(text: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Head {
        event: String,
    }
    serde_json::from_str(text).ok().map(|Head { event }| event)
}
