//! Certificates of an authority that the clients of these tests trust.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;

/// A folder with the files of a certificate, and the authority that signs them.
pub(crate) struct Pairs {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key in PEM, and the certificate in DER.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(super) der: Vec<u8>,
}

impl Pairs {
    /// An authority with a first certificate in its folder.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the name of what it signs it would look as if that had signed itself.
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of the tests");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        let pairs = Self { authority, folder };
        pairs.put(&pairs.make(2100));
        fs::write(pairs.path("ca.pem"), pairs.authority.pem()).expect("written");
        pairs
    }

    /// A certificate for this machine, valid until the first day of a year.
    pub(crate) fn make(&self, year: i32) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.authority).expect("signed");
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: cert.der().to_vec(),
        }
    }

    /// Writes a certificate and its key into the files, one after the other.
    pub(crate) fn put(&self, pair: &Pair) {
        self.put_text("cert.pem", &pair.cert);
        self.put_text("key.pem", &pair.key);
    }

    pub(crate) fn put_text(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("written");
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> String {
        let path: &Path = self.folder.path();
        path.join(name).display().to_string()
    }

    /// Flags of a server with the certificate.
    pub(crate) fn flags(&self) -> [String; 2] {
        [
            format!("--tls-cert={}", self.path("cert.pem")),
            format!("--tls-key={}", self.path("key.pem")),
        ]
    }

    /// The certificate of the authority.
    pub(super) fn authority(&self) -> Vec<u8> {
        self.authority.der().to_vec()
    }
}
