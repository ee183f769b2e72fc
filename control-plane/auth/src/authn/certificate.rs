//! The user named by a client certificate.

use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;

use super::user::CREDENTIAL_ID;
use super::{Error, UserInfo};
use crate::pki::hex;

/// The subject attribute that carries a user's uid: 1.3.6.1.4.1.57683.2.
const UID_ATTRIBUTE: &str = "1.3.6.1.4.1.57683.2";

/// Common name, organizations and uid of a certificate. Verifying it was the TLS layer's work.
pub fn user(der: &[u8]) -> Result<UserInfo, Error> {
    let refuse = |problem: String| Error::Certificate(problem);
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|e| refuse(e.to_string()))?;
    let subject = certificate.subject();
    let text = |attribute: &AttributeTypeAndValue<'_>| attribute.as_str().map(str::to_owned);
    let name = subject.iter_common_name().last().map(text).transpose();
    let name = name.map_err(|e| refuse(e.to_string()))?.unwrap_or_default();
    if name.is_empty() {
        return Err(refuse("no common name".into()));
    }
    let groups = subject.iter_organization().map(text).collect::<Result<_, _>>();
    let mut user = UserInfo {
        name,
        groups: groups.map_err(|e| refuse(e.to_string()))?,
        ..UserInfo::default()
    };
    user.uid = uid(&certificate)?;
    let id = format!("X509SHA256={}", hex(&Sha256::digest(der)));
    user.extra.insert(CREDENTIAL_ID.into(), vec![id]);
    Ok(user)
}

fn uid(certificate: &X509Certificate<'_>) -> Result<String, Error> {
    let mut values = certificate
        .subject()
        .iter_attributes()
        .filter(|attribute| attribute.attr_type().to_id_string() == UID_ATTRIBUTE);
    let Some(first) = values.next() else {
        return Ok(String::new());
    };
    if values.next().is_some() {
        return Err(Error::Certificate("more than one uid".into()));
    }
    first.as_str().map(str::to_owned).map_err(|e| Error::Certificate(format!("uid: {e}")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::pki::{Authority, Profile, Subject, certificate_der};

    fn certificate(subject: Subject) -> Vec<u8> {
        let hour = Duration::from_secs(3600);
        let authority = Authority::generate("skep", hour, SystemTime::now()).unwrap();
        let identity = authority.issue(&Profile::client(subject, hour), SystemTime::now()).unwrap();
        certificate_der(&identity.certificate_pem).unwrap()
    }

    #[test]
    fn subject_becomes_user_and_group() {
        let user = user(&certificate(Subject::node("n1"))).unwrap();
        assert_eq!(user.name, "system:node:n1");
        assert_eq!(user.groups, ["system:nodes"]);
        assert_eq!(user.uid, "");
        let id = &user.extra[CREDENTIAL_ID][0];
        assert_eq!(id.strip_prefix("X509SHA256=").unwrap().len(), 64);
    }

    #[test]
    fn a_certificate_without_a_name_is_nobody() {
        let error = user(&certificate(Subject::user(""))).unwrap_err();
        assert_eq!(error.to_string(), "client certificate: no common name");
        assert!(user(b"junk").is_err());
    }
}
