//! Volumes, claims, classes and drivers; the storage of objects themselves.

use serde_json::Value;

use crate::Object;

use super::column::{AGE, CREATED_AT, Cell, Column, NAME, Row};
use super::tree::{annotation, at, first_three, is_true, list, quantity, some_text, text};

/// The columns of a kind in storage.k8s.io, internal.apiserver.k8s.io or storagemigration.k8s.io.
pub(super) fn columns(kind: &str) -> Option<&'static [Column]> {
    Some(match kind {
        "StorageClass" => STORAGE_CLASS,
        "VolumeAttachment" => VOLUME_ATTACHMENT,
        "VolumeAttributesClass" => VOLUME_ATTRIBUTES_CLASS,
        "CSIDriver" => CSI_DRIVER,
        "CSINode" => CSI_NODE,
        "CSIStorageCapacity" => &[NAME, CREATED_AT],
        "StorageVersion" => STORAGE_VERSION,
        "StorageVersionMigration" => STORAGE_VERSION_MIGRATION,
        _ => return None,
    })
}

const ATTRIBUTES_CLASS: Column = Column::text(
    "VolumeAttributesClass",
    "the class of its changeable attributes",
    Cell::Made(|row| or_unset(row, "spec.volumeAttributesClassName")),
);
const VOLUME_MODE: Column = Column::text(
    "VolumeMode",
    "file system or block device",
    Cell::Made(|row| or_unset(row, "spec.volumeMode")),
);
const CLASS: Column = Column::text("StorageClass", "its storage class", Cell::Made(class));
const PHASE: Column = Column::text("Status", "where in its life it is", Cell::Made(phase));

pub(super) const PERSISTENT_VOLUME: &[Column] = &[
    NAME,
    Column::text(
        "Capacity",
        "its size",
        Cell::Made(|row| quantity(at(row.item, "spec.capacity.storage")).into()),
    ),
    Column::text(
        "Access Modes",
        "how it can be mounted",
        Cell::Made(|row| access_modes(row.item, "spec.accessModes").into()),
    ),
    Column::text(
        "Reclaim Policy",
        "what becomes of it after its claim",
        Cell::Text("spec.persistentVolumeReclaimPolicy"),
    ),
    PHASE,
    Column::text("Claim", "the claim it is bound to", Cell::Made(claim)),
    CLASS,
    ATTRIBUTES_CLASS,
    Column::text("Reason", "one word on its state", Cell::Text("status.reason")),
    AGE,
    VOLUME_MODE.wide(),
];

pub(super) const PERSISTENT_VOLUME_CLAIM: &[Column] = &[
    NAME,
    PHASE,
    Column::text("Volume", "the volume it is bound to", Cell::Text("spec.volumeName")),
    Column::text("Capacity", "the size of its volume", Cell::Made(claimed_capacity)),
    Column::text("Access Modes", "how its volume can be mounted", Cell::Made(claimed_modes)),
    CLASS,
    ATTRIBUTES_CLASS,
    AGE,
    VOLUME_MODE.wide(),
];

const STORAGE_CLASS: &[Column] = &[
    Column::text("Name", "unique in the cluster", Cell::Made(storage_class_name)).name_format(),
    Column::text("Provisioner", "who makes its volumes", Cell::Text("provisioner")),
    Column::text(
        "ReclaimPolicy",
        "what becomes of volumes after their claim",
        Cell::TextOr("reclaimPolicy", "Delete"),
    ),
    Column::text(
        "VolumeBindingMode",
        "when claims are bound",
        Cell::TextOr("volumeBindingMode", "Immediate"),
    ),
    Column::text(
        "AllowVolumeExpansion",
        "whether volumes can grow",
        Cell::Flag("allowVolumeExpansion"),
    ),
    AGE,
];

const VOLUME_ATTACHMENT: &[Column] = &[
    NAME,
    Column::text("Attacher", "the driver that attaches it", Cell::Text("spec.attacher"))
        .name_format(),
    Column::text("PV", "the volume", Cell::Text("spec.source.persistentVolumeName")),
    Column::text("Node", "where it is attached", Cell::Text("spec.nodeName")),
    Column::boolean("Attached", "whether it is", Cell::Flag("status.attached")),
    AGE,
];

const VOLUME_ATTRIBUTES_CLASS: &[Column] =
    &[NAME, Column::text("DriverName", "the driver it is for", Cell::Text("driverName")), AGE];

const CSI_DRIVER: &[Column] = &[
    NAME,
    Column::boolean(
        "AttachRequired",
        "volumes are attached before they are mounted",
        Cell::Made(|row| at(row.item, "spec.attachRequired").as_bool().unwrap_or(true).into()),
    ),
    Column::boolean("PodInfoOnMount", "it is told of the pod", Cell::Flag("spec.podInfoOnMount")),
    Column::boolean("StorageCapacity", "it tells what is left", Cell::Flag("spec.storageCapacity")),
    Column::text("TokenRequests", "audiences of the tokens it is given", Cell::Made(audiences)),
    Column::boolean(
        "RequiresRepublish",
        "it is called again and again",
        Cell::Flag("spec.requiresRepublish"),
    ),
    Column::text("Modes", "the kinds of volumes it makes", Cell::Made(lifecycle_modes)),
    AGE,
];

