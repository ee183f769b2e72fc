//! Which pods stand behind a service, written down in endpoint slices.

pub(crate) mod endpoint;
mod placement;
mod trigger;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};

use crate::Error;
use crate::error::words;
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Event, Expectations, Informer, Key, Next, Objects, Queue, Reconcile, Recorder,
    RequestError, is_not_found,
};
use crate::selector::contains;

use endpoint::{families, may_serve};
use placement::{Changes, place};

/// The controller's name.
pub(crate) const NAME: &str = "endpointslice-controller";

pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What this controller's slices say in [`MANAGED_BY`].
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";

struct EndpointSlices {
    services: Arc<Informer<Service>>,
    slices: Arc<Informer<EndpointSlice>>,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    expectations: Arc<Expectations>,
    objects: Objects,
    recorder: Recorder,
    max_per_slice: usize,
}

/// Sets up the controller, with at most this many endpoints in a slice.
pub(crate) fn set_up(
    context: &mut Context,
    objects: Objects,
    workers: usize,
    max_per_slice: usize,
) {
    let mut controller = context.controller(NAME, objects);
    let services = controller.informer::<Service>();
    let slices = controller.informer::<EndpointSlice>();
    let pods = controller.informer::<Pod>();
    let nodes = controller.informer::<Node>();
    let queue = Queue::default();
    let expectations = Arc::new(Expectations::default());
    {
        let queue = queue.clone();
        services.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    follow_pods(&pods, &services, &queue);
    {
        let (queue, expectations) = (queue.clone(), expectations.clone());
        slices.subscribe(move |change| {
            let slice = change.latest();
            let Some(key) = service_key(slice) else { return };
            if change.old.is_none() {
                expectations.created(&key);
            }
            if change.new.is_none() {
                expectations.deleted(&key, &slice.uid().unwrap_or_default());
            }
            queue.add(key);
        });
    }
    follow_nodes(&nodes, &services, &pods, &queue);
    let (objects, recorder) = (controller.objects(), controller.recorder());
    let reconciler = EndpointSlices {
        services,
        slices,
        pods,
        nodes,
        expectations,
        objects,
        recorder,
        max_per_slice,
    };
    controller.run(queue, workers, reconciler);
}

/// Queues the services that select a pod, before or after a change that can matter to them.
pub(crate) fn follow_pods(
    pods: &Informer<Pod>,
    services: &Arc<Informer<Service>>,
    queue: &Queue<Key>,
) {
    let (queue, services) = (queue.clone(), services.clone());
    pods.subscribe(move |change| {
        if let (Some(old), Some(new)) = (change.old, change.new)
            && !endpoint::differs(old, new)
        {
            return;
        }
        let namespace = change.latest().namespace().unwrap_or_default();
        for service in services.cache().in_namespace(&namespace) {
            if change.both().any(|pod| selects(&service, pod)) {
                queue.add(Key::of(&service.metadata));
            }
        }
    });
}

/// A node that comes, goes or moves to another zone matters to the services with pods on it.
fn follow_nodes(
    nodes: &Informer<Node>,
    services: &Arc<Informer<Service>>,
    pods: &Arc<Informer<Pod>>,
    queue: &Queue<Key>,
) {
    let (queue, services, pods) = (queue.clone(), services.clone(), pods.clone());
    nodes.subscribe(move |change| {
        let zone = |node: &Arc<Node>| endpoint::zone(node).map(str::to_owned);
        if change.old.is_some() && change.old.map(zone) == change.new.map(zone) {
            return;
        }
        let name = change.latest().name_any();
        let here = pods.cache().all().into_iter().filter(|pod| crate::pod::node_name(pod) == name);
        for pod in here {
            for service in services.cache().in_namespace(&pod.namespace().unwrap_or_default()) {
                if selects(&service, &pod) {
                    queue.add(Key::of(&service.metadata));
                }
            }
        }
    });
}

/// The service chooses its pods by labels, and this is one of them.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        !selector.is_empty() && contains(pod.metadata.labels.as_ref(), selector)
    })
}

/// The service has no address of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

/// The service that a slice of this controller belongs to.
fn service_key(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let name = labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(Key::new(slice.namespace().unwrap_or_default(), name))
}

