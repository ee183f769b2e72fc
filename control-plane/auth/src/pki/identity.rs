//! A certificate with its private key, and the key alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;

use super::{Error, certificate_der};

/// An ECDSA P-256 private key.
pub struct PrivateKey(KeyPair);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?))
    }

    /// A key in PKCS #8 PEM (`PRIVATE KEY`).
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        Ok(Self(KeyPair::from_pem(pem)?))
    }

    /// PKCS #8 PEM.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// PKCS #8 DER.
    pub fn to_der(&self) -> Vec<u8> {
        self.0.serialize_der()
    }

    /// The public half as PEM (`PUBLIC KEY`, a SubjectPublicKeyInfo).
    pub fn public_pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// Whether a certificate is for this key.
    pub(super) fn is_of(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.public_key().raw == self.0.subject_public_key_info()
    }

    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }

    pub(super) fn into_pair(self) -> KeyPair {
        self.0
    }
}

/// A certificate (or chain, leaf first) and the key that goes with it, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// `CERTIFICATE` blocks, leaf first.
    pub certificate_pem: String,
    /// A `PRIVATE KEY` block.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Identity")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// When the leaf begins and ends to be valid.
    pub fn validity(&self) -> Result<Validity, Error> {
        Validity::of(&certificate_der(&self.certificate_pem)?)
    }

    /// The chain as the TLS library takes it.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        super::tls::certificates(&self.certificate_pem)
    }

    /// The key as the TLS library takes it.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        if let Ok(der) = super::block(&self.key_pem, "PRIVATE KEY") {
            return Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)));
        }
        if let Ok(der) = super::block(&self.key_pem, "EC PRIVATE KEY") {
            return Ok(PrivateKeyDer::Sec1(der.into()));
        }
        Ok(PrivateKeyDer::Pkcs1(super::block(&self.key_pem, "RSA PRIVATE KEY")?.into()))
    }
}

/// The span in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Validity {
    /// Reads it from a certificate's DER.
    pub fn of(certificate_der: &[u8]) -> Result<Self, Error> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate_der)
            .map_err(|e| Error::Certificate(e.to_string()))?;
        let moment = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
            UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let validity = certificate.validity();
        Ok(Self { not_before: moment(validity.not_before), not_after: moment(validity.not_after) })
    }

    /// Whether `now` lies inside.
    pub fn contains(&self, now: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// When to replace the certificate: `share` per cent of its life, 70 to 90 being usual (the
    /// caller's choice, so that many nodes do not ask at one moment).
    pub fn renew_at(&self, share: u32) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life / 100 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_at_the_asked_share_of_the_life() {
        let validity =
            Validity { not_before: UNIX_EPOCH, not_after: UNIX_EPOCH + Duration::from_secs(1000) };
        assert_eq!(validity.renew_at(80), UNIX_EPOCH + Duration::from_secs(800));
        assert!(validity.contains(UNIX_EPOCH + Duration::from_secs(1000)));
        assert!(!validity.contains(UNIX_EPOCH + Duration::from_secs(1001)));
    }

    #[test]
    fn a_key_survives_pem_and_never_prints_itself() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(key.public_pem(), again.public_pem());
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
        let identity = Identity { certificate_pem: "C".into(), key_pem: key.to_pem() };
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }
}
