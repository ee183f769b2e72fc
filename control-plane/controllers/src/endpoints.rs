//! The older form of endpoint slices, for those who still read it: one object per service.

mod subsets;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::DeleteParams;

use crate::Error;
use crate::endpoint_slice::{follow_pods, is_headless, selects};
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Informer, Key, Next, Objects, Queue, Reconcile, is_already_exists, is_not_found,
};
use crate::selector::Labels;

use subsets::subsets;

/// The controller's name.
pub(crate) const NAME: &str = "endpoints-controller";

const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

struct LegacyEndpoints {
    services: Arc<Informer<Service>>,
    endpoints: Arc<Informer<Endpoints>>,
    pods: Arc<Informer<Pod>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let services = controller.informer::<Service>();
    let endpoints = controller.informer::<Endpoints>();
    let pods = controller.informer::<Pod>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        services.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    {
        let queue = queue.clone();
        endpoints.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    follow_pods(&pods, &services, &queue);
    let objects = controller.objects();
    controller.run(queue, workers, LegacyEndpoints { services, endpoints, pods, objects });
}

impl Reconcile for LegacyEndpoints {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let known = self.endpoints.cache().get(key);
        let Some(service) = self.services.cache().get(key) else {
            let ours = known.is_some_and(|known| is_ours(&known));
            return if ours { self.delete(key).await } else { Ok(Next::Change) };
        };
        if service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_none() {
            return Ok(Next::Change);
        }
        let pods = self.pods.cache().in_namespace(&key.namespace);
        let pods: Vec<_> = pods.into_iter().filter(|pod| selects(&service, pod)).collect();
        let (subsets, truncated) = subsets(&service, &pods);
        let Some(new) = wanted(&service, known.as_deref(), subsets, truncated) else {
            return Ok(Next::Change);
        };
        let written = match &known {
            Some(_) => self.objects.replace(&new).await,
            None => self.objects.create(&new).await,
        };
        match written {
            Err(error)
                if is_not_found(&error)
                    || is_already_exists(&error)
                    || is_namespace_terminating(&error) =>
            {
                Ok(Next::Change)
            }
            result => result.map(|_| Next::Change).map_err(Error::from),
        }
    }
}

impl LegacyEndpoints {
    async fn delete(&self, key: &Key) -> Result<Next, Error> {
        match self.objects.delete::<Endpoints>(key, &DeleteParams::default()).await {
            Err(error) if !is_not_found(&error) => Err(error.into()),
            _ => Ok(Next::Change),
        }
    }
}

fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|by| by == MANAGED_BY.1)
}

/// The object as it should be, if what is there differs.
fn wanted(
    service: &Service,
    known: Option<&Endpoints>,
    subsets: Vec<EndpointSubset>,
    truncated: bool,
) -> Option<Endpoints> {
    let mut new = known.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    new.metadata.labels = Some(labels(service));
    if truncated {
        new.annotations_mut().insert(OVER_CAPACITY.into(), "truncated".into());
    } else if let Some(annotations) = &mut new.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
    new.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    (known != Some(&new)).then_some(new)
}

fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}
