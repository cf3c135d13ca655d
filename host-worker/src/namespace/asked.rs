//! The backend that is asked who a connection is, and what it may join.
//!
//! An answer is always an input of its own, even when it is known at once: so the input that asked
//! has been saved before.

use roomcast_core::{Failure, Handshake, Outcome};
use roomcast_hooks::{AskOutcome, AskRefusal, AskSettings, Question, Verdict};
use roomcast_http::Problem;

use super::Namespace;
use crate::{
    hooks::{AskedJoin, Asker, Asking},
    platform::{Platform, PlatformError},
    tasks::Done,
};

impl<P: Platform> Namespace<P> {
    /// The settings of the backend that is asked, if there is one.
    pub(crate) fn asks(&self) -> Option<&AskSettings> {
        self.asker.as_ref().map(Asker::settings)
    }

    /// Asks who a connecting client is. Returns the number under which the answer is reported to
    /// the platform, and under which [`identify`](Self::identify) finds it.
    pub(crate) fn ask_client(
        &mut self,
        user: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> Option<u64> {
        let asker = self.asker.as_mut()?;
        let client = asker.client();
        let question = Question::Connect {
            namespace: (&*self.name).into(),
            user: user.map(Into::into),
            headers,
        };
        asker.ask(self.platform.now(), &question, Asking::Client(client));
        self.send_questions();
        Some(client)
    }

    /// Completes the handshake of a client with the answer under a number. A client without an
    /// answer, such as one that was lost with an earlier namespace, is refused.
    pub(crate) fn identify(
        &mut self,
        handshake: Handshake,
        client: Option<u64>,
    ) -> Result<Handshake, Problem> {
        let Some(asker) = &mut self.asker else {
            return Ok(handshake);
        };
        let verdict = asker.take_verdict(client);
        let identity = verdict.identity(&handshake.identity);
        let identity = identity.map_err(|refusal| Problem::Backend(self.refused(refusal)))?;
        Ok(handshake.with_identity(identity).with_unidentified(false))
    }

    /// Asks about the joins that wait.
    pub(super) fn begin_asking(&mut self) {
        let Some((asker, app)) = self.asker.as_mut().zip(self.app.as_mut()) else {
            return;
        };
        let now = self.platform.now();
        for (token, room) in app.take_asked() {
            let lost = app.lost_answer(token);
            let info = app.hub().connection(token.conn());
            let user: Option<Box<str>> = info.and_then(|info| info.user.map(Into::into));
            let id = self.tasks.number();
            let slot = token.conn().slot();
            self.platform.work_began(id, slot, lost.as_deref());
            let question = Question::Join {
                namespace: (&*self.name).into(),
                user: user.as_deref().map(Into::into),
                room: (&*room).into(),
            };
            let join = Asking::Join(AskedJoin {
                id,
                token,
                user: user.clone(),
                room: room.clone(),
            });
            asker.ask(now, &question, join);
        }
        self.send_questions();
    }

    fn send_questions(&mut self) {
        let Some(asker) = &mut self.asker else {
            return;
        };
        let now = self.platform.now();
        while let Some(post) = asker.poll(now) {
            self.platform.post(post);
        }
        if asker.has_answers() {
            self.notify.notifier().notify();
        }
    }

    /// Processes the outcome of a question to the backend; `fault` is the reason without an answer.
    pub(crate) fn asked(&mut self, number: u64, outcome: AskOutcome<'_>, fault: Option<&str>) {
        let (now, random) = (self.platform.now(), self.platform.random());
        let Some(asker) = &mut self.asker else {
            return;
        };
        if let Some(text) = asker.done(now, number, (outcome, fault), random) {
            self.platform.log(&text);
        }
        self.send_questions();
    }

    /// Passes an answer of the backend to the join or the client that waits for it.
    pub(super) fn answer(&mut self, asking: Asking, verdict: Verdict) -> Result<(), PlatformError> {
        match asking {
            Asking::Client(client) => {
                if let Some(asker) = &mut self.asker {
                    asker.keep_verdict(client, verdict);
                }
                self.platform.answered(client);
                Ok(())
            }
            Asking::Join(join) => {
                let AskedJoin {
                    id,
                    token,
                    user,
                    room,
                } = join;
                let rights = verdict.rights(user.as_deref(), &room);
                let outcome = rights.map_or_else(
                    |refusal| Outcome::Fail(Failure::of(&Problem::Backend(self.refused(refusal)))),
                    Outcome::Grant,
                );
                self.complete(Done { id, token, outcome })
            }
        }
    }

    /// Returns the verdict for the client; logs an answer that is readable but has no meaning.
    fn refused(&self, refusal: AskRefusal) -> Verdict {
        if let Some((asker, fault)) = self.asker.as_ref().zip(refusal.fault) {
            self.platform.log(&asker.told(&fault));
        }
        refusal.verdict
    }
}
