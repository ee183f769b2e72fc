//! X.509: the cluster's authority, the certificates it issues, and the TLS settings built on them.
//!
//! Keys are ECDSA P-256. What may be signed for whom is decided elsewhere (the signers in the
//! controllers); this module signs what it is told to.

pub mod authority;
pub mod cluster;
mod file;
pub mod identity;
pub mod name;
pub mod request;
pub mod tls;

pub use authority::{Authority, Profile};
pub use cluster::{ClusterPki, ServingNames};
pub use identity::{Identity, PrivateKey};
pub use name::{AltName, Subject, Usage};
pub use request::Request;

use std::path::PathBuf;

/// Why a certificate, key or request could not be read, made or stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Text that should hold one PEM block of a kind did not.
    #[error("expected a PEM block {expected}: {problem}")]
    Pem {
        /// The block's label, such as `CERTIFICATE`.
        expected: &'static str,
        /// What was found instead.
        problem: String,
    },
    /// The bytes are not an X.509 certificate.
    #[error("not an X.509 certificate: {0}")]
    Certificate(String),
    /// The authority's own certificate has ended.
    #[error("the certificate authority has expired: replace it")]
    Expired,
    /// A certificate request that cannot be signed.
    #[error("certificate request: {0}")]
    Request(String),
    /// The key or certificate library refused.
    #[error("certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// The TLS library refused a certificate or key.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's contents do not fit.
    #[error("{}: {problem}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
}

/// The sha256 of a certificate's DER, in lower-case hex: what a join token carries, so that a node
/// can tell its cluster's authority from any other before it trusts anything.
pub fn fingerprint(certificate_der: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(certificate_der))
}

/// The DER inside the first `CERTIFICATE` block of `pem`.
pub fn certificate_der(pem: &str) -> Result<Vec<u8>, Error> {
    block(pem, "CERTIFICATE")
}

/// The contents of the first PEM block labelled `label`.
pub(crate) fn block(text: &str, label: &'static str) -> Result<Vec<u8>, Error> {
    let refuse = |problem: String| Error::Pem { expected: label, problem };
    let blocks = pem::parse_many(text).map_err(|e| refuse(e.to_string()))?;
    let tags: Vec<_> = blocks.iter().map(|block| block.tag().to_owned()).collect();
    blocks
        .into_iter()
        .find(|block| block.tag() == label)
        .map(pem::Pem::into_contents)
        .ok_or_else(|| refuse(format!("found {tags:?}")))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
