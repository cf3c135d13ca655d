//! The lease of a node, and the removal of dead nodes.

mod service;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::{RedisError, RedisResult, cmd};

pub(super) use self::service::{Ended, Lease, Service};
use super::{
    keys::unlisted,
    session::{Session, Signals, is_read_only},
    settings::millis,
    shared::Shared,
};
use crate::event::{Event, Loss};

/// Users of a dead node that one script removes: less than a millisecond of server time.
const USERS_AT_ONCE: usize = 50;

/// The loss that an error of a heartbeat or a probe means.
pub(crate) fn loss_of(error: &RedisError) -> Loss {
    if is_read_only(error) {
        Loss::ReadOnly
    } else if error.is_timeout() {
        Loss::Silent
    } else {
        if !error.is_connection_dropped() {
            tracing::warn!(%error, "the server of the relay refused a heartbeat");
        }
        Loss::Disconnected
    }
}

impl Shared {
    /// Records an error that may keep the relay from becoming ready, and returns the loss that it
    /// means.
    pub(crate) fn refused(&self, error: &RedisError) -> Loss {
        self.note_fault(error.to_string());
        loss_of(error)
    }

    /// Renews the lease, or registers a new incarnation where there is no lease to renew, or where
    /// the data has another lineage. Such data may be old, with users whom this node has removed
    /// since: they go when the lease of the old incarnation ends. That leaves the node time to
    /// enter its present users under the new one. Returns the time of the server in milliseconds,
    /// or 0 for a node that retires.
    pub(crate) async fn hold_lease(&self, session: &Session) -> RedisResult<u64> {
        if self.is_retiring.load(Relaxed) {
            return Ok(0);
        }
        let lease = self.settings.timing.lease;
        let (incarnation, lineage) = self.registration();
        let is_same = lineage.is_some_and(|lineage| *lineage == *session.lineage);
        if is_same {
            let renewed = self.set_lease(session, &incarnation, "renew", lease);
            let now_ms = renewed.await?;
            if now_ms > 0 {
                // The call that registered it may have lost its answer.
                self.tell_registered(&incarnation);
                return Ok(now_ms);
            }
        }
        let is_first = incarnation.ends_with(".0");
        if !is_same && !is_first {
            let old = self.set_lease(session, &incarnation, "last", lease);
            old.await?;
        }
        if self.is_retiring.load(Relaxed) {
            // It began to retire meanwhile: its lease is given up, or ends soon.
            return Ok(0);
        }
        let fresh = self.renew_incarnation();
        let registered = self.set_lease(session, &fresh, "register", lease);
        let now_ms = registered.await?;
        self.note_lineage(&session.lineage);
        if is_same {
            self.counters.count_fenced();
            tracing::warn!(node = %fresh, "the lease of this node was taken away: it enters its users again");
        } else if !is_first {
            tracing::warn!(node = %fresh, "the relay has other data: this node enters its users again");
        }
        self.tell_registered(&fresh);
        Ok(now_ms)
    }

    /// Notifies the host, once, that the node has a new incarnation.
    fn tell_registered(&self, incarnation: &Arc<str>) {
        if self.note_told(incarnation) {
            let incarnation = incarnation.clone();
            self.ring.tell(Event::Registered { incarnation });
        }
    }

    /// Sets the lease to end after a time, without further heartbeats.
    pub(crate) async fn end_lease(
        &self,
        session: &Session,
        incarnation: &str,
        time: Duration,
    ) -> RedisResult<()> {
        let time = time.min(self.settings.timing.lease);
        self.set_lease(session, incarnation, "last", time).await?;
        Ok(())
    }

    /// Writes a lease. Returns the time of the server in milliseconds, or 0 when there is no lease
    /// to renew.
    async fn set_lease(
        &self,
        session: &Session,
        incarnation: &str,
        mode: &str,
        time: Duration,
    ) -> RedisResult<u64> {
        let script = &self.scripts.lease;
        let (keys, serials_end) = (&self.keys, self.serials_end.load(Relaxed));
        let mut call = script.call(&[keys.leases(), keys.nodes(), keys.serials()]);
        call.arg(incarnation).arg(millis(time)).arg(mode);
        call.arg(&self.about()[..]).arg(serials_end);
        session.run(script, &call).await
    }

