//! Ending an object: at once, after its grace period, or when its finalizers are done.

use http::StatusCode;
use serde_json::Value;
use skep_api::Object;
use skep_api::registry::Resource;
use skep_api::status::{Details, Status};
use skep_auth::authn::UserInfo;
use skep_store::{Txn, TxnOutcome};

use super::meta::{self, FOREGROUND, ORPHAN};
use crate::ApiServer;
use crate::admission::{self, Operation, Write};
use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, Stored, set_resource_version, store_error};
use crate::request::options::{DeleteOptions, Propagation};

const ATTEMPTS: usize = 64;

/// Whether a deletion answers the object that is gone; for the others it is a Status.
fn answers_object(resource: &Resource) -> bool {
    match (resource.group.as_ref(), resource.plural.as_ref()) {
        ("", plural) => matches!(
            plural,
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "podtemplates"
                | "resourcequotas"
        ),
        ("storage.k8s.io", plural) => plural != "csistoragecapacities",
        ("resource.k8s.io", plural) => plural != "devicetaintrules",
        _ => false,
    }
}

pub(crate) async fn delete(call: &Call) -> Answer {
    let body = call.read_delete_options().await?;
    let options = DeleteOptions::read(&call.query, body.as_ref())?;
    let deletion = Deletion {
        server: &call.server,
        user: &call.user,
        resource: call.resource,
        namespace: call.namespace(),
        name: call.name(),
        options: &options,
    };
    let deleted = deletion.run().await?;
    if deleted.gone && !answers_object(call.resource) {
        let details = Details {
            name: call.name().to_owned(),
            group: call.resource.group.to_string(),
            kind: call.resource.plural.to_string(),
            uid: meta::text(&deleted.object, "uid").to_owned(),
            ..Details::default()
        };
        let gvk = skep_api::GroupVersionKind::new("", "v1", "Status");
        return call.answer_as(StatusCode::OK, &Status::success(Some(&details)), &gvk);
    }
    let waits = !deleted.gone && options.propagation == Some(Propagation::Foreground);
    call.answer(if waits { StatusCode::ACCEPTED } else { StatusCode::OK }, &deleted.object)
}

/// How a deletion ended.
pub(crate) struct Deleted {
    pub(crate) object: Object,
    /// It is gone; otherwise it is marked and waits.
    pub(crate) gone: bool,
}

/// Who ends what, and how.
pub(crate) struct Deletion<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) user: &'a UserInfo,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) options: &'a DeleteOptions,
}

/// What a deletion does to an object as it is.
enum Step {
    /// Nothing: it is on its way already.
    Wait,
    Mark(Object),
    Remove,
}

