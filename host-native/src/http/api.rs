//! The HTTP API: calls are read here, and run where their namespace is at home.

use std::{collections::BTreeMap, rc::Rc, sync::Arc, sync::atomic::Ordering::Relaxed};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use roomcast_core::{
    Audience, CloseCode, ConnId, Delivery, ErrorCode, Event, Hub, JoinError, SendError, Timestamp,
    UnknownConn, wire::Details,
};
use roomcast_http::{ApiCall, ApiHost, ApiRequest, Problem, Response};
use serde_json::value::RawValue;

use super::{Head, Peer, head};
use crate::{
    namespace::{Link, Namespace},
    patience,
    shard::{OpenError, Shard},
};

pub(super) async fn answer(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &Head,
    body: &mut Incoming,
) -> Result<Response, Problem> {
    let settings = &shard.shared.settings;
    let head = head(request, peer);
    let access = shard.shared.access();
    let is_proxied = shard.shared.proxied.load(Relaxed);
    access.authorize(&head, is_proxied)?;
    if shard.shared.draining.load(Relaxed) {
        return Err(shutting_down());
    }
    let call = match ApiRequest::read(&head, &access, &settings.hub)? {
        ApiRequest::Call(call) => call,
        ApiRequest::Send(head) => head.with_body(&whole(shard, body).await?)?,
    };
    run(shard, call).await
}

/// The whole body.
async fn whole(shard: &Shard, body: &mut Incoming) -> Result<Bytes, Problem> {
    let settings = &shard.shared.settings;
    let bytes_max = settings.api_body_bytes_max;
    // A declared length is refused before a byte of it is waited for.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Problem::body_too_large(bytes_max));
    }
    let limited = Limited::new(body, bytes_max);
    // A body may take as long as a message.
    let collected = patience::within(settings.message_time, limited.collect()).await;
    match collected {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(fault)) if fault.is::<LengthLimitError>() => {
            Err(Problem::body_too_large(bytes_max))
        }
        Some(Err(_)) => {
            let detail = "the body did not arrive whole";
            Err(Problem::new(ErrorCode::BadRequest, detail))
        }
        None => {
            let detail = "the body did not arrive in time";
            Err(Problem::new(ErrorCode::Timeout, detail))
        }
    }
}

/// Runs a call where its namespace is at home. What the queues of distant sockets hold is then asked
/// of their shards.
async fn run(shard: &Rc<Shard>, call: ApiCall) -> Result<Response, Problem> {
    let name: Arc<str> = call.namespace().into();
    let home = shard.home_of(&name);
    let task = move |shard: &Rc<Shard>| {
        let mut home = Home {
            namespace: shard.namespace(&name),
            remote: BTreeMap::new(),
            name,
            shard,
        };
        (call.run(&mut home), home.remote)
    };
    let done = shard.on_shard(home, task).await;
    let (answer, remote) = done.ok_or_else(shutting_down)?;
    let mut answer = answer?;
    for (index, sockets) in remote {
        let queued = move |shard: &Rc<Shard>| -> Vec<(ConnId, usize)> {
            let queued = |key| shard.socket(key).map_or(0, |socket| socket.queued_bytes());
            let sockets = sockets.into_iter();
            sockets.map(|(conn, key)| (conn, queued(key))).collect()
        };
        for (conn, bytes) in shard.on_shard(index, queued).await.unwrap_or_default() {
            answer.set_queued_bytes(conn, bytes);
        }
    }
    Ok(answer.into())
}

/// A namespace at home.
struct Home<'a> {
    shard: &'a Rc<Shard>,
    name: Arc<str>,
    /// `None` when nobody is in it.
    namespace: Option<Rc<Namespace>>,
    /// Connections whose queues are on other shards, with the keys of their sockets.
    remote: BTreeMap<usize, Vec<(ConnId, u32)>>,
}

impl ApiHost for Home<'_> {
    fn ask<R>(&self, question: impl FnOnce(&Hub) -> R) -> Option<R> {
        let namespace = self.namespace.as_ref()?;
        Some(namespace.ask(question))
    }

    fn open(&mut self) -> Result<(), Problem> {
        match self.shard.open_namespace(&self.name) {
            Ok(namespace) => {
                self.namespace = Some(namespace);
                Ok(())
            }
            Err(OpenError::Full { limit }) => {
                let detail = "too many namespaces to remember the message in one more: raise \
                              --namespaces-max, or send without Idempotency-Key to a room without history";
                let problem = Problem::new(ErrorCode::Overloaded, detail);
                Err(problem.with_details(Details::limit(limit)))
            }
            Err(OpenError::Factory(_) | OpenError::State(_) | OpenError::Store(_)) => {
                let detail = "the namespace could not start; see the server log";
                Err(Problem::new(ErrorCode::Internal, detail))
            }
        }
    }

    fn keeps(&self, room: &str) -> bool {
        self.shard.keeps(room)
    }

    fn send(
        &mut self,
        key: Option<&str>,
        audience: &Audience,
        event: Event<'_>,
        data: &RawValue,
    ) -> Result<Delivery, SendError> {
        Ok(match (&self.namespace, key) {
            (Some(namespace), Some(key)) => {
                namespace.send_once(self.shard, key, audience, event, data)?
            }
            (Some(namespace), None) => namespace.send(self.shard, audience, event, data)?,
            (None, _) => self.shard.send_to_nobody(audience, event, data)?,
        })
    }

    fn join(&mut self, conn: ConnId, room: &str) -> Result<bool, JoinError> {
        let namespace = self.namespace.as_ref().ok_or(UnknownConn(conn))?;
        namespace.join(self.shard, conn, room, None)
    }

    fn leave(&mut self, conn: ConnId, room: &str) -> Result<bool, UnknownConn> {
        let namespace = self.namespace.as_ref().ok_or(UnknownConn(conn))?;
        namespace.leave(self.shard, conn, room)
    }

    fn close(&mut self, conn: ConnId, code: CloseCode, reason: &str) -> Result<(), UnknownConn> {
        let namespace = self.namespace.as_ref().ok_or(UnknownConn(conn))?;
        namespace.close(self.shard, conn, code, reason)
    }

    fn queued_bytes(&mut self, conn: ConnId) -> usize {
        let namespace = self.namespace.as_ref();
        match namespace.and_then(|namespace| namespace.link(conn)) {
            Some(Link::Local(socket)) => socket.queued_bytes(),
            Some(Link::Remote { shard, key }) => {
                self.remote.entry(shard).or_default().push((conn, key));
                0
            }
            None => 0,
        }
    }

    fn unix_ms(&self, time: Timestamp) -> u64 {
        self.shard.shared.clock.unix_ms(time)
    }
}

fn shutting_down() -> Problem {
    let detail = "the server is shutting down: ask another, or try again";
    Problem::new(ErrorCode::Unavailable, detail)
}
