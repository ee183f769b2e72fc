//! The parts of a certificate that say whom and what for: subject, alternative names, usages.

use std::net::IpAddr;
use std::str::FromStr;

use rcgen::{DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::Error;

/// A subject as Kubernetes reads it: the common name is the user, the organization its group.
///
/// One organization at most: every identity of a cluster has one group or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// CN, the user's name.
    pub common_name: String,
    /// O, the user's group.
    pub organization: Option<String>,
}

impl Subject {
    /// A subject without a group.
    pub fn user(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), organization: None }
    }

    /// A subject in one group.
    pub fn member(common_name: impl Into<String>, organization: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), organization: Some(organization.into()) }
    }

    /// The subject of a node's kubelet: `system:node:NAME` in `system:nodes`.
    pub fn node(name: &str) -> Self {
        Self::member(format!("system:node:{name}"), "system:nodes")
    }

    /// Reads a name; more than one organization is an error.
    pub(super) fn of(name: &X509Name<'_>) -> Result<Self, Error> {
        let text = |attribute: &AttributeTypeAndValue<'_>| {
            attribute.as_str().map(str::to_owned).map_err(|e| Error::Request(e.to_string()))
        };
        let mut organizations =
            name.iter_organization().map(text).collect::<Result<Vec<_>, _>>()?;
        if organizations.len() > 1 {
            return Err(Error::Request("more than one organization in the subject".into()));
        }
        let common_name = name.iter_common_name().next().map(text).transpose()?.unwrap_or_default();
        Ok(Self { common_name, organization: organizations.pop() })
    }

    pub(super) fn to_distinguished_name(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        if let Some(organization) = &self.organization {
            name.push(DnType::OrganizationName, organization.as_str());
        }
        name.push(DnType::CommonName, self.common_name.as_str());
        name
    }
}

/// One name or address that a serving certificate answers for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AltName {
    /// A DNS name.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
    /// An e-mail address: read from requests, refused by the kubelet signers.
    Email(String),
    /// A URI: read from requests, refused by the kubelet signers.
    Uri(String),
}

impl AltName {
    /// An address if the text is one, a DNS name otherwise.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Dns(text.to_owned()), Self::Ip)
    }

    pub(super) fn to_san(&self) -> Result<SanType, Error> {
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Ip(address) => SanType::IpAddress(*address),
            Self::Email(address) => SanType::Rfc822Name(address.as_str().try_into()?),
            Self::Uri(uri) => SanType::URI(uri.as_str().try_into()?),
        })
    }

    pub(super) fn from_san(san: &SanType) -> Result<Self, Error> {
        Ok(match san {
            SanType::DnsName(name) => Self::Dns(name.as_str().to_owned()),
            SanType::IpAddress(address) => Self::Ip(*address),
            SanType::Rfc822Name(address) => Self::Email(address.as_str().to_owned()),
            SanType::URI(uri) => Self::Uri(uri.as_str().to_owned()),
            other => return Err(Error::Request(format!("unsupported alternative name {other:?}"))),
        })
    }
}

/// What a certificate may be used for, by the names of certificates.k8s.io's `spec.usages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Usage {
    /// `digital signature` (upstream also spells it `signing`).
    DigitalSignature,
    /// `key encipherment`.
    KeyEncipherment,
    /// `content commitment`.
    ContentCommitment,
    /// `data encipherment`.
    DataEncipherment,
    /// `key agreement`.
    KeyAgreement,
    /// `cert sign`.
    CertSign,
    /// `crl sign`.
    CrlSign,
    /// `any`.
    Any,
    /// `server auth`.
    ServerAuth,
    /// `client auth`.
    ClientAuth,
    /// `code signing`.
    CodeSigning,
    /// `email protection` (upstream also has `s/mime`).
    EmailProtection,
    /// `timestamping`.
    Timestamping,
    /// `ocsp signing`.
    OcspSigning,
}

/// A usage this module cannot put into a certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported key usage {0:?}")]
pub struct UnknownUsage(pub String);

impl FromStr for Usage {
    type Err = UnknownUsage;

    fn from_str(text: &str) -> Result<Self, UnknownUsage> {
        Ok(match text {
            "digital signature" | "signing" => Self::DigitalSignature,
            "key encipherment" => Self::KeyEncipherment,
            "content commitment" => Self::ContentCommitment,
            "data encipherment" => Self::DataEncipherment,
            "key agreement" => Self::KeyAgreement,
            "cert sign" => Self::CertSign,
            "crl sign" => Self::CrlSign,
            "any" => Self::Any,
            "server auth" => Self::ServerAuth,
            "client auth" => Self::ClientAuth,
            "code signing" => Self::CodeSigning,
            "email protection" | "s/mime" => Self::EmailProtection,
            "timestamping" => Self::Timestamping,
            "ocsp signing" => Self::OcspSigning,
            other => return Err(UnknownUsage(other.to_owned())),
        })
    }
}

impl Usage {
    /// The usages of a TLS client with an ECDSA key.
    pub const CLIENT: &[Self] = &[Self::DigitalSignature, Self::ClientAuth];
    /// The usages of a TLS server with an ECDSA key.
    pub const SERVER: &[Self] = &[Self::DigitalSignature, Self::ServerAuth];

    pub(super) fn key_usage(self) -> Option<KeyUsagePurpose> {
        Some(match self {
            Self::DigitalSignature => KeyUsagePurpose::DigitalSignature,
            Self::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
            Self::ContentCommitment => KeyUsagePurpose::ContentCommitment,
            Self::DataEncipherment => KeyUsagePurpose::DataEncipherment,
            Self::KeyAgreement => KeyUsagePurpose::KeyAgreement,
            Self::CertSign => KeyUsagePurpose::KeyCertSign,
            Self::CrlSign => KeyUsagePurpose::CrlSign,
            _ => return None,
        })
    }

    pub(super) fn extended_usage(self) -> Option<ExtendedKeyUsagePurpose> {
        Some(match self {
            Self::Any => ExtendedKeyUsagePurpose::Any,
            Self::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
            Self::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
            Self::CodeSigning => ExtendedKeyUsagePurpose::CodeSigning,
            Self::EmailProtection => ExtendedKeyUsagePurpose::EmailProtection,
            Self::Timestamping => ExtendedKeyUsagePurpose::TimeStamping,
            Self::OcspSigning => ExtendedKeyUsagePurpose::OcspSigning,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_lands_in_exactly_one_extension() {
        let names = [
            "digital signature",
            "signing",
            "key encipherment",
            "content commitment",
            "data encipherment",
            "key agreement",
            "cert sign",
            "crl sign",
            "any",
            "server auth",
            "client auth",
            "code signing",
            "email protection",
            "s/mime",
            "timestamping",
            "ocsp signing",
        ];
        for name in names {
            let usage: Usage = name.parse().unwrap();
            assert!(
                usage.key_usage().is_some() != usage.extended_usage().is_some(),
                "{name}: {usage:?}"
            );
        }
        assert_eq!("ipsec tunnel".parse::<Usage>(), Err(UnknownUsage("ipsec tunnel".into())));
    }

    #[test]
    fn an_alternative_name_is_an_address_when_it_parses_as_one() {
        assert_eq!(AltName::parse("10.96.0.1"), AltName::Ip("10.96.0.1".parse().unwrap()));
        assert_eq!(AltName::parse("::1"), AltName::Ip("::1".parse().unwrap()));
        assert_eq!(AltName::parse("kubernetes"), AltName::Dns("kubernetes".into()));
    }
}