const CSI_NODE: &[Column] =
    &[NAME, Column::integer("Drivers", "drivers on the node", Cell::Count("spec.drivers")), AGE];

const STORAGE_VERSION: &[Column] = &[
    NAME,
    Column::text(
        "CommonEncodingVersion",
        "the version all servers write",
        Cell::Made(|row| or_unset(row, "status.commonEncodingVersion")),
    ),
    Column::text("StorageVersions", "the version each server writes", Cell::Made(server_versions)),
    AGE,
];

const STORAGE_VERSION_MIGRATION: &[Column] = &[
    NAME.plain(),
    Column::text("Resource", "what is written anew", Cell::Made(migrated_resource)),
    Column::text("Status", "how far it is", Cell::Made(migration_status)),
];

fn or_unset(row: &Row, path: &str) -> Value {
    at(row.item, path).as_str().unwrap_or("<unset>").into()
}

fn phase(row: &Row) -> Value {
    match at(row.item, "metadata.deletionTimestamp").is_null() {
        true => text(row.item, "status.phase").into(),
        false => "Terminating".into(),
    }
}

fn class(row: &Row) -> Value {
    annotation(row.item, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(row.item, "spec.storageClassName"))
        .into()
}

fn claim(row: &Row) -> Value {
    let claim = at(row.item, "spec.claimRef");
    match claim.is_null() {
        true => "".into(),
        false => format!("{}/{}", text(claim, "namespace"), text(claim, "name")).into(),
    }
}

fn access_modes(object: &Object, path: &str) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = list(object, path);
    let known = SHORT.iter().filter(|(mode, _)| modes.iter().any(|value| value == mode));
    known.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn claimed_capacity(row: &Row) -> Value {
    match some_text(row.item, "spec.volumeName") {
        Some(_) => quantity(at(row.item, "status.capacity.storage")).into(),
        None => "".into(),
    }
}

fn claimed_modes(row: &Row) -> Value {
    match some_text(row.item, "spec.volumeName") {
        Some(_) => access_modes(row.item, "status.accessModes").into(),
        None => "".into(),
    }
}

fn storage_class_name(row: &Row) -> Value {
    let name = text(row.item, "metadata.name");
    match default_class(row.items) == Some(name) {
        true => format!("{name} (default)").into(),
        false => name.into(),
    }
}

/// Of several default classes the newest one counts, and then the first by name.
fn default_class<'a>(classes: &[&'a Object]) -> Option<&'a str> {
    const ANNOTATIONS: [&str; 2] = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let is_default = |class: &&&'a Object| {
        ANNOTATIONS.iter().any(|name| annotation(class, name) == Some("true"))
    };
    let key = |class: &&&'a Object| {
        let created = text(class, "metadata.creationTimestamp");
        (created, std::cmp::Reverse(text(class, "metadata.name")))
    };
    classes.iter().filter(is_default).max_by_key(key).map(|class| text(class, "metadata.name"))
}

fn audiences(row: &Row) -> Value {
    if at(row.item, "spec.tokenRequests").is_null() {
        return "<unset>".into();
    }
    let requests = list(row.item, "spec.tokenRequests").iter();
    requests.map(|request| text(request, "audience")).collect::<Vec<_>>().join(",").into()
}

fn lifecycle_modes(row: &Row) -> Value {
    let modes = list(row.item, "spec.volumeLifecycleModes").iter().filter_map(Value::as_str);
    let modes = modes.collect::<Vec<_>>().join(",");
    if modes.is_empty() { "<none>".into() } else { modes.into() }
}

fn server_versions(row: &Row) -> Value {
    let shown = |version: &Value| {
        format!("{}={}", text(version, "apiServerID"), text(version, "encodingVersion"))
    };
    let versions: Vec<String> =
        list(row.item, "status.storageVersions").iter().map(shown).collect();
    if versions.is_empty() { "<unset>".into() } else { first_three(&versions).into() }
}

fn migrated_resource(row: &Row) -> Value {
    let resource = text(row.item, "spec.resource.resource");
    match some_text(row.item, "spec.resource.group") {
        Some(group) => format!("{resource}.{group}").into(),
        None => resource.into(),
    }
}

fn migration_status(row: &Row) -> Value {
    let conditions = list(row.item, "status.conditions").iter().rev();
    let mut kinds = conditions.map(|condition| text(condition, "type"));
    let known = kinds.find(|kind| {
        matches!(*kind, "Running" | "Succeeded" | "Failed") && is_true(row.item, kind)
    });
    known.unwrap_or("Unknown").into()
}
