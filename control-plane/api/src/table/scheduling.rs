//! Priorities, disruption budgets, runtime classes, leases, and the scheduling of groups.

use serde_json::Value;

use super::column::{AGE, Cell, Column, NAME, Row};
use super::tree::{at, condition, text};

/// The columns of a kind in scheduling.k8s.io, policy, node.k8s.io or coordination.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "PriorityClass" => PRIORITY_CLASS,
        "PodDisruptionBudget" => DISRUPTION_BUDGET,
        "RuntimeClass" => RUNTIME_CLASS,
        "Lease" => LEASE,
        "LeaseCandidate" => LEASE_CANDIDATE,
        "Workload" => WORKLOAD,
        "PodGroup" => POD_GROUP,
        "CompositePodGroup" => COMPOSITE_POD_GROUP,
        _ => return None,
    })
}

const PRIORITY_CLASS: &[Column] = &[
    NAME,
    Column::integer("Value", "the higher, the sooner", Cell::Number("value")),
    Column::boolean("Global-Default", "for pods that name none", Cell::Flag("globalDefault")),
    AGE,
    Column::text("PreemptionPolicy", "whether others make room", Cell::Text("preemptionPolicy")),
];

const DISRUPTION_BUDGET: &[Column] = &[
    NAME,
    Column::text(
        "Min Available",
        "pods that have to stay",
        Cell::Made(|row| amount(row, "spec.minAvailable")),
    ),
    Column::text(
        "Max Unavailable",
        "pods that may be missing",
        Cell::Made(|row| amount(row, "spec.maxUnavailable")),
    ),
    Column::integer(
        "Allowed Disruptions",
        "pods that may go now",
        Cell::Number("status.disruptionsAllowed"),
    ),
    AGE,
];

const RUNTIME_CLASS: &[Column] =
    &[NAME, Column::text("Handler", "the runtime's name for it", Cell::Text("handler")), AGE];

const LEASE: &[Column] =
    &[NAME, Column::text("Holder", "who holds it", Cell::Text("spec.holderIdentity")), AGE];

const LEASE_CANDIDATE: &[Column] = &[
    NAME,
    Column::text("LeaseName", "the lease it wants", Cell::Text("spec.leaseName")),
    Column::text("BinaryVersion", "what it is", Cell::Text("spec.binaryVersion")),
    Column::text("EmulationVersion", "what it behaves like", Cell::Text("spec.emulationVersion")),
    AGE,
];

const WORKLOAD: &[Column] = &[NAME, AGE];

const POLICY: Column =
    Column::text("Policy", "whether its pods start together", Cell::Made(gang_policy));
const WORKLOAD_REF: Column = Column::text(
    "Workload",
    "what it belongs to",
    Cell::Made(|row| {
        at(row.item, "spec.workloadRef.workloadName").as_str().unwrap_or("<none>").into()
    }),
);

const POD_GROUP: &[Column] = &[
    NAME,
    POLICY,
    WORKLOAD_REF,
    Column::text("Status", "whether it was scheduled", Cell::Made(group_status)),
    AGE,
];

const COMPOSITE_POD_GROUP: &[Column] = &[NAME, POLICY, WORKLOAD_REF, AGE];

/// A number or a percentage.
fn amount(row: &Row, path: &str) -> Value {
    match at(row.item, path) {
        Value::Null => "N/A".into(),
        Value::String(percentage) => percentage.as_str().into(),
        number => number.to_string().into(),
    }
}

fn gang_policy(row: &Row) -> Value {
    if at(row.item, "spec.schedulingPolicy.gang").is_null() { "Basic" } else { "Gang" }.into()
}

fn group_status(row: &Row) -> Value {
    if let Some(disrupted) = condition(row.item, "DisruptionTarget") {
        return text(disrupted, "reason").into();
    }
    let scheduled = condition(row.item, "PodGroupInitiallyScheduled");
    match scheduled.map(|condition| text(condition, "status")) {
        Some("True") => "Scheduled",
        Some(_) => "Unschedulable",
        None => "Pending",
    }
    .into()
}
