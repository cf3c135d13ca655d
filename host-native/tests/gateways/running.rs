//! A server in this process, and what it logs.

use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, Once, PoisonError},
    time::Duration,
};

use roomcast::{Host, Namespace, RunError, Settings};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::client::{Client, Rejected};

/// The timeout of every step: passing it is a failure, never a decision.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port; it ends with this value.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) server: Namespace,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.listen = ([127, 0, 0, 1], 0).into();
    settings
}

impl Running {
    /// On one thread.
    pub(crate) async fn start(build: impl FnOnce(Host) -> Host) -> Self {
        Self::with_settings(settings(), build).await
    }

    /// On so many threads.
    pub(crate) async fn on_threads(threads: usize, build: impl FnOnce(Host) -> Host) -> Self {
        let mut settings = settings();
        settings.threads = threads;
        Self::with_settings(settings, build).await
    }

    pub(crate) async fn with_settings(
        settings: Settings,
        build: impl FnOnce(Host) -> Host,
    ) -> Self {
        let listeners = roomcast::listen(&settings).expect("a free port");
        let address = listeners[0].local_addr().expect("an address");
        let host = build(Host::new(settings));
        let server = host.namespace("default");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(host.run(listeners, shutdown));
        Self {
            address,
            server,
            stop,
            task,
        }
    }

    /// Connects a client to this path and query.
    pub(crate) async fn connect(&self, path: &str) -> Client {
        match self.try_connect(path, &[]).await {
            Ok(client) => client,
            Err(refused) => panic!("{path}: {refused:?}"),
        }
    }

    /// Connects a client with these header fields, or returns why that failed.
    pub(crate) async fn try_connect(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Rejected> {
        Client::connect(self.address, path, headers).await
    }

    /// Shuts the server down gracefully.
    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.stop.send(()).expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("it ends").expect("it does not panic")
    }
}

/// Repeats a query until its answer is as expected.
pub(crate) async fn until<T: Debug, F: Future<Output = T>>(
    mut ask: impl FnMut() -> F,
    holds: impl Fn(&T) -> bool,
) -> T {
    let start = Instant::now();
    loop {
        let answer = ask().await;
        if holds(&answer) {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "still {answer:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until so many connections are in a namespace.
pub(crate) async fn crowd(server: &Namespace, connections: usize) {
    let counts = || async { server.counts().await.map(|counts| counts.connections) };
    let counted = until(counts, |counted| *counted == Ok(connections)).await;
    assert_eq!(counted, Ok(connections));
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures what servers log from this call on.
pub(crate) fn listen_to_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(|| Log)
            .init();
    });
}

/// Waits for a line in the log that contains all of these.
pub(crate) async fn logged(parts: &[&str]) -> String {
    let parts: Arc<[String]> = parts.iter().map(|&part| part.to_owned()).collect();
    let lines = || async {
        let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    };
    let fits = |line: &&str| parts.iter().all(|part| line.contains(&**part));
    let log = until(lines, |log: &String| log.lines().any(|line| fits(&line))).await;
    log.lines().find(fits).unwrap_or_default().to_owned()
}
