//! The example applications on the worker, and clients of them.

use std::{path::Path, time::Duration};

use futures_util::{SinkExt, StreamExt};
use roomcast_tests::{Build, Edge, Settings, Sockets};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderName, HeaderValue},
    },
};

/// Time that the worker may take for anything: a fault when it passes, never a way to decide.
const PATIENCE: Duration = Duration::from_secs(40);

const SETTINGS: &str = "inbound_rate=off inbound_bytes_rate=off heartbeat_ms=off";

/// A worker with the example applications.
pub(crate) struct World {
    pub(crate) edge: Edge,
    runtime: Runtime,
    /// True when the object of a namespace leaves memory before each step there.
    evicting: bool,
}

/// A request that was not upgraded.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A client, and where it is.
pub(crate) struct Client<'w> {
    world: &'w World,
    namespace: String,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol chosen from those that the client offered.
    pub(crate) subprotocol: Option<String>,
}

impl World {
    pub(crate) fn start() -> Self {
        let settings = Self::settings();
        Self::around(Edge::start_build(Build::Gateways, &[&settings]))
    }

    /// Starts a world whose applications decide within a second.
    pub(crate) fn hurried() -> Self {
        let settings = format!("{SETTINGS} admission_time_ms=1000");
        let settings: Settings = settings.parse().expect("known settings");
        Self::around(Edge::start_build(Build::Gateways, &[&settings]))
    }

    /// Starts a world whose platform fails when it is told to.
    pub(crate) fn faulty() -> Self {
        let entry = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/faulty.js");
        let settings = Self::settings();
        Self::around(Edge::start_build_behind(
            Build::Gateways,
            &entry,
            &[&settings],
        ))
    }

    fn settings() -> Settings {
        SETTINGS.parse().expect("known settings")
    }

