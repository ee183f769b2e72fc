//! What makes pods: deployments, sets, jobs.

use serde_json::Value;

use super::age;
use super::column::{AGE, Cell, Column, NAME, Row};
use super::selector;
use super::tree::{at, flag, is_true, list, number, text};

const TEMPLATE: &str = "spec.template.spec";
const JOB_TEMPLATE: &str = "spec.jobTemplate.spec.template.spec";

/// The columns of a kind in apps or batch.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "Deployment" => DEPLOYMENT,
        "ReplicaSet" => REPLICA_SET,
        "DaemonSet" => DAEMON_SET,
        "StatefulSet" => STATEFUL_SET,
        "ControllerRevision" => CONTROLLER_REVISION,
        "Job" => JOB,
        "CronJob" => CRON_JOB,
        _ => return None,
    })
}

const fn containers(path: &'static str) -> Column {
    Column::text("Containers", "the template's containers", Cell::Containers(path))
}

const fn images(path: &'static str) -> Column {
    Column::text("Images", "the images of the template's containers", Cell::Images(path))
}

const fn selected(cell: Cell) -> Column {
    Column::text("Selector", "the pods it counts as its own", cell)
}

const DEPLOYMENT: &[Column] = &[
    NAME,
    Column::text("Ready", "pods that are ready, of those wanted", Cell::Made(ready_of_wanted)),
    Column::text("Up-to-date", "pods of this template", Cell::Number("status.updatedReplicas")),
    Column::text(
        "Available",
        "pods that have been ready long enough",
        Cell::Number("status.availableReplicas"),
    ),
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
    selected(Cell::Made(|row| {
        selector::text(at(row.item, "spec.selector")).unwrap_or_else(|| "<invalid>".into()).into()
    }))
    .wide(),
];

const DESIRED: Column = Column::integer("Desired", "pods wanted", Cell::Number("spec.replicas"));
const CURRENT: Column = Column::integer("Current", "pods made", Cell::Number("status.replicas"));
const READY: Column = Column::integer("Ready", "pods ready", Cell::Number("status.readyReplicas"));

const REPLICA_SET: &[Column] = &[
    NAME,
    DESIRED,
    CURRENT,
    READY,
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
    selected(Cell::Selector("spec.selector")).wide(),
];

pub(super) const REPLICATION_CONTROLLER: &[Column] = &[
    NAME,
    DESIRED,
    CURRENT,
    READY,
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
    selected(Cell::Labels("spec.selector")).wide(),
];

const DAEMON_SET: &[Column] = &[
    NAME,
    Column::integer("Desired", "nodes meant", Cell::Number("status.desiredNumberScheduled")),
    Column::integer("Current", "nodes served", Cell::Number("status.currentNumberScheduled")),
    Column::integer("Ready", "nodes whose pod is ready", Cell::Number("status.numberReady")),
    Column::integer(
        "Up-to-date",
        "nodes whose pod is of this template",
        Cell::Number("status.updatedNumberScheduled"),
    ),
    Column::integer(
        "Available",
        "nodes whose pod has been ready long enough",
        Cell::Number("status.numberAvailable"),
    ),
    Column::text(
        "Node Selector",
        "labels of the nodes meant",
        Cell::Labels("spec.template.spec.nodeSelector"),
    ),
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
    selected(Cell::Selector("spec.selector")).wide(),
];

const STATEFUL_SET: &[Column] = &[
    NAME,
    Column::text("Ready", "pods that are ready, of those wanted", Cell::Made(ready_of_wanted)),
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
];

const CONTROLLER_REVISION: &[Column] = &[
    NAME,
    Column::text("Controller", "whose history it is", Cell::Made(controller)),
    Column::text("Revision", "its place in the history", Cell::Number("revision")),
    AGE,
];

const JOB: &[Column] = &[
    NAME,
    Column::text("Status", "how far it is", Cell::Made(job_status)),
    Column::text("Completions", "pods that succeeded, of those wanted", Cell::Made(completions)),
    Column::text("Duration", "time from its start to its end", Cell::Made(duration)),
    AGE,
    containers(TEMPLATE).wide(),
    images(TEMPLATE).wide(),
    selected(Cell::Selector("spec.selector")).wide(),
];

const CRON_JOB: &[Column] = &[
    NAME,
    Column::text("Schedule", "when it starts a job", Cell::Text("spec.schedule")),
    Column::text("Timezone", "whose clock that is", Cell::TextOr("spec.timeZone", "<none>")),
    Column::boolean("Suspend", "whether it rests", Cell::Made(suspended)),
    Column::integer("Active", "jobs that run", Cell::Count("status.active")),
    Column::text("Last Schedule", "time since it started a job", Cell::Made(last_schedule)),
    AGE,
    containers(JOB_TEMPLATE).wide(),
    images(JOB_TEMPLATE).wide(),
    selected(Cell::Selector("spec.jobTemplate.spec.selector")).wide(),
];

pub(super) const POD_TEMPLATE: &[Column] = &[
    NAME,
    containers("template.spec"),
    images("template.spec"),
    Column::text("Pod Labels", "the labels of its pods", Cell::Labels("template.metadata.labels")),
];

fn ready_of_wanted(row: &Row) -> Value {
    let (ready, wanted) =
        (number(row.item, "status.readyReplicas"), number(row.item, "spec.replicas"));
    format!("{ready}/{wanted}").into()
}

fn controller(row: &Row) -> Value {
    let mut owners = list(row.item, "metadata.ownerReferences").iter();
    let Some(owner) = owners.find(|owner| flag(owner, "controller")) else {
        return "<none>".into();
    };
    let kind = text(owner, "kind").to_lowercase();
    let group = text(owner, "apiVersion").split_once('/').map(|(group, _)| group);
    let dotted = group.map(|group| format!(".{}", group.to_lowercase())).unwrap_or_default();
    format!("{kind}{dotted}/{}", text(owner, "name")).into()
}

fn job_status(row: &Row) -> Value {
    let is = |kind| is_true(row.item, kind);
    let status = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !at(row.item, "metadata.deletionTimestamp").is_null() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    status.into()
}

fn completions(row: &Row) -> Value {
    let succeeded = number(row.item, "status.succeeded");
    match (at(row.item, "spec.completions").as_i64(), number(row.item, "spec.parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
    .into()
}

fn duration(row: &Row) -> Value {
    let Some(start) = age::read(at(row.item, "status.startTime")) else { return "".into() };
    let end = age::read(at(row.item, "status.completionTime")).unwrap_or(row.now);
    age::human(age::seconds_between(start, end)).into()
}

fn suspended(row: &Row) -> Value {
    match at(row.item, "spec.suspend").as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
    .into()
}

fn last_schedule(row: &Row) -> Value {
    match at(row.item, "status.lastScheduleTime").is_null() {
        true => "<none>".into(),
        false => row.since("status.lastScheduleTime").into(),
    }
}
