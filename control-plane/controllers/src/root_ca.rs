//! Every namespace has the certificate by which its pods know the API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Error;
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Informer, Key, Next, Objects, Queue, Reconcile, is_already_exists, is_not_found,
};
use crate::service_account::{follow_namespaces, is_open};

/// The controller's name.
pub(crate) const NAME: &str = "root-ca-certificate-publisher-controller";

const CONFIG_MAP: &str = "kube-root-ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
     guaranteed across distributions of Kubernetes clusters.",
);

struct RootCa {
    namespaces: Arc<Informer<Namespace>>,
    maps: Arc<Informer<ConfigMap>>,
    objects: Objects,
    certificate: String,
}

/// Sets up the controller, which publishes this certificate (PEM).
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize, certificate: String) {
    let mut controller = context.controller(NAME, objects);
    let namespaces = controller.informer::<Namespace>();
    let maps = controller.informer::<ConfigMap>();
    let queue = Queue::default();
    follow_namespaces(&namespaces, &queue);
    {
        let queue = queue.clone();
        maps.subscribe(move |change| {
            let map = &change.latest().metadata;
            if change.old.is_some() && map.name.as_deref() == Some(CONFIG_MAP) {
                queue.add(Key::cluster(map.namespace.clone().unwrap_or_default()));
            }
        });
    }
    let objects = controller.objects();
    controller.run(queue, workers, RootCa { namespaces, maps, objects, certificate });
}

/// The config map as it should be, if what is there differs.
fn wanted(namespace: &str, certificate: &str, known: Option<&ConfigMap>) -> Option<ConfigMap> {
    let data: BTreeMap<String, String> = [("ca.crt".into(), certificate.into())].into();
    if known.is_some_and(|known| known.data.as_ref() == Some(&data)) {
        return None;
    }
    let mut map = known.cloned().unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta {
            name: Some(CONFIG_MAP.into()),
            namespace: Some(namespace.into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    });
    let annotations = map.metadata.annotations.get_or_insert_default();
    annotations.insert(DESCRIPTION.0.into(), DESCRIPTION.1.into());
    map.data = Some(data);
    Some(map)
}

impl Reconcile for RootCa {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if !self.namespaces.cache().get(key).is_some_and(|namespace| is_open(&namespace)) {
            return Ok(Next::Change);
        }
        let known = self.maps.cache().get(&Key::new(&key.name, CONFIG_MAP));
        let Some(map) = wanted(&key.name, &self.certificate, known.as_deref()) else {
            return Ok(Next::Change);
        };
        let written = match known {
            Some(_) => self.objects.replace(&map).await,
            None => self.objects.create(&map).await,
        };
        match written {
            Err(error)
                if is_already_exists(&error)
                    || is_not_found(&error)
                    || is_namespace_terminating(&error) => {}
            result => drop(result?),
        }
        Ok(Next::Change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_altered_map_is_put_right() {
        let made = wanted("shop", "PEM", None).expect("it is missing");
        assert_eq!(made.metadata.namespace.as_deref(), Some("shop"));
        assert_eq!(wanted("shop", "PEM", Some(&made)), None);
        let altered = wanted("shop", "OTHER", Some(&made)).expect("it holds another certificate");
        assert_eq!(altered.data.unwrap()["ca.crt"], "OTHER");
    }
}
