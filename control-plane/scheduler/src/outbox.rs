//! What a cycle decided, carried out through the API: many at a time, but not without bound.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use crate::pod::PodInfo;
use crate::scheduler::Effect;
use crate::volumes::Supply;

/// How many bindings are under way at once.
const BINDINGS: usize = 64;
/// How many reports and evictions are under way at once.
const REPORTS: usize = 16;
/// How long a pod waits for its volumes before it is tried again.
const VOLUMES_WAIT: Duration = Duration::from_secs(10 * 60);
/// The longest text of an event, in bytes.
const LONGEST_NOTE: usize = 1024;

/// Why a pod was not bound.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Api(#[from] Error),
    #[error("timed out waiting for volumes")]
    Volumes,
}

/// Carries out effects.
#[derive(Clone)]
pub(crate) struct Outbox {
    client: Client,
    reporter: Reporter,
    recorder: Recorder,
    bindings: Arc<Semaphore>,
    reports: Arc<Semaphore>,
    failed: UnboundedSender<String>,
}

impl Outbox {
    /// An outbox that tells the uids of pods that could not be bound to `failed`.
    pub(crate) fn new(
        client: Client,
        scheduler: &str,
        instance: String,
        failed: UnboundedSender<String>,
    ) -> Self {
        let reporter = Reporter { controller: scheduler.to_owned(), instance: Some(instance) };
        Self {
            recorder: Recorder::new(client.clone(), reporter.clone()),
            client,
            reporter,
            bindings: Arc::new(Semaphore::new(BINDINGS)),
            reports: Arc::new(Semaphore::new(REPORTS)),
            failed,
        }
    }

    /// Begins to carry out an effect.
    pub(crate) fn send(&self, effect: Effect) {
        let outbox = self.clone();
        tokio::spawn(async move { outbox.carry_out(effect).await });
    }

    async fn carry_out(&self, effect: Effect) {
        let _permit = match &effect {
            Effect::Bind { .. } => None,
            _ => self.reports.acquire().await.ok(),
        };
        match effect {
            Effect::Bind { pod, node, supplies } => self.place(&pod, &node, &supplies).await,
            Effect::Report { pod, message, nominated } => {
                self.report(&pod, &message, nominated).await;
            }
            Effect::Evict { victim, preemptor, node } => {
                self.evict(&victim, &preemptor, &node).await;
            }
            Effect::ClearNomination(pod) => {
                let cleared = self.patch_status(&pod, json!({"nominatedNodeName": null})).await;
                log(&pod, "clear nomination", cleared);
            }
        }
    }

