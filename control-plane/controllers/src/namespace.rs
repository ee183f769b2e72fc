//! Namespaces that are being deleted: their content goes first, pods before everything else, and
//! what keeps them is written into their conditions.

mod conditions;
mod content;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};

use crate::Error;
use crate::discovery::discover;
use crate::runtime::{
    Context, Informer, Key, Next, Objects, Queue, Reconcile, is_conflict, is_not_found,
};

use conditions::with_conditions;
use content::{Report, delete_content};

/// The controller's name.
pub(crate) const NAME: &str = "namespace-controller";

/// What the namespace itself holds on to until its content is gone.
const FINALIZER: &str = "kubernetes";

struct Namespaces {
    namespaces: Arc<Informer<Namespace>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let namespaces = controller.informer::<Namespace>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        namespaces.subscribe(move |change| {
            if change.new.is_some_and(|namespace| is_ending(namespace)) {
                queue.add(Key::of(&change.latest().metadata));
            }
        });
    }
    {
        // Everything else waits for the last pod.
        let (queue, namespaces) = (queue.clone(), namespaces.clone());
        let pods = controller.informer::<Pod>();
        let known = pods.clone();
        pods.subscribe(move |change| {
            if change.new.is_some() {
                return;
            }
            let name = change.latest().metadata.namespace.clone().unwrap_or_default();
            let key = Key::cluster(&name);
            let ending =
                namespaces.cache().get(&key).is_some_and(|namespace| is_ending(&namespace));
            if ending && known.cache().in_namespace(&name).is_empty() {
                queue.add(key);
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, workers, Namespaces { namespaces, objects });
}

fn is_ending(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
        && namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten()).count() > 0
}

impl Reconcile for Namespaces {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !self.namespaces.cache().get(key).is_some_and(|namespace| is_ending(&namespace)) {
            return Ok(Next::Change);
        }
        let namespace: Namespace = match self.objects.get(key).await {
            Err(error) if is_not_found(&error) => return Ok(Next::Change),
            result => result?,
        };
        if !is_ending(&namespace) {
            return Ok(Next::Change);
        }
        let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
        if !{ finalizers }.any(|finalizer| finalizer == FINALIZER) {
            return Ok(Next::Change);
        }
        let report = match discover(self.objects.client()).await {
            Ok(catalog) => delete_content(self.objects.client(), &key.name, &catalog).await,
            Err(error) => Report::undiscovered(error.to_string()),
        };
        let namespace = self.write_conditions(namespace, &report).await?;
        if report.is_clear() {
            return self.finalize(namespace).await;
        }
        match report.estimate {
            Some(seconds) => Ok(Next::After(Duration::from_secs(seconds / 2 + 1))),
            None => Err(Error::Later(format!("namespace {key} still has content"))),
        }
    }
}

impl Namespaces {
    async fn write_conditions(
        &self,
        namespace: Namespace,
        report: &Report,
    ) -> Result<Namespace, Error> {
        let new = with_conditions(&namespace, report, Timestamp::now());
        if new == namespace {
            return Ok(namespace);
        }
        match self.objects.replace_status(&new).await {
            // Somebody else wrote: what was found is written again next time.
            Err(error) if is_conflict(&error) || is_not_found(&error) => Ok(namespace),
            result => Ok(result?),
        }
    }

    /// Lets the namespace go.
    async fn finalize(&self, mut namespace: Namespace) -> Result<Next, Error> {
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut())
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        match self.objects.replace_part("finalize", &namespace).await {
            Err(error) if is_not_found(&error) => {}
            result => drop(result?),
        }
        Ok(Next::Change)
    }
}
