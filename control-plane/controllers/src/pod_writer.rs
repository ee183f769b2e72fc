//! Creating and deleting pods on behalf of the object that owns them, with upstream's events.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Preconditions};

use crate::error::words;
use crate::owner::controller_reference;
use crate::runtime::{Event, Key, Kind, Objects, Recorder, RequestError, is_not_found};

/// Writes pods for a controller.
#[derive(Clone)]
pub(crate) struct PodWriter {
    /// Where they are written.
    pub(crate) objects: Objects,
    /// Where it is told.
    pub(crate) recorder: Recorder,
}

/// A pod made from a template for its owner: nameless, with a prefix the server completes.
pub(crate) fn from_template<O: Kind>(owner: &O, template: &PodTemplateSpec) -> Pod {
    let own = template.metadata.clone().unwrap_or_default();
    let name = owner.meta().name.as_deref().unwrap_or_default();
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: owner.meta().namespace.clone(),
        labels: own.labels,
        annotations: own.annotations,
        finalizers: own.finalizers,
        owner_references: Some(vec![controller_reference(owner)]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

impl PodWriter {
    /// Creates one pod and records how it went. Nothing is said when the namespace is going away:
    /// every creation there fails.
    pub(crate) async fn create<O: Kind>(&self, owner: &O, pod: &Pod) -> Result<Pod, RequestError> {
        match self.objects.create(pod).await {
            Ok(created) => {
                let name = created.metadata.name.as_deref().unwrap_or_default();
                let message = format!("Created pod: {name}");
                self.recorder.record(owner, Event::normal("SuccessfulCreate", message));
                Ok(created)
            }
            Err(error) => {
                if !is_namespace_terminating(&error) {
                    let message = format!("Error creating: {}", words(&error));
                    self.recorder.record(owner, Event::warning("FailedCreate", message));
                }
                Err(error)
            }
        }
    }

    /// Creates pods in batches of one, two, four and so on, and stops after the first batch in which
    /// one fails. Answers how many were made, and the first failure.
    pub(crate) async fn create_slowly<O: Kind>(
        &self,
        owner: &O,
        pods: &[Pod],
    ) -> (usize, Option<RequestError>) {
        let (mut made, mut batch) = (0, 1);
        while made < pods.len() {
            let end = (made + batch).min(pods.len());
            let results = join_all(pods[made..end].iter().map(|pod| self.create(owner, pod))).await;
            let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            made += done.len();
            if let Some(Err(error)) = failed.into_iter().next() {
                return (made, Some(error));
            }
            batch *= 2;
        }
        (made, None)
    }

    /// Deletes one pod, if it is still the one that was meant, and records how it went.
    pub(crate) async fn delete<O: Kind>(&self, owner: &O, pod: &Pod) -> Result<(), RequestError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let same = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let how = DeleteParams::default().preconditions(same);
        match self.objects.delete::<Pod>(&Key::of(&pod.metadata), &how).await {
            Err(error) if is_not_found(&error) => Err(error),
            Err(error) => {
                let message = format!("Error deleting: {}", words(&error));
                self.recorder.record(owner, Event::warning("FailedDelete", message));
                Err(error)
            }
            Ok(()) => {
                let message = format!("Deleted pod: {name}");
                self.recorder.record(owner, Event::normal("SuccessfulDelete", message));
                Ok(())
            }
        }
    }
}

/// The namespace is being deleted, so nothing can be created in it.
pub(crate) fn is_namespace_terminating(error: &RequestError) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}