    fn pods(&self, pod: &PodInfo) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }

    /// Binds a pod once its volumes are there; waiting for those keeps no other pod from its turn.
    async fn place(&self, pod: &PodInfo, node: &str, supplies: &[(String, Supply)]) {
        let outcome = async {
            let supplied =
                tokio::time::timeout(VOLUMES_WAIT, self.supply(pod, node, supplies)).await;
            supplied.map_err(|_| Failure::Volumes)??;
            let _permit = self.bindings.acquire().await;
            self.bind(pod, node).await?;
            log(pod, "event", self.scheduled(pod, node).await);
            Ok::<_, Failure>(())
        };
        let Err(failure) = outcome.await else { return };
        if !matches!(&failure, Failure::Api(error) if is_gone(error)) {
            tracing::warn!(pod = pod.key(), node, error = %failure, "binding");
            let note = format!("Binding rejected: {failure}");
            let told =
                self.tell(pod, EventType::Warning, "FailedScheduling", "Scheduling", note, None);
            log(pod, "event", told.await);
        }
        // The receiver is gone only when the scheduler has stopped.
        let _ = self.failed.send(pod.uid.clone());
    }

    async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), Error> {
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let parameters = PostParams::default();
        let _: Value =
            self.pods(pod).create_subresource("binding", &pod.name, &parameters, &binding).await?;
        tracing::debug!(pod = pod.key(), node, "bound");
        Ok(())
    }

    /// Gives the claims that wait for this pod their volumes on the node.
    async fn supply(
        &self,
        pod: &PodInfo,
        node: &str,
        supplies: &[(String, Supply)],
    ) -> Result<(), Error> {
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(self.client.clone(), &pod.namespace);
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let parameters = PatchParams::default();
        for (name, supply) in supplies {
            match supply {
                Supply::Provisioner => {
                    let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}}});
                    claims.patch(name, &parameters, &Patch::Merge(&chosen)).await?;
                }
                Supply::Volume(volume) => {
                    let claim = claims.get(name).await?;
                    let owner = json!({
                        "metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
                        "spec": {"claimRef": {
                            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": pod.namespace,
                            "name": name, "uid": claim.metadata.uid,
                            "resourceVersion": claim.metadata.resource_version,
                        }},
                    });
                    volumes.patch(volume, &parameters, &Patch::Merge(&owner)).await?;
                }
            }
        }
        for (name, _) in supplies {
            let bound = await_condition(claims.clone(), name, is_bound());
            bound.await.map_err(|error| Error::Service(Box::new(error)))?;
        }
        Ok(())
    }

    /// The event of a bound pod: created as it is, since there is only one per pod.
    async fn scheduled(&self, pod: &PodInfo, node: &str) -> Result<(), Error> {
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", pod.name, now.as_nanosecond())),
                namespace: Some(pod.namespace.clone()),
                ..ObjectMeta::default()
            },
            action: Some("Binding".into()),
            reason: Some("Scheduled".into()),
            note: Some(format!("Successfully assigned {} to {node}", pod.key())),
            type_: Some("Normal".into()),
            event_time: Some(MicroTime(now)),
            regarding: Some(reference(pod)),
            reporting_controller: Some(self.reporter.controller.clone()),
            reporting_instance: self.reporter.instance.clone(),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace);
        events.create(&PostParams::default(), &event).await.map(|_| ())
    }

    async fn report(&self, pod: &PodInfo, message: &str, nominated: Option<Option<String>>) {
        tracing::info!(pod = pod.key(), message, "unschedulable");
        let told = self.tell(
            pod,
            EventType::Warning,
            "FailedScheduling",
            "Scheduling",
            message.to_owned(),
            None,
        );
        log(pod, "event", told.await);
        let mut status = json!({});
        if pod
            .unscheduled
            .as_ref()
            .is_none_or(|(reason, told)| reason != "Unschedulable" || told != message)
        {
            status["conditions"] = json!([condition(pod, message)]);
        }
        if let Some(node) = nominated.filter(|node| *node != pod.nominated) {
            status["nominatedNodeName"] = json!(node);
        }
        if status != json!({}) {
            log(pod, "status", self.patch_status(pod, status).await);
        }
    }

    async fn evict(&self, victim: &PodInfo, preemptor: &PodInfo, node: &str) {
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{}: preempting to accommodate a higher priority pod", preemptor.scheduler),
            "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "observedGeneration": victim.generation,
        });
        let going = async {
            self.patch_status(victim, json!({"conditions": [condition]})).await?;
            let exactly = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
            let parameters =
                DeleteParams { preconditions: Some(exactly), ..DeleteParams::default() };
            self.pods(victim).delete(&victim.name, &parameters).await?;
            let note = format!("Preempted by pod {} on node {node}", preemptor.uid);
            self.tell(victim, EventType::Normal, "Preempted", "Preempting", note, Some(preemptor))
                .await
        };
        log(victim, "preemption", going.await);
    }

    async fn tell(
        &self,
        pod: &PodInfo,
        kind: EventType,
        reason: &str,
        action: &str,
        note: String,
        related: Option<&PodInfo>,
    ) -> Result<(), Error> {
        let event = Told {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: action.to_owned(),
            secondary: related.map(reference),
        };
        self.recorder.publish(&event, &reference(pod)).await
    }

    async fn patch_status(&self, pod: &PodInfo, status: Value) -> Result<(), Error> {
        let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
        self.pods(pod)
            .patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(&patch))
            .await
            .map(|_| ())
    }
}

/// The condition of a pod that does not fit. The time stays as long as the pod has not fitted.
fn condition(pod: &PodInfo, message: &str) -> Value {
    let mut condition = json!({
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": message,
        "observedGeneration": pod.generation,
    });
    if pod.unscheduled.is_none() {
        condition["lastTransitionTime"] =
            Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
    }
    condition
}

fn reference(pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

fn is_bound() -> impl Condition<PersistentVolumeClaim> {
    |claim: Option<&PersistentVolumeClaim>| {
        let phase = claim.and_then(|claim| claim.status.as_ref()?.phase.as_deref());
        claim.is_none() || phase == Some("Bound")
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 404)
}

/// An event's text may have 1024 bytes.
fn shortened(mut note: String) -> String {
    const MORE: &str = " ...";
    if note.len() > LONGEST_NOTE {
        let end = (0..=LONGEST_NOTE - MORE.len()).rev().find(|end| note.is_char_boundary(*end));
        note.truncate(end.unwrap_or_default());
        note.push_str(MORE);
    }
    note
}

/// A pod that has gone meanwhile needs no warning.
fn log(pod: &PodInfo, what: &str, outcome: Result<(), Error>) {
    match outcome {
        Err(error) if !is_gone(&error) => tracing::warn!(pod = pod.key(), %error, "{what}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
