//! Approves what nodes ask for themselves: client certificates for whom the authorizer lets have
//! one, and serving certificates for the addresses a node is known to have.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skep_auth::pki::{AltName, Request};

use super::{
    KUBELET_CLIENT, KUBELET_SERVING, NODE_PREFIX, NODES_GROUP, is_decided, is_issued,
    kubelet_client_refusal, kubelet_serving_refusal, parse, usages,
};
use crate::Error;
use crate::runtime::{Context, Informer, Key, Next, Objects, Queue, Reconcile};

/// The controller's name.
pub(crate) const NAME: &str = "certificatesigningrequest-approving-controller";

struct Approver {
    requests: Arc<Informer<CertificateSigningRequest>>,
    nodes: Arc<Informer<Node>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let requests = controller.informer::<CertificateSigningRequest>();
    let nodes = controller.informer::<Node>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        requests.subscribe(move |change| {
            if let Some(request) = change.new {
                queue.add(Key::of(&request.metadata));
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, workers, Approver { requests, nodes, objects });
}

/// What speaks for a request.
#[derive(Debug, PartialEq, Eq)]
enum Ground {
    /// Nothing: somebody else has to decide.
    None,
    /// The authorizer lets the requester have it, by this subresource's permission.
    Permission { subresource: &'static str, message: &'static str },
    /// The requester is the node and the names are the node's own.
    OwnNames,
    /// The node has not said yet which names it has.
    NotYet,
}

/// Judges a request. `node` is the node the subject names, if there is one.
fn ground(request: &CertificateSigningRequest, parsed: &Request, node: Option<&Node>) -> Ground {
    let usages = usages(request);
    let requester = request.spec.username.as_deref().unwrap_or_default();
    let own = requester == parsed.subject().common_name;
    match request.spec.signer_name.as_str() {
        KUBELET_CLIENT if kubelet_client_refusal(parsed, &usages).is_none() => {
            if own {
                Ground::Permission {
                    subresource: "selfnodeclient",
                    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
                }
            } else {
                Ground::Permission {
                    subresource: "nodeclient",
                    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
                }
            }
        }
        KUBELET_SERVING if own && kubelet_serving_refusal(parsed, &usages).is_none() => {
            let groups = request.spec.groups.iter().flatten();
            if !{ groups }.any(|group| group == NODES_GROUP) {
                return Ground::None;
            }
            let known = node.map(names_of).unwrap_or_default();
            if parsed.alt_names().iter().all(|name| known.contains(name_text(name).as_str())) {
                Ground::OwnNames
            } else {
                Ground::NotYet
            }
        }
        _ => Ground::None,
    }
}

fn names_of(node: &Node) -> HashSet<&str> {
    let status = node.status.iter();
    let addresses = status.flat_map(|status| status.addresses.iter().flatten());
    addresses.map(|address| address.address.as_str()).collect()
}

fn name_text(name: &AltName) -> String {
    match name {
        AltName::Ip(address) => address.to_string(),
        AltName::Dns(text) | AltName::Email(text) | AltName::Uri(text) => text.clone(),
    }
}

impl Reconcile for Approver {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(request) = self.requests.cache().get(key) else { return Ok(Next::Change) };
        if is_decided(&request) || is_issued(&request) {
            return Ok(Next::Change);
        }
        let Ok(parsed) = parse(&request) else { return Ok(Next::Change) };
        let node = parsed.subject().common_name.strip_prefix(NODE_PREFIX);
        let node = node.and_then(|name| self.nodes.cache().get(&Key::cluster(name)));
        let message = match ground(&request, &parsed, node.as_deref()) {
            Ground::None => return Ok(Next::Change),
            Ground::NotYet => {
                return Err(Error::Later("the node does not have these addresses".into()));
            }
            Ground::OwnNames => {
                "Auto approving kubelet serving certificate for the node's own addresses."
            }
            Ground::Permission { subresource, message } => {
                if !self.is_permitted(&request, subresource).await? {
                    let text = format!("{} may not create {subresource} requests", key.name);
                    return Err(Error::Later(text));
                }
                message
            }
        };
        let approved = approved(&request, message, Timestamp::now());
        self.objects.replace_part("approval", &approved).await?;
        Ok(Next::Change)
    }
}

impl Approver {
    /// Asks the server whether the requester may have such a certificate.
    async fn is_permitted(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
    ) -> Result<bool, Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: request.spec.username.clone(),
                uid: request.spec.uid.clone(),
                groups: request.spec.groups.clone(),
                extra: request.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".into()),
                    resource: Some("certificatesigningrequests".into()),
                    verb: Some("create".into()),
                    version: Some("*".into()),
                    subresource: Some(subresource.into()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.objects.create(&review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

fn approved(
    request: &CertificateSigningRequest,
    message: &str,
    now: Timestamp,
) -> CertificateSigningRequest {
    let mut approved = request.clone();
    let conditions = approved.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: "Approved".into(),
        status: "True".into(),
        reason: Some("AutoApproved".into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
    approved
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skep_auth::pki::{PrivateKey, Subject};

    use super::*;

    #[test]
    fn nodes_speak_for_themselves_and_bootstrappers_by_permission() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1"},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "n1"}]},
        }))
        .unwrap();
        let client = json!(["digital signature", "client auth"]);
        let server = json!(["digital signature", "server auth"]);
        // (signer, requester, names, usages, node known) -> the subresource or what else speaks for it
        let cases = [
            ((KUBELET_CLIENT, "system:bootstrap:abcdef", vec![], &client, false), "nodeclient"),
            ((KUBELET_CLIENT, "system:node:n1", vec![], &client, true), "selfnodeclient"),
            ((KUBELET_SERVING, "system:node:n1", vec!["n1", "10.0.0.1"], &server, true), "own"),
            ((KUBELET_SERVING, "system:node:n1", vec!["10.0.0.9"], &server, true), "not yet"),
            ((KUBELET_SERVING, "system:node:n1", vec!["n1"], &server, false), "not yet"),
            ((KUBELET_SERVING, "system:node:n2", vec!["n1"], &server, true), "none"),
            (("example.com/own", "system:node:n1", vec![], &client, true), "none"),
        ];
        for ((signer, requester, names, usages, known), expected) in cases {
            let names: Vec<AltName> = names.into_iter().map(AltName::parse).collect();
            let key = PrivateKey::generate().unwrap();
            let pem = Request::create(&Subject::node("n1"), &names, &key).unwrap();
            let parsed = Request::from_pem(&pem).unwrap();
            let request: CertificateSigningRequest = serde_json::from_value(json!({
                "metadata": {"name": "csr"},
                "spec": {"signerName": signer, "username": requester, "usages": usages,
                    "request": "", "groups": ["system:nodes"]},
            }))
            .unwrap();
            let found = match ground(&request, &parsed, known.then_some(&node)) {
                Ground::None => "none",
                Ground::Permission { subresource, .. } => subresource,
                Ground::OwnNames => "own",
                Ground::NotYet => "not yet",
            };
            assert_eq!(found, expected, "{signer} {requester} {names:?}");
        }
    }
}
