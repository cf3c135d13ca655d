//! A native server in the process of the test, and what a task beside it can do.

use std::thread::{self, JoinHandle};

use roomcast::{Host, Namespace};
use roomcast_core::{CloseCode, ConnId};
use roomcast_tests::{Actor, Answer, Driver, DriverError, Event, Op, Settings, Url};
use serde_json::value::RawValue;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::applications::Application;

/// A server with an application in each of its namespaces; it ends with this value.
pub(crate) struct Served {
    is_raw: bool,
    address: String,
    /// The namespace `default`.
    server: Namespace,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// The settings of a native server in this process.
pub(crate) fn host_settings(settings: &Settings, threads: usize) -> roomcast::Settings {
    let mut host = roomcast::Settings::default();
    host.listen = ([127, 0, 0, 1], 0).into();
    host.threads = threads;
    host.hub = settings.limits();
    host.connections_max = host.connections_max.min(host.hub.connections);
    host.policies = settings.policies();
    let queues = settings.queues();
    (host.outbox_bytes_max, host.outbox_frames_max) = (queues.bytes_max, queues.frames_max);
    let keys = settings.token_key().into_iter();
    host.access.tokens.keys = keys.map(|key| key.parse().expect("a key")).collect();
    host.control = None;
    host
}

impl Served {
    pub(crate) fn start(application: &Application, settings: &Settings, threads: usize) -> Self {
        let host = host_settings(settings, threads);
        let listeners = roomcast::listen(&host).expect("a free port");
        let address = listeners[0].local_addr().expect("bound");
        let gateway = application.gateway;
        let host = Host::new(host).other_gateways(move |_| gateway());
        let server = host.namespace("default");
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let stopped = async { drop(stopped.await) };
            let ran = runtime().block_on(host.run(listeners, stopped));
            ran.expect("a server that runs");
        });
        Self {
            is_raw: application.is_raw,
            address: format!("ws://{address}/ws"),
            server,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// The address to which clients connect: `ws://127.0.0.1:port/ws`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Clients in a namespace of their own, and the HTTP API.
    pub(crate) fn url(&self, namespace: &str) -> Url {
        let url = Url::new(self.address.clone()).expect("an address");
        let url = url.with_api(None).with_namespace(namespace);
        if self.is_raw {
            url.with_words()
        } else {
            url.with_welcome()
        }
    }

    /// The same, but what the server side does is done by a task of this process.
    pub(crate) fn beside(&self, namespace: &str) -> Beside {
        Beside {
            url: self.url(namespace),
            server: self.server.namespace(namespace),
            runtime: runtime(),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the server panicked");
        }
    }
}

/// Clients over sockets, and a task with a handle of the server.
pub(crate) struct Beside {
    url: Url,
    server: Namespace,
    runtime: Runtime,
}

impl Beside {
    fn id(&self, actor: &Actor) -> Option<ConnId> {
        self.url.conn(actor)?.parse().ok()
    }

    /// Performs an op of the server side through the handle; returns its answer in the words of the
    /// HTTP API, or `None` when the op is of another kind.
    fn act(&self, op: &Op) -> Option<Answer> {
        if let Op::Send {
            namespace: None,
            key: None,
            to,
            event,
            path,
            data,
        } = op
        {
            let data = RawValue::from_string(data.to_string()).expect("JSON");
            let audience = to.audience(|actor| self.id(actor));
            let event = roomcast_core::Event::new(event).with_path(path.as_deref());
            let sent = self.wait(self.server.send(audience, event, &data));
            let json = serde_json::to_string(&sent.expect("sent"));
            return Some(Answer::ok(json.expect("plain numbers")));
        }
        let answer = if let Op::ServerLeave { actor, room } = op {
            let was = self.wait(self.server.leave(self.id(actor)?, room));
            was.map(|was| format!(r#"{{"was":{was}}}"#))
        } else if let Op::Close {
            actor,
            code,
            reason,
        } = op
        {
            let (id, code) = (self.id(actor)?, CloseCode::new(*code)?);
            let closed = self.wait(self.server.disconnect(id, code, reason));
            closed.map(|()| r#"{"disconnected":1}"#.into())
        } else {
            return None;
        };
        Some(answer.map_or(Answer::refused(404), Answer::ok))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

impl Driver for Beside {
    fn supports(&self, op: &Op) -> bool {
        self.url.supports(op)
    }

    fn perform(&mut self, op: &Op) -> Result<Answer, DriverError> {
        match self.act(op) {
            Some(answer) => {
                // Reads what it led to.
                self.url.perform(&Op::ListRooms { namespace: None })?;
                Ok(answer)
            }
            None => self.url.perform(op),
        }
    }

    fn take(&mut self, actor: &Actor) -> Vec<Event> {
        self.url.take(actor)
    }

    fn conn(&self, actor: &Actor) -> Option<String> {
        self.url.conn(actor)
    }
}