    fn around(edge: Edge) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            edge,
            runtime: runtime.expect("a runtime"),
            evicting: false,
        }
    }

    /// From here on, this call of the platform's method throws.
    pub(crate) fn fail(&self, method: &str, call: usize) {
        let path = format!("/-/fail?call={method}&calls={call}");
        let planted = self.edge.post(0, &path);
        assert_eq!(planted.as_deref(), Ok("planted"));
    }

    /// True when what was to fail has failed; it does not fail later.
    pub(crate) fn has_failed(&self) -> bool {
        self.edge.post(0, "/-/happened").as_deref() == Ok("true")
    }

    /// Starts a world whose objects leave memory before every step.
    pub(crate) fn sleepless() -> Self {
        let mut world = Self::start();
        world.evicting = true;
        world
    }

    /// The same with a policy for rooms.
    pub(crate) fn sleepless_with(rooms: &str) -> Self {
        let settings = Self::settings().with_rooms(rooms).expect("a policy");
        let mut world = Self::around(Edge::start_build(Build::Gateways, &[&settings]));
        world.evicting = true;
        world
    }

    /// Takes the object of a namespace out of memory, if it is there.
    pub(crate) fn evict(&self, namespace: &str) -> bool {
        let evicted = self.edge.evict(0, namespace, Sockets::Hibernate);
        evicted.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// A client in a namespace, or how it was refused. The query string
    /// begins with a question mark, unless it is empty.
    pub(crate) fn try_connect(
        &self,
        namespace: &str,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client<'_>, Refusal> {
        if self.evicting {
            self.evict(namespace);
        }
        let address = format!("{}/{namespace}{query}", self.edge.address(0));
        let mut request = address.into_client_request().expect("an address");
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        match self.wait(connect_async(request)) {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                Ok(Client {
                    world: self,
                    namespace: namespace.to_owned(),
                    socket,
                    subprotocol: chosen.map(|value| value.to_str().expect("a token").to_owned()),
                })
            }
            Err(tungstenite::Error::Http(response)) => {
                let (head, body) = response.into_parts();
                Err(Refusal {
                    status: head.status.as_u16(),
                    body: String::from_utf8(body.unwrap_or_default()).expect("text"),
                })
            }
            Err(fault) => panic!("{fault}"),
        }
    }

    /// Sends the request of a client, without waiting for the response.
    pub(crate) fn asks_to_connect(&self, namespace: &str, query: &str) -> TcpStream {
        let host = self.edge.authority(0);
        let request = format!(
            "GET /ws/{namespace}{query} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        let sent = self.wait(async {
            let mut stream = TcpStream::connect(&host).await?;
            stream.write_all(request.as_bytes()).await?;
            Ok::<_, std::io::Error>(stream)
        });
        sent.expect("it listens")
    }

    /// Resets a connection, so that no answer is read.
    pub(crate) fn reset(&self, stream: TcpStream) {
        stream.set_zero_linger().expect("a socket");
        drop(stream);
    }

    pub(crate) fn connect(&self, namespace: &str) -> Client<'_> {
        self.connect_as(namespace, "")
    }

    /// Two clients in a namespace.
    pub(crate) fn connect_two(&self, namespace: &str) -> (Client<'_>, Client<'_>) {
        (self.connect(namespace), self.connect(namespace))
    }

    pub(crate) fn connect_as(&self, namespace: &str, query: &str) -> Client<'_> {
        let connected = self.try_connect(namespace, query, &[]);
        connected.unwrap_or_else(|refused| panic!("{refused:?}"))
    }

    fn wait<F: Future>(&self, future: F) -> F::Output {
        let patient = async { timeout(PATIENCE, future).await };
        self.runtime.block_on(patient).expect("in time")
    }

    /// Nothing was logged that should not be.
    pub(crate) fn is_calm(&self) {
        assert_eq!(self.edge.log(), [""; 0]);
    }

    /// Waits until a line of the log has all of these.
    pub(crate) fn has_logged(&self, parts: &[&str]) {
        let all = |line: &String| parts.iter().all(|part| line.contains(part));
        let begun = std::time::Instant::now();
        while !self.edge.log().iter().any(all) {
            let log = self.edge.log().join("\n");
            assert!(begun.elapsed() < PATIENCE, "{parts:?} is not in:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Client<'_> {
    pub(crate) fn send(&mut self, text: &str) {
        self.send_message(Message::text(text));
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        if self.world.evicting {
            self.world.evict(&self.namespace);
        }
        let sent = self.world.wait(self.socket.send(message));
        sent.expect("it is open");
    }

    /// The next message; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.world.wait(self.socket.next())?.ok()
    }

    /// The next message is this text.
    #[track_caller]
    pub(crate) fn gets(&mut self, text: &str) {
        assert_eq!(self.next(), Some(Message::text(text)));
    }

    /// Sends a text, and the next message is the other one.
    #[track_caller]
    pub(crate) fn asks(&mut self, text: &str, answer: &str) {
        self.send(text);
        self.gets(answer);
    }

    /// Sends an event without data, and the next message answers it with this data.
    #[track_caller]
    pub(crate) fn asks_for(&mut self, event: &str, data: &str) {
        let answer = format!(r#"{{"event":"{event}","data":{data}}}"#);
        self.asks(&format!(r#"{{"event":"{event}"}}"#), &answer);
    }

    /// Releases an answer that waits, with a value: says whether it waits.
    #[track_caller]
    pub(crate) fn releases(&mut self, name: &str, value: u32, waits: bool) {
        let release = format!(r#"{{"event":"release","data":["{name}",{value}]}}"#);
        let answer = format!(r#"{{"event":"release","data":{waits}}}"#);
        self.asks(&release, &answer);
    }

    /// The next message is a close with this code.
    #[track_caller]
    pub(crate) fn is_closed(&mut self, code: u16) {
        match self.next() {
            Some(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), code),
            other => panic!("a close with {code} is expected: {other:?}"),
        }
    }

    /// Closes, and waits for the answer.
    pub(crate) fn close(mut self) {
        let _ = self.world.wait(self.socket.close(None));
        while let Some(Ok(_)) = self.world.wait(self.socket.next()) {}
    }
}
