//! Certificate requests (PKCS #10): made by those who need a certificate, read by those who sign.

use std::time::Duration;

use rcgen::{CertificateParams, CertificateSigningRequestParams, PublicKeyData};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::{AltName, Error, PrivateKey, Profile, Subject, Usage, block};

/// A certificate request whose signature has been checked: whoever made it holds the key.
#[derive(Debug)]
pub struct Request {
    subject: Subject,
    alt_names: Vec<AltName>,
    public_key: rcgen::PublicKey,
}

impl Request {
    /// Reads a `CERTIFICATE REQUEST` block.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let der = block(pem, "CERTIFICATE REQUEST")
            .or_else(|e| block(pem, "NEW CERTIFICATE REQUEST").map_err(|_| e))?;
        let subject = subject_of(&der)?;
        let parsed = CertificateSigningRequestParams::from_der(&der.into())
            .map_err(|e| Error::Request(e.to_string()))?;
        let alt_names = parsed.params.subject_alt_names.iter().map(AltName::from_san);
        Ok(Self {
            subject,
            alt_names: alt_names.collect::<Result<_, _>>()?,
            public_key: parsed.public_key,
        })
    }

    /// Makes a request for `key`, in PEM: what a kubelet puts into `spec.request` of its
    /// CertificateSigningRequest.
    pub fn create(
        subject: &Subject,
        alt_names: &[AltName],
        key: &PrivateKey,
    ) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject.to_distinguished_name();
        params.subject_alt_names =
            alt_names.iter().map(AltName::to_san).collect::<Result<_, _>>()?;
        Ok(params.serialize_request(key.pair())?.pem()?)
    }

    /// Whom the request wants to be.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The names the request wants to answer for.
    pub fn alt_names(&self) -> &[AltName] {
        &self.alt_names
    }

    /// The certificate the request asks for: its subject and names, with usages and lifetime that
    /// the signer has decided on.
    pub fn profile(&self, usages: Vec<Usage>, lifetime: Duration) -> Profile {
        Profile {
            subject: self.subject.clone(),
            alt_names: self.alt_names.clone(),
            usages,
            lifetime,
        }
    }

    pub(super) fn public_key(&self) -> &impl PublicKeyData {
        &self.public_key
    }
}

/// The subject, read separately: rcgen's own reading keeps only the last of several organizations.
fn subject_of(der: &[u8]) -> Result<Subject, Error> {
    let (_, request) =
        X509CertificationRequest::from_der(der).map_err(|e| Error::Request(e.to_string()))?;
    Subject::of(&request.certification_request_info.subject)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::pki::{Authority, certificate_der};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn a_request_comes_back_as_the_certificate_it_asked_for() {
        let now = SystemTime::now();
        let authority = Authority::generate("skep", 10 * DAY, now).unwrap();
        let key = PrivateKey::generate().unwrap();
        let names = [AltName::parse("n1"), AltName::parse("10.199.0.11")];
        let pem = Request::create(&Subject::node("n1"), &names, &key).unwrap();

        let request = Request::from_pem(&pem).unwrap();
        assert_eq!(request.subject(), &Subject::node("n1"));
        assert_eq!(request.alt_names(), names);

        let profile = request.profile(Usage::SERVER.to_vec(), DAY);
        let issued = authority.sign(&request, &profile, now).unwrap();
        let der = certificate_der(&issued).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.subject().to_string(), "O=system:nodes, CN=system:node:n1");
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth);
        assert!(authority.signed(&der));
        assert_eq!(certificate.public_key().raw, key.pair().subject_public_key_info());
    }

    #[test]
    fn what_is_no_request_says_so() {
        let cases = [
            ("", "expected a PEM block CERTIFICATE REQUEST: found []"),
            (
                "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
                "certificate request: ",
            ),
        ];
        for (text, expected) in cases {
            let error = Request::from_pem(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_request_signed_with_another_key_is_refused() {
        let key = PrivateKey::generate().unwrap();
        let pem = Request::create(&Subject::user("u"), &[], &key).unwrap();
        let mut der = block(&pem, "CERTIFICATE REQUEST").unwrap();
        let last = der.len() - 1;
        der[last] ^= 1;
        let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
        assert!(Request::from_pem(&forged).is_err());
    }
}