impl Deletion<'_> {
    pub(crate) async fn run(&self) -> Result<Deleted, Status> {
        let group_resource = self.resource.group_resource();
        let objects = Objects::of(self.server, self.resource)
            .ok_or_else(|| Status::method_not_supported(&group_resource, "delete"))?;
        for _ in 0..ATTEMPTS {
            let stored = objects.find(self.namespace, self.name).await?;
            self.check_preconditions(&stored.object)?;
            self.admit(&stored.object).await?;
            if let Some(deleted) = self.attempt(&objects, stored).await? {
                return Ok(deleted);
            }
        }
        Err(Status::modified(&group_resource, self.name))
    }

    async fn attempt(&self, objects: &Objects, stored: Stored) -> Result<Option<Deleted>, Status> {
        let (txn, mut object, gone) = match self.step(&stored.object) {
            Step::Wait => return Ok(Some(Deleted { object: stored.object, gone: false })),
            Step::Mark(marked) => {
                let value = objects.encode(&marked)?;
                let txn = Txn::update(stored.key.clone(), stored.revision, value, stored.lease);
                (txn, marked, false)
            }
            Step::Remove => {
                let txn = Txn::delete(stored.key.clone(), stored.revision);
                (txn, stored.object, true)
            }
        };
        if self.options.dry_run {
            return Ok(Some(Deleted { object, gone }));
        }
        match objects.store.txn(txn).await.map_err(store_error)? {
            TxnOutcome::Committed(revision) => {
                if gone {
                    forget(self.server, self.resource, &object);
                } else {
                    set_resource_version(&mut object, revision);
                }
                Ok(Some(Deleted { object, gone }))
            }
            TxnOutcome::Conflict(_) => Ok(None),
        }
    }

    fn check_preconditions(&self, object: &Object) -> Result<(), Status> {
        let checks = [
            ("UID", "uid", &self.options.uid),
            ("ResourceVersion", "resourceVersion", &self.options.resource_version),
        ];
        for (label, field, wanted) in checks {
            let found = meta::text(object, field);
            if let Some(wanted) = wanted
                && wanted != found
            {
                return Err(Status::conflict(
                    &self.resource.group_resource(),
                    self.name,
                    format!(
                        "Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {found}"
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn admit(&self, old: &Object) -> Result<(), Status> {
        let write = Write {
            server: self.server,
            user: self.user,
            operation: Operation::Delete,
            resource: self.resource,
            subresource: None,
            namespace: self.namespace,
            name: self.name,
            object: None,
            old: Some(old),
        };
        admission::validate(&write).await
    }

    fn step(&self, old: &Object) -> Step {
        if meta::is_deleting(old) {
            return self.step_again(old);
        }
        let mut object = old.clone();
        meta::set_finalizers(&mut object, self.finalizers(old));
        let grace_seconds = self.grace_seconds(old).unwrap_or(0);
        if grace_seconds == 0 && !is_held(self.resource, &object) {
            return Step::Remove;
        }
        meta::mark_deleting(&mut object, jiff::Timestamp::now(), grace_seconds);
        if is_namespace(self.resource) {
            meta::of_mut(&mut object).remove("deletionGracePeriodSeconds");
            object["status"]["phase"] = "Terminating".into();
        }
        Step::Mark(object)
    }

    /// A second deletion can only shorten what the first one granted.
    fn step_again(&self, old: &Object) -> Step {
        let running = meta::grace_seconds(old).unwrap_or(0);
        let asked = self.options.grace_seconds.filter(|asked| *asked < running);
        let held = is_held(self.resource, old);
        match asked.unwrap_or(running) {
            0 if !held => Step::Remove,
            seconds if seconds < running => {
                let mut object = old.clone();
                shorten(&mut object, running, seconds);
                Step::Mark(object)
            }
            _ => Step::Wait,
        }
    }

    /// How long a pod has to end; `None` for kinds without grace.
    fn grace_seconds(&self, object: &Object) -> Option<i64> {
        if !is_pod(self.resource) {
            return None;
        }
        let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
        let asked = self.options.grace_seconds.or(own).unwrap_or(30);
        let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
        let ended = matches!(object["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
        Some(match asked {
            _ if unscheduled || ended => 0,
            negative if negative < 0 => 1,
            seconds => seconds,
        })
    }

    /// The finalizers after adding or removing the garbage collector's, as the options say.
    fn finalizers(&self, object: &Object) -> Vec<String> {
        let mut finalizers = meta::finalizers(object);
        let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
        let (orphan, foreground) = match self.options.propagation {
            Some(wanted) => (wanted == Propagation::Orphan, wanted == Propagation::Foreground),
            None if has(FOREGROUND) || has(ORPHAN) => (has(ORPHAN), has(FOREGROUND)),
            None => (orphans_by_default(self.resource), false),
        };
        finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
        finalizers.extend(orphan.then(|| ORPHAN.to_owned()));
        finalizers.extend(foreground.then(|| FOREGROUND.to_owned()));
        finalizers
    }
}

/// Whether an update has taken away the last thing that kept a deleted object.
pub(crate) fn is_finished(resource: &Resource, object: &Object) -> bool {
    meta::is_deleting(object)
        && meta::grace_seconds(object).unwrap_or(0) == 0
        && !is_held(resource, object)
}

/// Gives back what an object held outside itself.
pub(crate) fn forget(server: &ApiServer, resource: &Resource, object: &Object) {
    server.services().release(resource, object);
}

fn is_pod(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "pods"
}

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

/// Whether finalizers keep the object; a namespace's contents have their own in `spec.finalizers`.
fn is_held(resource: &Resource, object: &Object) -> bool {
    let contents = object["spec"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
    !meta::finalizers(object).is_empty() || (is_namespace(resource) && contents)
}

/// Kinds whose first versions left their dependents behind, and still do.
fn orphans_by_default(resource: &Resource) -> bool {
    let kind = (resource.group.as_ref(), resource.plural.as_ref());
    matches!(kind, ("", "replicationcontrollers") | ("batch", "jobs"))
}

/// Moves the end of a running grace period forward.
fn shorten(object: &mut Object, running: i64, seconds: i64) {
    let metadata = meta::of_mut(object);
    let until = metadata.get("deletionTimestamp").and_then(Value::as_str);
    let until = until.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    if let Some(until) = until {
        let until = until - jiff::SignedDuration::from_secs(running - seconds);
        metadata.insert("deletionTimestamp".to_owned(), meta::time(until).into());
    }
    metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
}
