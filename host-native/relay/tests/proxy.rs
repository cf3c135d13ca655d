//! A TCP proxy between a node and its server, which can redirect connections or go silent.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The server. A change cuts the connections that were made before it.
    target: watch::Sender<u16>,
    /// Bytes are read and thrown away: half open.
    is_mute: Arc<AtomicBool>,
    /// A text after which the connection that carries it returns nothing more.
    last: Arc<Last>,
}

type Last = Mutex<Option<&'static str>>;

impl Proxy {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            target: watch::Sender::new(target),
            is_mute: Arc::default(),
            last: Arc::default(),
        };
        let (targets, is_mute) = (proxy.target.subscribe(), proxy.is_mute.clone());
        let last = proxy.last.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut cut = targets.clone();
                let (target, is_mute) = (*cut.borrow_and_update(), is_mute.clone());
                let last = last.clone();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                        return;
                    };
                    let (up, down) = (client.into_split(), server.into_split());
                    let is_over = AtomicBool::new(false);
                    let note = |bytes: &[u8]| {
                        let mut last = last.lock().unwrap();
                        let found = |last: &mut &str| has(bytes, last.as_bytes());
                        if last.take_if(found).is_some() {
                            is_over.store(true, SeqCst);
                        }
                        !is_mute.load(SeqCst)
                    };
                    let may_answer = |_: &[u8]| !is_mute.load(SeqCst) && !is_over.load(SeqCst);
                    tokio::select! {
                        () = pass(up.0, down.1, note) => {}
                        () = pass(down.0, up.1, may_answer) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Redirects new connections to another server, and cuts existing ones.
    pub(crate) fn lead_to(&self, target: u16) {
        self.target.send_replace(target);
    }

    pub(crate) fn set_mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, SeqCst);
    }

    /// Forwards one more occurrence of a text to the server, and then drops the answer and
    /// everything after it on that connection: it is half open.
    pub(crate) fn end_behind(&self, text: &'static str) {
        *self.last.lock().unwrap() = Some(text);
    }

    /// True once the text has been seen.
    pub(crate) fn has_ended(&self) -> bool {
        self.last.lock().unwrap().is_none()
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|part| part == text)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    passes: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if passes(&buffer[..count]) && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
