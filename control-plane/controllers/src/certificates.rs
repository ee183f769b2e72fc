//! Certificate signing requests: who gets a certificate from the cluster's authority, and which.

pub(crate) mod approve;
pub(crate) mod clean;
pub(crate) mod sign;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use skep_auth::pki::{Request, Usage};

use crate::Error;

/// For kubelets to speak to the API server.
pub(crate) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// For kubelets to be spoken to.
pub(crate) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// For anyone else to speak to the API server.
pub(crate) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// For anything, with no promise who trusts it.
pub(crate) const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

const NODES_GROUP: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

/// The condition of this type, if it is there.
fn condition<'a>(
    request: &'a CertificateSigningRequest,
    kind: &str,
) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.iter().flatten();
    { conditions }.find(|condition| condition.type_ == kind)
}

/// Already approved, or refused.
fn is_decided(request: &CertificateSigningRequest) -> bool {
    condition(request, "Approved").is_some() || condition(request, "Denied").is_some()
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    request.status.as_ref().and_then(|status| status.certificate.as_ref()).is_some()
}

/// The PKCS #10 request inside, its signature checked.
fn parse(request: &CertificateSigningRequest) -> Result<Request, Error> {
    let pem = String::from_utf8_lossy(&request.spec.request.0);
    Request::from_pem(&pem).map_err(|error| Error::Certificate(error.to_string()))
}

fn usages(request: &CertificateSigningRequest) -> Vec<&str> {
    request.spec.usages.iter().flatten().map(String::as_str).collect()
}

/// All of `needed`, and besides at most `allowed`.
fn usages_are(found: &[&str], needed: &[&str], allowed: &[&str]) -> bool {
    needed.iter().all(|usage| found.contains(usage))
        && found.iter().all(|usage| needed.contains(usage) || allowed.contains(usage))
}

/// The subject of a kubelet: `system:node:NAME` of the group `system:nodes`.
fn is_node_subject(parsed: &Request) -> bool {
    let subject = parsed.subject();
    subject.organization.as_deref() == Some(NODES_GROUP)
        && subject.common_name.strip_prefix(NODE_PREFIX).is_some_and(|name| !name.is_empty())
}

/// Why a kubelet's client certificate is not to be had, if it is not.
fn kubelet_client_refusal(parsed: &Request, usages: &[&str]) -> Option<&'static str> {
    if !is_node_subject(parsed) {
        Some("the subject is not that of a node")
    } else if !parsed.alt_names().is_empty() {
        Some("a client certificate has no alternative names")
    } else if !usages_are(usages, &["digital signature", "client auth"], &["key encipherment"]) {
        Some("the usages are not those of a client")
    } else {
        None
    }
}

/// Why a kubelet's serving certificate is not to be had, if it is not.
fn kubelet_serving_refusal(parsed: &Request, usages: &[&str]) -> Option<&'static str> {
    use skep_auth::pki::AltName;
    let plain = |name: &AltName| matches!(name, AltName::Dns(_) | AltName::Ip(_));
    if !is_node_subject(parsed) {
        Some("the subject is not that of a node")
    } else if parsed.alt_names().is_empty() {
        Some("a serving certificate needs a DNS name or an IP address")
    } else if !parsed.alt_names().iter().all(plain) {
        Some("only DNS names and IP addresses are allowed")
    } else if !usages_are(usages, &["digital signature", "server auth"], &["key encipherment"]) {
        Some("the usages are not those of a server")
    } else {
        None
    }
}

fn parse_usages(request: &CertificateSigningRequest) -> Result<Vec<Usage>, Error> {
    usages(request)
        .into_iter()
        .map(|usage| usage.parse().map_err(|_| Error::Object(format!("unknown usage {usage:?}"))))
        .collect()
}

#[cfg(test)]
mod tests {
    use skep_auth::pki::{AltName, PrivateKey, Subject};

    use super::*;

    fn request(subject: &Subject, names: &[&str]) -> Request {
        let names: Vec<AltName> = names.iter().map(|name| AltName::parse(name)).collect();
        let pem = Request::create(subject, &names, &PrivateKey::generate().unwrap()).unwrap();
        Request::from_pem(&pem).unwrap()
    }

    #[test]
    fn kubelets_get_what_is_theirs() {
        let node = Subject::node("n1");
        let user = Subject::user("eve");
        let client: &[&str] = &["digital signature", "client auth"];
        let server: &[&str] = &["digital signature", "key encipherment", "server auth"];
        // subject, names, usages -> (client certificate, serving certificate)
        let cases = [
            (&node, vec![], client, (true, false)),
            (&node, vec!["n1"], client, (false, false)),
            (&node, vec!["n1", "10.0.0.1"], server, (false, true)),
            (&node, vec![], server, (false, false)),
            (&user, vec![], client, (false, false)),
            (&user, vec!["n1"], server, (false, false)),
            (&node, vec![], &["digital signature", "client auth", "cert sign"], (false, false)),
        ];
        for (subject, names, usages, expected) in cases {
            let parsed = request(subject, &names);
            let found = (
                kubelet_client_refusal(&parsed, usages).is_none(),
                kubelet_serving_refusal(&parsed, usages).is_none(),
            );
            assert_eq!(found, expected, "{} {names:?} {usages:?}", subject.common_name);
        }
    }
}