impl Reconcile for EndpointSlices {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !self.expectations.met(key) {
            return Ok(Next::Change);
        }
        let namespace = self.slices.cache().in_namespace(&key.namespace);
        let known: Vec<Arc<EndpointSlice>> = namespace
            .into_iter()
            .filter(|slice| service_key(slice).as_ref() == Some(key))
            .collect();
        let Some(service) = self.services.cache().get(key) else {
            // The garbage collector does the same; this is sooner.
            let changes = Changes { delete: known, ..Changes::default() };
            return self.carry_out(key, None, changes).await.map(|()| Next::Change);
        };
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let external =
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        if external || selector.is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let (pods, missing) = self.pods_behind(&service);
        let families = families(&service);
        let mut changes = Changes::default();
        for family in &families {
            let known: Vec<_> = known
                .iter()
                .filter(|slice| slice.address_type == family.as_str())
                .cloned()
                .collect();
            changes.append(place(&service, &pods, &known, *family, self.max_per_slice));
        }
        let named: BTreeSet<&str> = families.iter().map(|family| family.as_str()).collect();
        let foreign = known.iter().filter(|slice| !named.contains(slice.address_type.as_str()));
        changes.delete.extend(foreign.cloned());
        let pods = pods.iter().map(|(pod, _)| &**pod);
        changes.note_trigger(trigger::trigger_time(&service, pods, &known));
        self.carry_out(key, Some(&service), changes).await?;
        match missing {
            Some(node) => Err(Error::Later(format!("a pod runs on the unknown node {node}"))),
            None => Ok(Next::Change),
        }
    }
}

type PodAndNode = (Arc<Pod>, Option<Arc<Node>>);

impl EndpointSlices {
    /// The service's pods with their nodes, and the name of a node that is not known (yet). A pod
    /// on such a node is left out, unless the service publishes pods in whatever state.
    fn pods_behind(&self, service: &Service) -> (Vec<PodAndNode>, Option<String>) {
        let publishes_all = endpoint::publishes_not_ready(service);
        let mut missing = None;
        let mut found = Vec::new();
        for pod in self.pods.cache().in_namespace(&service.namespace().unwrap_or_default()) {
            if !selects(service, &pod) || !may_serve(&pod) {
                continue;
            }
            let name = crate::pod::node_name(&pod);
            let node = self.nodes.cache().get(&Key::cluster(name));
            if node.is_none() && !publishes_all {
                missing = Some(name.to_owned());
                continue;
            }
            found.push((pod, node));
        }
        (found, missing)
    }

    async fn carry_out(
        &self,
        key: &Key,
        service: Option<&Service>,
        changes: Changes,
    ) -> Result<(), Error> {
        let doomed = changes.delete.iter().filter_map(|slice| slice.meta().uid.clone());
        self.expectations.expect(key, changes.create.len(), doomed);
        let mut failure = None;
        for slice in &changes.create {
            if let Err(error) = self.objects.create(slice).await {
                self.expectations.created(key);
                if !is_namespace_terminating(&error) {
                    failure = Some(("create", error));
                }
            }
        }
        for slice in &changes.update {
            if let Err(error) = self.objects.replace(slice).await {
                failure = Some(("update", error));
            }
        }
        for slice in &changes.delete {
            let same = Preconditions { uid: slice.uid(), resource_version: None };
            let how = DeleteParams::default().preconditions(same);
            let slice_key = Key::of(&slice.metadata);
            if let Err(error) = self.objects.delete::<EndpointSlice>(&slice_key, &how).await {
                self.expectations.deleted(key, &slice.uid().unwrap_or_default());
                if !is_not_found(&error) {
                    failure = Some(("delete", error));
                }
            }
        }
        match failure {
            None => Ok(()),
            Some((verb, error)) => {
                self.tell_failure(key, service, verb, &error);
                Err(error.into())
            }
        }
    }

    fn tell_failure(&self, key: &Key, service: Option<&Service>, verb: &str, error: &RequestError) {
        let Some(service) = service else { return };
        if crate::runtime::is_conflict(error) {
            return;
        }
        let reason = words(error);
        let message = format!(
            "Error updating Endpoint Slices for Service {key}: failed to {verb} EndpointSlice: {reason}"
        );
        self.recorder.record(service, Event::warning("FailedToUpdateEndpointSlices", message));
    }
}

impl Changes {
    fn note_trigger(&mut self, time: Option<Timestamp>) {
        for slice in self.create.iter_mut().chain(&mut self.update) {
            trigger::note(slice, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_slices_of_this_controller_lead_to_their_service() {
        for (labels, expected) in [
            (json!({SERVICE_NAME: "web", MANAGED_BY: MANAGER}), Some("web")),
            (json!({SERVICE_NAME: "web", MANAGED_BY: "someone-else"}), None),
            (json!({SERVICE_NAME: "web"}), None),
            (json!({MANAGED_BY: MANAGER}), None),
        ] {
            let slice = serde_json::from_value(json!({
                "metadata": {"namespace": "shop", "labels": labels},
                "addressType": "IPv4", "endpoints": [],
            }))
            .unwrap();
            assert_eq!(service_key(&slice), expected.map(|name| Key::new("shop", name)));
        }
    }
}
