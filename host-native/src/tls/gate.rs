//! The certificate in force, and handshakes with it.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use tokio::{net::TcpStream, task::spawn_blocking, time::sleep};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    certificate::{Contents, Files},
    error::TlsError,
    session::TlsStream,
};
use crate::settings::Settings;

/// The value for an unknown end of validity.
const UNKNOWN: i64 = i64::MIN;

/// The certificate in force. A connection keeps the certificate of its handshake.
#[derive(Debug)]
pub(crate) struct TlsGate {
    files: Files,
    /// The time between two checks of the files.
    every: Duration,
    config: RwLock<Arc<ServerConfig>>,
    /// The end of its validity, in seconds since 1970; [`UNKNOWN`] if unknown.
    expiry: AtomicI64,
    seen: Mutex<Seen>,
}

/// The files at the last check.
#[derive(Debug)]
struct Seen {
    /// The contents, usable or not, or the reason why they could not be read.
    read: Result<Contents, TlsError>,
    /// The reason why the contents could not be used, so that the same contents are not parsed
    /// again.
    fault: Option<TlsError>,
}

impl TlsGate {
    /// Reads the certificate that the settings name, if any.
    ///
    /// # Errors
    ///
    /// When the certificate cannot be used.
    pub(crate) fn open(settings: &Settings) -> Result<Option<Self>, TlsError> {
        let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) else {
            return Ok(None);
        };
        let (cert, key) = (cert.clone(), key.clone());
        let files = Files { cert, key };
        let contents = files.read()?;
        let loaded = files.load(&contents)?;
        tell(&files, loaded.not_after);
        Ok(Some(Self {
            files,
            every: settings.tls_check,
            config: RwLock::new(loaded.config),
            expiry: AtomicI64::new(unix(loaded.not_after)),
            seen: Mutex::new(Seen {
                read: Ok(contents),
                fault: None,
            }),
        }))
    }

    /// Reads the files again; true when the certificate has changed. Blocks.
    ///
    /// # Errors
    ///
    /// When their contents cannot be used. The certificate stays as it was.
    pub(crate) fn read_again(&self) -> Result<bool, TlsError> {
        let read = self.files.read();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.read == read {
            return seen.fault.clone().map_or(Ok(false), Err);
        }
        seen.read.clone_from(&read);
        let loaded = read.and_then(|contents| self.files.load(&contents));
        seen.fault = loaded.as_ref().err().cloned();
        let loaded = loaded?;
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *config = loaded.config;
        self.expiry.store(unix(loaded.not_after), Relaxed);
        tell(&self.files, loaded.not_after);
        Ok(true)
    }

    /// Checks the files periodically, while it is polled, so that a renewal needs no signal.
    /// Contents are compared, since times of files and links are unreliable.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let mut told = None;
        loop {
            sleep(self.every).await;
            let gate = self.clone();
            let Ok(read) = spawn_blocking(move || gate.read_again()).await else {
                continue;
            };
            let fault = read.err();
            // Logged once: the files may stay so for long.
            if let Some(fault) = fault.as_ref().filter(|fault| told.as_ref() != Some(*fault)) {
                tracing::error!("{fault}; the certificate stays as it was");
            }
            told = fault;
        }
    }

    /// The end of the validity of the certificate in force, in seconds since 1970.
    pub(crate) fn expiry(&self) -> Option<i64> {
        let expiry = self.expiry.load(Relaxed);
        (expiry != UNKNOWN).then_some(expiry)
    }

    fn config(&self) -> Arc<ServerConfig> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    /// Performs a handshake with the certificate in force.
    ///
    /// # Errors
    ///
    /// When it fails; the alert for the peer has been written then.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<Box<TlsStream>, (io::Error, TcpStream)> {
        let acceptor = TlsAcceptor::from(self.config());
        acceptor.accept(stream).into_fallible().await.map(Box::new)
    }
}

fn unix(not_after: Option<DateTime<Utc>>) -> i64 {
    not_after.map_or(UNKNOWN, |end| end.timestamp())
}

/// Logs the end of a certificate's validity.
fn tell(files: &Files, not_after: Option<DateTime<Utc>>) {
    let path = files.cert.display();
    match not_after {
        None => tracing::info!("TLS with the certificate in {path}"),
        Some(end) if end <= DateTime::<Utc>::from(SystemTime::now()) => {
            tracing::warn!("the certificate in {path} expired at {end}: clients refuse it");
        }
        Some(end) => tracing::info!("TLS with the certificate in {path}, valid until {end}"),
    }
}
