//! A certificate authority: a self-signed certificate and its key, and what it issues.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::CertificateDer;

use super::identity::Validity;
use super::{
    AltName, Error, Identity, PrivateKey, Request, Subject, Usage, certificate_der, fingerprint,
};

/// Certificates begin this much before they are made: clocks of nodes differ a little.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// What a certificate shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whom it names.
    pub subject: Subject,
    /// The names and addresses it answers for.
    pub alt_names: Vec<AltName>,
    /// What it may be used for.
    pub usages: Vec<Usage>,
    /// How long it is valid from now on; cut to the authority's own end.
    pub lifetime: Duration,
}

impl Profile {
    /// A TLS client's certificate.
    pub fn client(subject: Subject, lifetime: Duration) -> Self {
        Self { subject, alt_names: Vec::new(), usages: Usage::CLIENT.to_vec(), lifetime }
    }

    /// A TLS server's certificate.
    pub fn server(subject: Subject, alt_names: Vec<AltName>, lifetime: Duration) -> Self {
        Self { subject, alt_names, usages: Usage::SERVER.to_vec(), lifetime }
    }

    fn to_params(&self, validity: Validity) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject.to_distinguished_name();
        params.subject_alt_names =
            self.alt_names.iter().map(AltName::to_san).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = self.usages.iter().filter_map(|usage| usage.key_usage()).collect();
        params.extended_key_usages =
            self.usages.iter().filter_map(|usage| usage.extended_usage()).collect();
        params.use_authority_key_identifier_extension = true;
        params.not_before = validity.not_before.into();
        params.not_after = validity.not_after.into();
        Ok(params)
    }
}

/// A certificate authority with its private key.
pub struct Authority {
    certificate_pem: String,
    certificate_der: Vec<u8>,
    key_pem: String,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Authority")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new authority with a fresh key.
    pub fn generate(common_name: &str, lifetime: Duration, now: SystemTime) -> Result<Self, Error> {
        let key = PrivateKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = Subject::user(common_name).to_distinguished_name();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + lifetime).into();
        let certificate = params.self_signed(key.pair())?;
        Self::new(&certificate.pem(), key)
    }

    /// An authority from its certificate and key, both PEM. The two must belong together.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        Self::new(certificate_pem, PrivateKey::from_pem(key_pem)?)
    }

    fn new(certificate_pem: &str, key: PrivateKey) -> Result<Self, Error> {
        let der = certificate_der(certificate_pem)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|e| Error::Certificate(e.to_string()))?;
        if !parsed.is_ca() {
            return Err(Error::Certificate("not a certificate authority (CA:FALSE)".into()));
        }
        if !key.is_of(&parsed) {
            return Err(Error::Certificate("the key belongs to another certificate".into()));
        }
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            validity: Validity::of(&der)?,
            key_pem: key.to_pem(),
            issuer: Issuer::from_ca_cert_der(
                &CertificateDer::from(der.as_slice()),
                key.into_pair(),
            )?,
            certificate_der: der,
        })
    }

    /// The authority's certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The authority's private key, PKCS #8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// sha256 of the certificate's DER in hex: what join tokens carry.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.certificate_der)
    }

    /// When the authority itself is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Makes a key and a certificate for it.
    pub fn issue(&self, profile: &Profile, now: SystemTime) -> Result<Identity, Error> {
        let key = PrivateKey::generate()?;
        let certificate_pem = self.certify(profile, key.pair(), now)?;
        Ok(Identity { certificate_pem, key_pem: key.to_pem() })
    }

    /// Signs a request's public key. Everything else comes from `profile`: what of the request's
    /// own wishes is granted is the caller's decision ([`Request::profile`] grants them as asked).
    pub fn sign(
        &self,
        request: &Request,
        profile: &Profile,
        now: SystemTime,
    ) -> Result<String, Error> {
        self.certify(profile, request.public_key(), now)
    }

    fn certify(
        &self,
        profile: &Profile,
        key: &impl PublicKeyData,
        now: SystemTime,
    ) -> Result<String, Error> {
        let not_after = (now + profile.lifetime).min(self.validity.not_after);
        if not_after <= now {
            return Err(Error::Expired);
        }
        let validity = Validity { not_before: now - BACKDATE, not_after };
        Ok(profile.to_params(validity)?.signed_by(key, &self.issuer)?.pem())
    }

    /// Whether `certificate_der` carries this authority's signature.
    pub fn signed(&self, certificate_der: &[u8]) -> bool {
        let Ok((_, own)) = x509_parser::parse_x509_certificate(&self.certificate_der) else {
            return false;
        };
        x509_parser::parse_x509_certificate(certificate_der)
            .is_ok_and(|(_, leaf)| leaf.verify_signature(Some(own.public_key())).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn what_an_authority_issues_carries_its_signature_and_no_other() {
        let now = SystemTime::now();
        let ours = Authority::generate("skep", 10 * DAY, now).unwrap();
        let other = Authority::generate("skep", 10 * DAY, now).unwrap();
        let issued = ours.issue(&Profile::client(Subject::node("n1"), DAY), now).unwrap();
        let der = certificate_der(&issued.certificate_pem).unwrap();
        assert!(ours.signed(&der));
        assert!(!other.signed(&der));
    }

    #[test]
    fn a_certificate_never_outlives_its_authority() {
        let now = SystemTime::now();
        let authority = Authority::generate("skep", DAY, now).unwrap();
        let issued = authority.issue(&Profile::client(Subject::user("u"), 10 * DAY), now).unwrap();
        assert_eq!(issued.validity().unwrap().not_after, authority.validity().not_after);
        let late = now + 2 * DAY;
        let refused = authority.issue(&Profile::client(Subject::user("u"), DAY), late);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the certificate authority has expired: replace it"
        );
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let now = SystemTime::now();
        let ours = Authority::generate("skep", DAY, now).unwrap();
        let other = Authority::generate("skep", DAY, now).unwrap();
        let mixed = Authority::from_pem(ours.certificate_pem(), other.key_pem());
        assert!(mixed.unwrap_err().to_string().contains("belongs to another certificate"));
        let same = Authority::from_pem(ours.certificate_pem(), ours.key_pem()).unwrap();
        assert_eq!(same.fingerprint(), ours.fingerprint());
        assert_eq!(same.fingerprint().len(), 64);
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let now = SystemTime::now();
        let authority = Authority::generate("skep", DAY, now).unwrap();
        let leaf = authority.issue(&Profile::client(Subject::user("u"), DAY), now).unwrap();
        let refused = Authority::from_pem(&leaf.certificate_pem, &leaf.key_pem);
        assert!(refused.unwrap_err().to_string().contains("CA:FALSE"));
    }
}
