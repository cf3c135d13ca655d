//! A certificate and its key, in two files.

use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};

use super::{error::TlsError, validity::validity};

const CERT: &str = "tls-cert";
const KEY: &str = "tls-key";

/// The maximum size of a file in bytes: chains and keys have a few thousand.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The files of a certificate with its chain, and of its key.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// The contents of the files.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// Hides the contents, which include the key.
impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// A certificate in the form for handshakes.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// The end of the validity of the server's own certificate, if known.
    pub(super) not_after: Option<DateTime<Utc>>,
}

impl Files {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let cert = read(&self.cert).map_err(|fault| TlsError::new(CERT, &self.cert, fault))?;
        let key = read(&self.key).map_err(|fault| TlsError::new(KEY, &self.key, fault))?;
        Ok(Contents { cert, key })
    }

    /// Creates the handshake configuration from the contents.
    ///
    /// # Errors
    ///
    /// When a certificate or key is missing, or they do not fit each other.
    pub(super) fn load(&self, contents: &Contents) -> Result<Loaded, TlsError> {
        let in_cert = |fault: &dyn ToString| TlsError::new(CERT, &self.cert, fault.to_string());
        let in_key = |fault: &str| TlsError::new(KEY, &self.key, fault);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.cert).collect();
        let chain = chain.map_err(|_| in_cert(&"is no PEM file, or is damaged"))?;
        let Some(own) = chain.first() else {
            return Err(in_cert(
                &"has no certificate: give a PEM file with `BEGIN CERTIFICATE`",
            ));
        };
        let not_after = validity(own).map(|valid| valid.end);
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|fault| {
            let encrypted = b"ENCRYPTED";
            let parts = &mut contents.key.windows(encrypted.len());
            if parts.any(|part| part == encrypted) {
                in_key("is encrypted: give a key without a password")
            } else if matches!(fault, pem::Error::NoItemsFound) {
                in_key("has no private key: give a PEM file with PKCS#8, SEC1 or PKCS#1")
            } else {
                in_key("is no PEM file, or is damaged")
            }
        })?;
        // Set explicitly: a process-wide default would affect the whole program.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|fault| in_cert(&fault))?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(|fault| {
            if let rustls::Error::InconsistentKeys(_) = fault {
                let cert = self.cert.display();
                in_key(&format!("does not fit the certificate in {cert}"))
            } else if let rustls::Error::InvalidCertificate(fault) = fault {
                in_cert(&format!("cannot be used: {fault:?}"))
            } else {
                in_key(&format!("cannot be used: {fault}"))
            }
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Session tickets spare reconnecting clients a signature. A ticket belongs to its
        // certificate: with another one there is a full handshake.
        config.ticketer = ring::Ticketer::new().map_err(|fault| in_key(&fault.to_string()))?;
        Ok(Loaded {
            config: Arc::new(config),
            not_after,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let open = File::open(path).map_err(|fault| format!("cannot be read: {fault}"))?;
    let mut bytes = Vec::new();
    let read = open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|fault| format!("cannot be read: {fault}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err("has more than 1 MiB".to_owned());
    }
    Ok(bytes)
}
