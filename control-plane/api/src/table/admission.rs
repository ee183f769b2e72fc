//! Admission webhooks and policies.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::selector;
use super::tree::{at, some_text, text};

/// The columns of a kind in admissionregistration.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => WEBHOOKS,
        "ValidatingAdmissionPolicy" => VALIDATING_POLICY,
        "MutatingAdmissionPolicy" => MUTATING_POLICY,
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => BINDING,
        _ => return None,
    })
}

const WEBHOOKS: &[Column] =
    &[NAME, Column::integer("Webhooks", "how many", Cell::Count("webhooks")), AGE];

const PARAM_KIND: Column = Column::text("ParamKind", "the kind it reads", Cell::Made(param_kind));

const VALIDATING_POLICY: &[Column] = &[
    NAME,
    Column::integer("Validations", "how many rules", Cell::Count("spec.validations")),
    PARAM_KIND,
    AGE,
];

const MUTATING_POLICY: &[Column] = &[
    NAME,
    Column::integer("Mutations", "how many changes", Cell::Count("spec.mutations")),
    PARAM_KIND,
    AGE,
];

const BINDING: &[Column] = &[
    NAME,
    Column::text("PolicyName", "the policy", Cell::Text("spec.policyName")),
    Column::text("ParamRef", "the objects it reads", Cell::Made(param_ref)),
    AGE,
];

fn param_kind(row: &Row) -> Value {
    let kind = at(row.item, "spec.paramKind");
    match kind.is_null() {
        true => "<unset>".into(),
        false => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")).into(),
    }
}

fn param_ref(row: &Row) -> Value {
    let param = at(row.item, "spec.paramRef");
    match (some_text(param, "name"), at(param, "selector")) {
        // Whether the object has a namespace cannot be told from here.
        (Some(name), _) => {
            format!("{}/{name}", some_text(param, "namespace").unwrap_or("*")).into()
        }
        (None, Value::Null) => "<unset>".into(),
        (None, selector) => selector::message(selector).into(),
    }
}
