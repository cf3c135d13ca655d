//! The HTTP API: calls are parsed here, and run on the home shard of their namespace.

use std::{
    collections::BTreeMap,
    error::Error,
    iter,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use roomcast_core::{ConnId, Delivery, ask::AskError, ask::Scope, hub::SendError, queue::AtQueue};
use roomcast_http::{Answer, ApiCall, ApiRequest, Problem, Response};
use tokio::sync::oneshot;

use super::{Body, Head, Peer, access, head_for};
use crate::{
    clock::patience,
    shard::{Link, Reached, Shard},
};

pub(super) async fn answer(
    shard: &Rc<Shard>,
    peer: Peer,
    request: &Head,
    body: &mut Body,
) -> Result<Response, Problem> {
    let access = access(shard, peer);
    let head = head_for(&access, request, peer);
    let is_proxied = shard.shared.proxied.load(Relaxed);
    access.authorize(&head, is_proxied)?;
    if shard.shared.is_draining() {
        return Err(Problem::Draining);
    }
    let call = match ApiRequest::read(&head, &access, &shard.shared.settings.hub)? {
        ApiRequest::Call(call) => call,
        ApiRequest::Send(head) => head.with_body(&whole(shard, body).await?)?,
    };
    run(shard, call).await
}

/// Reads the whole body.
async fn whole(shard: &Shard, body: &mut Body) -> Result<Bytes, Problem> {
    let settings = &shard.shared.settings;
    let (bytes_max, time) = (settings.api_body_bytes_max, settings.message_time);
    // A declared length over the limit is refused before any byte is awaited.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Problem::BodyTooLarge(bytes_max));
    }
    let limited = Limited::new(body, bytes_max);
    // A body has the same time limit as a message.
    let collected = patience::within(time, limited.collect()).await;
    match collected {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(fault)) if fault.is::<LengthLimitError>() => Err(Problem::BodyTooLarge(bytes_max)),
        Some(Err(fault)) if is_limit(&*fault) => Err(Problem::BodyLimited),
        Some(Err(_)) => Err(Problem::BodyCut),
        None => {
            let time_ms = usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
            Err(Problem::BodyLate(time_ms))
        }
    }
}

/// True for the limit of a middleware; a library may have wrapped the error.
fn is_limit(fault: &(dyn Error + 'static)) -> bool {
    let mut faults = iter::successors(Some(fault), |&fault| fault.source());
    faults.any(|fault| fault.is::<LengthLimitError>())
}

/// Runs a call on the home shard of its namespace, and on other nodes if it concerns them. Then
/// asks other shards for the queue sizes of their sockets.
async fn run(shard: &Rc<Shard>, call: ApiCall) -> Result<Response, Problem> {
    let name: Arc<str> = call.namespace().into();
    let home = shard.home_of(&name);
    if shard.shared.relay.is_some() && call.ask().scope() != Scope::Here {
        let (name, ask) = (name.clone(), call.ask_of_nodes());
        let begun = shard.on_shard(home, move |home| home.ask_nodes(&name, ask));
        if let Some(told) = begun.await.ok_or(Problem::Draining)? {
            let (gathered, rooms) = told.await.map_err(|_| Problem::Draining)?;
            return Ok(call.answer_of_nodes(gathered, rooms)?.into());
        }
    }
    let task = move |shard: &Rc<Shard>| {
        let mut reached = shard.reach(&name, call.ask())?;
        reached.queue_for(call.ask());
        let mut answer = call.run(shard.now(), &mut reached)?;
        let queues = queues(&reached, &mut answer);
        let explained = resolve(&reached, &mut answer);
        let relayed = relayed(&reached, &answer);
        Ok::<_, Problem>((answer, queues, explained, relayed))
    };
    let done = shard.on_shard(home, task).await;
    let (mut answer, remote, explained, relayed) = done.ok_or(Problem::Draining)??;
    if let Some(relayed) = relayed {
        let delivery = relayed.await.map_err(|_| Problem::Draining)?;
        answer.set_delivery(delivery.map_err(AskError::from)?);
    }
    if let Some((index, key, message)) = explained {
        let fate = move |shard: &Rc<Shard>| Some(shard.egress.socket(key)?.fate(&message));
        if let Some(fate) = shard.on_shard(index, fate).await.flatten() {
            answer.resolve(fate);
        }
    }
    for (index, sockets) in remote {
        let queued = move |shard: &Rc<Shard>| -> Vec<(ConnId, usize)> {
            let queued = |key| {
                shard
                    .egress
                    .socket(key)
                    .map_or(0, |socket| socket.queued_bytes())
            };
            let sockets = sockets.into_iter();
            sockets.map(|(conn, key)| (conn, queued(key))).collect()
        };
        for (conn, bytes) in shard.on_shard(index, queued).await.unwrap_or_default() {
            answer.set_queued_bytes(conn, bytes);
        }
    }
    Ok(answer.into())
}

/// Returns a receiver for the outcome of a send through the relay.
fn relayed(
    reached: &Reached<'_>,
    answer: &Answer,
) -> Option<oneshot::Receiver<Result<Delivery, SendError>>> {
    let Reached::AtHome { namespace, .. } = reached else {
        return None;
    };
    let token = answer.relayed()?;
    let (tell, told) = oneshot::channel();
    namespace.when_relayed(token, move |outcome| {
        let _ = tell.send(outcome); // the caller may be gone
    });
    Some(told)
}

/// Adds the queue sizes of connections whose sockets are on this shard to an answer. Returns the
/// other connections by shard, with the keys of their sockets.
fn queues(reached: &Reached<'_>, answer: &mut Answer) -> BTreeMap<usize, Vec<(ConnId, u32)>> {
    let mut remote: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let Reached::AtHome { namespace, .. } = reached else {
        return remote;
    };
    let conns: Vec<ConnId> = answer.conns().collect();
    for conn in conns {
        match namespace.link(conn) {
            Some(Link::Local(socket)) => answer.set_queued_bytes(conn, socket.queued_bytes()),
            Some(Link::Remote { shard, key }) => remote.entry(shard).or_default().push((conn, key)),
            None => {}
        }
    }
    remote
}

/// Completes an explanation with the state of the connection's queue, if its socket is on this
/// shard. Otherwise returns the shard and the key of the socket, and the message.
fn resolve(reached: &Reached<'_>, answer: &mut Answer) -> Option<(usize, u32, AtQueue)> {
    let Reached::AtHome { namespace, .. } = reached else {
        return None;
    };
    let (conn, message) = answer.at_queue()?;
    match namespace.link(conn)? {
        Link::Local(socket) => {
            answer.resolve(socket.fate(&message));
            None
        }
        Link::Remote { shard, key } => Some((shard, key, message)),
    }
}
