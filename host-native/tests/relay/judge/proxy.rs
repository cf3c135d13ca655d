//! A proxy of TCP between a node and the relay, which does what networks do.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU16, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

/// A proxy that leads to one server at a time.
pub(super) struct Proxy {
    port: u16,
    state: Arc<State>,
    /// Each change cuts all connections.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    target: AtomicU16,
    /// Bytes to the server, and those from it, are read and thrown away: half open.
    is_mute_up: AtomicBool,
    is_mute_down: AtomicBool,
    /// New connections are closed at once.
    refuses: AtomicBool,
    /// The next bytes are sent in part, and the connection ends there.
    cuts_short: AtomicBool,
    delay_ms: AtomicU64,
}

impl Proxy {
    pub(super) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State::default());
        state.target.store(target, SeqCst);
        let cuts = watch::Sender::new(0);
        let (shared, generation) = (state.clone(), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.refuses.load(SeqCst) {
                    continue;
                }
                let mut cut = generation.clone();
                cut.mark_unchanged();
                tokio::spawn(serve(client, shared.clone(), cut));
            }
        });
        Self { port, state, cuts }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Leads new connections to another server, and cuts those that are there.
    pub(super) fn lead_to(&self, target: u16) {
        self.state.target.store(target, SeqCst);
        self.cut();
    }

    pub(super) fn cut(&self) {
        self.cuts.send_modify(|generation| *generation += 1);
    }

    /// Cuts a connection in the middle of what it carries next.
    pub(super) fn cut_short(&self) {
        self.state.cuts_short.store(true, SeqCst);
    }

    pub(super) fn set_mute(&self, up: bool, down: bool) {
        self.state.is_mute_up.store(up, SeqCst);
        self.state.is_mute_down.store(down, SeqCst);
    }

    pub(super) fn set_refuses(&self, refuses: bool) {
        self.state.refuses.store(refuses, SeqCst);
    }

    pub(super) fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("some milliseconds");
        self.state.delay_ms.store(millis, SeqCst);
    }

    /// Does nothing more to what it carries.
    pub(super) fn heal(&self) {
        let is_mute = |it: &AtomicBool| it.swap(false, SeqCst);
        let was_mute = is_mute(&self.state.is_mute_up) | is_mute(&self.state.is_mute_down);
        self.set_refuses(false);
        self.set_delay(Duration::ZERO);
        self.state.cuts_short.store(false, SeqCst);
        if was_mute {
            // What was thrown away is in the middle of something.
            self.cut();
        }
    }
}

async fn serve(client: TcpStream, state: Arc<State>, mut cut: watch::Receiver<u64>) {
    let target = state.target.load(SeqCst);
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true)); // it is slower without
    let (client, server) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(client.0, server.1, &state, &state.is_mute_up) => {}
        () = pass(server.0, client.1, &state, &state.is_mute_down) => {}
        _ = cut.changed() => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    is_mute: &AtomicBool,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let delay = state.delay_ms.load(Relaxed);
        if delay > 0 {
            sleep(Duration::from_millis(delay)).await;
        }
        if is_mute.load(SeqCst) {
            continue;
        }
        if state.cuts_short.swap(false, SeqCst) {
            let _ = to.write_all(&buffer[..count / 2]).await; // the connection ends
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