    /// Takes away leases that have ended. Returns the dead incarnations that are not yet removed,
    /// and leases that end late. The node's own lease is taken away only when the node gives it up.
    pub(crate) async fn claim(
        &self,
        session: &Session,
        own: &str,
        gives_up: bool,
        ended: &Ended,
    ) -> RedisResult<(Vec<String>, Vec<Lease>)> {
        let script = &self.scripts.claim;
        let keys = [self.keys.leases(), self.keys.dead(), self.keys.nodes()];
        let mut call = script.call(&keys);
        call.arg(own).arg(if gives_up { "give up" } else { "" });
        call.arg(ended.before_ms).arg(ended.late_ms);
        for (incarnation, end) in &ended.stale {
            call.arg(incarnation).arg(end);
        }
        type Answer = (u64, Vec<String>, Vec<Lease>);
        let (claimed, dead, late): Answer = session.run(script, &call).await?;
        for _ in 0..claimed {
            self.counters.count_reaped_node();
        }
        Ok((dead, late))
    }

    /// Removes all users of a dead incarnation, room by room. It may stop at any step: another call
    /// continues there. It stops when the session is lost: nobody would take further events.
    pub(crate) async fn clear(
        &self,
        session: &Session,
        signals: &Signals,
        incarnation: &str,
    ) -> RedisResult<()> {
        let mut commands = session.commands.clone();
        let rooms = self.keys.rooms(incarnation);
        loop {
            let mut pick = cmd("SRANDMEMBER");
            pick.arg(&rooms).arg(16);
            let names: Vec<String> = pick.query_async(&mut commands).await?;
            if names.is_empty() {
                break;
            }
            for name in names {
                let mut has_more = true;
                while has_more {
                    if signals.loss().is_some() {
                        return Ok(());
                    }
                    has_more = self.clear_some(session, incarnation, &name).await?;
                }
            }
        }
        let mut forget = cmd("SREM");
        forget.arg(self.keys.dead()).arg(incarnation);
        forget.query_async::<u64>(&mut commands).await?;
        Ok(())
    }

    /// Removes some users from a room. Returns true when there are more.
    async fn clear_some(
        &self,
        session: &Session,
        incarnation: &str,
        name: &str,
    ) -> RedisResult<bool> {
        let address = unlisted(name);
        let script = &self.scripts.reap;
        let mut keys = self.keys_of_node(&address, incarnation);
        keys[3] = self.keys.dead();
        let mut call = script.call(&keys);
        self.begin_arguments(&mut call, session);
        call.arg(incarnation).arg(name).arg(USERS_AT_ONCE);
        let answer = session.run(script, &call).await;
        let mut found: Vec<String> = match answer {
            // Another node has removed the last users of this incarnation.
            Err(error) if error.code() == Some("ALIVE") => return Ok(false),
            answer => answer?,
        };
        let has_more = found.first().is_some_and(|more| more == "1");
        let users: Vec<Box<str>> = found.drain(1..).map(Into::into).collect();
        if !users.is_empty() {
            self.ring.tell(Event::Reaped { address, users });
        }
        Ok(has_more)
    }

    /// Removes the users of dead incarnations in a separate task; at most one task runs at a time.
    pub(crate) fn reap(
        self: &Arc<Self>,
        session: &Arc<Session>,
        signals: &Arc<Signals>,
        dead: Vec<String>,
    ) {
        if dead.is_empty() || self.is_reaping.swap(true, Relaxed) {
            return;
        }
        let (shared, session, signals) = (self.clone(), session.clone(), signals.clone());
        tokio::spawn(async move {
            for incarnation in dead {
                let cleared = shared.clear(&session, &signals, &incarnation).await;
                if let Err(error) = cleared {
                    tracing::warn!(%error, "a dead node is not cleared away yet");
                    break;
                }
            }
            shared.is_reaping.store(false, Relaxed);
        });
    }
}
