//! Publishes: a batch leaves in one write, and is answered as a whole.

use std::{sync::Arc, time::Instant};

use redis::{Cmd, Pipeline};

use crate::{
    broker::{
        id::Ids,
        keys::Keys,
        session::{Session, Signals},
        shared::{Effect, Shared, outcome},
    },
    error::RelayError,
    event::Loss,
    position::{Address, Channel},
    publish::{Once, Publish, Published, Retention},
    wire::Kind,
};

/// The upper bound for the bytes of an envelope without its body.
const HEAD_BYTES: usize = 1_024;

/// The text of the fingerprint 0, which stands for none.
const NO_FINGERPRINT: &str = "0000000000000000";

impl Shared {
    pub(super) async fn publish_all(
        &self,
        publishes: &[Publish],
    ) -> Vec<Result<Published, RelayError>> {
        let began = Instant::now();
        let checked: Vec<_> = publishes.iter().map(|it| self.check(it)).collect();
        let valid = publishes.iter().zip(&checked);
        let valid = valid.filter_map(|(it, checked)| checked.is_ok().then_some(it));
        let mut answers = self
            .publish_valid(&valid.collect::<Vec<_>>())
            .await
            .into_iter();
        let answers = checked.into_iter().map(|checked| {
            let missing = || Err(RelayError::Foreign("an answer is missing".into()));
            checked.and_then(|()| answers.next().unwrap_or_else(missing))
        });
        let answers: Vec<_> = answers.collect();
        let took = began.elapsed();
        for answer in &answers {
            match answer {
                Ok(_) => self.counters.count_latency(took),
                Err(RelayError::InDoubt) => self.counters.count_in_doubt(),
                Err(_) => self.counters.count_failed(),
            }
        }
        answers
    }

    fn check(&self, publish: &Publish) -> Result<(), RelayError> {
        Keys::check(&publish.address.namespace)?;
        if publish.body.len() + HEAD_BYTES > self.settings.limits.envelope_bytes_max {
            let fault = "the message is longer than an envelope";
            return Err(RelayError::Invalid(fault));
        }
        Ok(())
    }

    async fn publish_valid(&self, publishes: &[&Publish]) -> Vec<Result<Published, RelayError>> {
        if publishes.is_empty() {
            return Vec::new();
        }
        let sent = match self.session() {
            Ok((session, signals))
                if session.lineage_read.elapsed() >= self.settings.timing.lease =>
            {
                // The process was frozen, and its messages with it: clients may have published them
                // again elsewhere since, and the server may have lost those records.
                signals.fail(Loss::Silent);
                Err(RelayError::Unavailable("this node stood still"))
            }
            Ok((session, signals)) => self.send_all(session, &signals, publishes).await,
            Err(fault) => Err(fault),
        };
        sent.unwrap_or_else(|fault| publishes.iter().map(|_| Err(fault.clone())).collect())
    }

    async fn send_all(
        &self,
        session: Arc<Session>,
        signals: &Arc<Signals>,
        publishes: &[&Publish],
    ) -> Result<Vec<Result<Published, RelayError>>, RelayError> {
        let mut ids = Ids::new();
        let mut calls = Pipeline::with_capacity(publishes.len());
        // Adjacent publishes are nearly always for the same room.
        let mut keys: Option<(&Address, [String; 4])> = None;
        for publish in publishes {
            let address = &publish.address;
            let known = keys.take().filter(|(of, _)| *of == address);
            let (_, known) = keys.insert(known.unwrap_or_else(|| (address, self.keys_of(address))));
            calls.add_command(self.publish_call(&session, publish, known, &ids.next()));
        }
        let scripts = self.scripts.clone();
        let answers = async move { session.publish(&scripts.publish, &calls).await };
        let (answers, is_replicated) = self.in_line(signals, answers).await?;
        if signals.loss().is_some() {
            // The server reports a subscription that it ends by itself where an answer is expected.
            // The answers after that may belong to other messages.
            return Err(RelayError::InDoubt);
        }
        let answers = answers.into_iter().map(|answer| {
            let answer = outcome(Effect::Write, signals, Some(answer))?;
            // Without enough replicas the message is published, but a failover may lose it. A retry
            // is answered by its key.
            is_replicated.then_some(()).ok_or(RelayError::InDoubt)?;
            published(&answer)
        });
        Ok(answers.collect())
    }

    fn keys_of(&self, address: &Address) -> [String; 4] {
        [
            self.keys.meta(address),
            self.keys.stream(address),
            self.keys.topic(address),
            self.keys.index(address),
        ]
    }

    /// Makes the call for a publish. `id` names the epoch of a room that has none.
    fn publish_call(&self, session: &Session, publish: &Publish, keys: &[String], id: &str) -> Cmd {
        let address = &publish.address;
        let names = publish.once.as_ref();
        let names = names.map_or_else(Vec::new, |once| self.names_of(&address.namespace, once));
        let keys: Vec<_> = keys.iter().chain(&names).map(String::as_str).collect();
        let kind = match address.channel {
            Channel::Room(_) => Kind::Message,
            Channel::All => Kind::Audience,
        };
        let script = &self.scripts.publish;
        let mut call = script.call_with(&keys, publish.body.len());
        self.begin_arguments_as(&mut call, session, id);
        call.arg(kind as u8).arg(&publish.body[..]);
        call.arg(publish.retention.messages);
        call.arg(publish.retention.age_ms);
        call.arg(publish.retention.bytes).arg(Retention::TRIM_MAX);
        if let Some(once) = &publish.once {
            match once.fingerprint {
                // Nearly all publishes have none: nobody but the node itself knows their keys.
                0 => call.arg(NO_FINGERPRINT),
                fingerprint => call.arg(format!("{fingerprint:016x}")),
            };
            call.arg(once.expiry_ms.max(1));
            call.arg(&*once.attempt_id);
            if let Some(owner) = &once.owner {
                call.arg(&*once.key).arg(&*owner.name).arg(owner.keys_max);
                let all_max = owner.all_max.map(|keys| keys.to_string());
                call.arg(all_max.unwrap_or_default());
                call.arg(self.keys.owned(&address.namespace, ""));
            }
        }
        call
    }

    /// The names of the server's keys that hold records of an idempotency key.
    fn names_of(&self, namespace: &str, once: &Once) -> Vec<String> {
        let Some(owner) = &once.owner else {
            return vec![self.keys.once(namespace, &once.key)];
        };
        let mut names = Vec::from(self.keys.owners(namespace));
        let owners = [&owner.name].into_iter().chain(&owner.earlier);
        names.extend(owners.map(|owner| self.keys.owned(namespace, owner)));
        names
    }
}

/// Reads the answer of the script.
fn published(answer: &str) -> Result<Published, RelayError> {
    let mut parts = answer.rsplitn(3, ':');
    let (repeated, offset, epoch) = (parts.next(), parts.next(), parts.next());
    let offset = offset.and_then(|offset| offset.parse().ok());
    let foreign = || RelayError::Foreign(answer.into());
    Ok(Published {
        epoch: epoch.ok_or_else(foreign)?.into(),
        offset: offset.ok_or_else(foreign)?,
        is_repeated: repeated == Some("1"),
    })
}
