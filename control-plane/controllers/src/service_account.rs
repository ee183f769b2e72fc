//! Every namespace has the service accounts its pods run as by default.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Error;
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Informer, Key, Next, Objects, Queue, Reconcile, is_already_exists, is_not_found,
};

/// The controller's name.
pub(crate) const NAME: &str = "serviceaccount-controller";

const DEFAULT: &str = "default";

struct ServiceAccounts {
    namespaces: Arc<Informer<Namespace>>,
    accounts: Arc<Informer<ServiceAccount>>,
    objects: Objects,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let namespaces = controller.informer::<Namespace>();
    let accounts = controller.informer::<ServiceAccount>();
    let queue = Queue::default();
    follow_namespaces(&namespaces, &queue);
    {
        let queue = queue.clone();
        accounts.subscribe(move |change| {
            let account = &change.latest().metadata;
            if change.new.is_none() && account.name.as_deref() == Some(DEFAULT) {
                queue.add(Key::cluster(account.namespace.clone().unwrap_or_default()));
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, workers, ServiceAccounts { namespaces, accounts, objects });
}

/// Queues every namespace as it appears and changes.
pub(crate) fn follow_namespaces(namespaces: &Informer<Namespace>, queue: &Queue<Key>) {
    let queue = queue.clone();
    namespaces.subscribe(move |change| {
        if let Some(namespace) = change.new {
            queue.add(Key::of(&namespace.metadata));
        }
    });
}

/// True while things may be created in it.
pub(crate) fn is_open(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}

impl Reconcile for ServiceAccounts {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let open = self.namespaces.cache().get(key).is_some_and(|namespace| is_open(&namespace));
        let account = Key::new(&key.name, DEFAULT);
        if !open || self.accounts.cache().get(&account).is_some() {
            return Ok(Next::Change);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(account.name),
                namespace: Some(account.namespace),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        match self.objects.create(&account).await {
            Err(error)
                if is_already_exists(&error)
                    || is_not_found(&error)
                    || is_namespace_terminating(&error) => {}
            result => drop(result?),
        }
        Ok(Next::Change)
    }
}
