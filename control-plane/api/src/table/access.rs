//! Roles and who has them; requests for certificates.

use serde_json::Value;

use super::age;
use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, list, some_text, text};

/// The columns of a kind in rbac.authorization.k8s.io or certificates.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "RoleBinding" | "ClusterRoleBinding" => BINDING,
        "CertificateSigningRequest" => SIGNING_REQUEST,
        "ClusterTrustBundle" => TRUST_BUNDLE,
        "PodCertificateRequest" => POD_CERTIFICATE_REQUEST,
        _ => return None,
    })
}

const BINDING: &[Column] = &[
    NAME,
    Column::text("Role", "the role that is given", Cell::Made(role)),
    AGE,
    Column::text("Users", "users who have it", Cell::Made(|row| subjects(row, "User"))).wide(),
    Column::text("Groups", "groups who have it", Cell::Made(|row| subjects(row, "Group"))).wide(),
    Column::text("ServiceAccounts", "service accounts who have it", Cell::Made(service_accounts))
        .wide(),
];

const SIGNER: Column =
    Column::text("SignerName", "who signs", Cell::TextOr("spec.signerName", "<none>"));

const SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    SIGNER,
    Column::text("Requestor", "who asks", Cell::Text("spec.username")),
    Column::text("RequestedDuration", "how long it should be valid", Cell::Made(validity)),
    Column::text("Condition", "how far it is", Cell::Made(signing_status)),
];

const TRUST_BUNDLE: &[Column] = &[NAME, SIGNER];

const POD_CERTIFICATE_REQUEST: &[Column] = &[
    NAME,
    Column::text("PodName", "the pod", Cell::Text("spec.podName")),
    Column::text("ServiceAccountName", "its account", Cell::Text("spec.serviceAccountName")),
    Column::text("NodeName", "its node", Cell::Text("spec.nodeName")),
    Column::text("SignerName", "who signs", Cell::Text("spec.signerName")),
    Column::text("State", "pending, issued, denied or failed", Cell::Made(pod_certificate_state)),
    Column::text(
        "UnverifiedUserAnnotations",
        "what the pod says to the signer",
        Cell::Labels("spec.unverifiedUserAnnotations"),
    ),
];

fn role(row: &Row) -> Value {
    format!("{}/{}", text(row.item, "roleRef.kind"), text(row.item, "roleRef.name")).into()
}

fn of_kind<'a>(row: &Row<'a>, kind: &str) -> impl Iterator<Item = &'a Value> {
    list(row.item, "subjects").iter().filter(move |subject| text(subject, "kind") == kind)
}

fn subjects(row: &Row, kind: &str) -> Value {
    of_kind(row, kind).map(|subject| text(subject, "name")).collect::<Vec<_>>().join(", ").into()
}

fn service_accounts(row: &Row) -> Value {
    let name =
        |subject: &Value| format!("{}/{}", text(subject, "namespace"), text(subject, "name"));
    of_kind(row, "ServiceAccount").map(name).collect::<Vec<_>>().join(", ").into()
}

fn validity(row: &Row) -> Value {
    match at(row.item, "spec.expirationSeconds").as_i64() {
        Some(seconds) => age::human(seconds).into(),
        None => "<none>".into(),
    }
}

fn has_condition(row: &Row, kind: &str) -> bool {
    list(row.item, "status.conditions").iter().any(|condition| text(condition, "type") == kind)
}

fn signing_status(row: &Row) -> Value {
    let mut status = match (has_condition(row, "Denied"), has_condition(row, "Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has_condition(row, "Failed") {
        status.push_str(",Failed");
    }
    if some_text(row.item, "status.certificate").is_some() {
        status.push_str(",Issued");
    }
    status.into()
}

fn pod_certificate_state(row: &Row) -> Value {
    let conditions = list(row.item, "status.conditions").iter().rev();
    let mut kinds = conditions.map(|condition| text(condition, "type"));
    kinds.find(|kind| ["Issued", "Denied", "Failed"].contains(kind)).unwrap_or("Pending").into()
}
