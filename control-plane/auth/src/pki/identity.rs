//! A certificate with its private key, and the key alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;

use super::{Error, block, certificate_der};

/// AlgorithmIdentifier of rsaEncryption (RFC 8017, A.1).
const RSA: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// AlgorithmIdentifier of id-ecPublicKey with secp256r1 (RFC 5480, 2.1.1).
const EC_P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// A private key: ECDSA P-256 if made here, possibly RSA if another tool made it.
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

    /// A key in PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC 1, P-256 alone) or
    /// `RSA PRIVATE KEY` (PKCS #1), as other tools write them.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = match (block(pem, "EC PRIVATE KEY"), block(pem, "RSA PRIVATE KEY")) {
            (Ok(sec1), _) => pkcs8(&EC_P256, &sec1),
            (_, Ok(pkcs1)) => pkcs8(&RSA, &pkcs1),
            _ => block(pem, "PRIVATE KEY")?,
        };
        Ok(Self(KeyPair::try_from(der)?))
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

/// Wraps an older form of private key into PKCS #8 (RFC 5208, section 5).
fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    const VERSION: [u8; 3] = [0x02, 0x01, 0x00];
    let contents = [&VERSION, algorithm, &tagged(0x04, key)].concat();
    tagged(0x30, &contents)
}

/// One DER element.
fn tagged(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut element = vec![tag];
    match contents.len() {
        short @ 0..=127 => element.push(u8::try_from(short).expect("below 128")),
        _ => {
            element.push(0x80 | u8::try_from(length.len()).expect("a length has up to 8 bytes"));
            element.extend(length);
        }
    }
    element.extend(contents);
    element
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
        if let Ok(der) = block(&self.key_pem, "PRIVATE KEY") {
            return Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)));
        }
        if let Ok(der) = block(&self.key_pem, "EC PRIVATE KEY") {
            return Ok(PrivateKeyDer::Sec1(der.into()));
        }
        Ok(PrivateKeyDer::Pkcs1(block(&self.key_pem, "RSA PRIVATE KEY")?.into()))
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
    fn keys_of_other_tools_are_read() {
        for (label, file) in [
            ("RSA PRIVATE KEY", include_str!("../../testdata/rsa-pkcs1.key")),
            ("EC PRIVATE KEY", include_str!("../../testdata/ec-sec1.key")),
        ] {
            assert!(file.contains(label));
            let key = PrivateKey::from_pem(file).unwrap();
            let certificate = rcgen::CertificateParams::default().self_signed(key.pair()).unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).unwrap();
            assert!(key.is_of(&parsed), "{label}");
            assert!(parsed.verify_signature(None).is_ok(), "{label}");
        }
        assert!(PrivateKey::from_pem("").is_err());
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
