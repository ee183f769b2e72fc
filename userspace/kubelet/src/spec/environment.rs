//! The environment of a container: services of its namespace, then `envFrom`, then `env` in order.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret, Service};

use super::fields::{self, NodeAmounts};
use crate::expand::expand;

/// The objects that an environment may draw from, fetched before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) config_maps: BTreeMap<String, Option<ConfigMap>>,
    pub(crate) secrets: BTreeMap<String, Option<Secret>>,
    /// Services of the pod's namespace, and the one of the API server.
    pub(crate) services: Vec<Service>,
}

/// The names that must be fetched first: config maps, secrets.
pub(crate) fn needs(container: &Container) -> (Vec<String>, Vec<String>) {
    let mut config_maps = Vec::new();
    let mut secrets = Vec::new();
    for source in container.env_from.iter().flatten() {
        config_maps.extend(source.config_map_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_ref.as_ref().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

/// The environment, in order; the error is for the container's status.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    node_name: &str,
    node: NodeAmounts,
) -> Result<Vec<(String, String)>, String> {
    let spec = pod.spec.as_ref();
    let links = spec.and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut values = services(&sources.services, namespace, links);
    let mut order: Vec<String> = Vec::new();
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let set = |own: &mut BTreeMap<String, String>, order: &mut Vec<String>, name: String, value| {
        if own.insert(name.clone(), value).is_none() {
            order.push(name);
        }
    };
    for (name, value) in imported(container, sources)? {
        set(&mut own, &mut order, name, value);
    }
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => {
                let text = var.value.as_deref().unwrap_or_default();
                Some(expand(text, |name| own.get(name).or_else(|| values.get(name)).cloned()))
            }
            Some(_) => referenced(pod, container, var, sources, node_name, node)?,
        };
        if let Some(value) = value {
            set(&mut own, &mut order, var.name.clone(), value);
        }
    }
    values.retain(|name, _| !own.contains_key(name));
    let own = order.into_iter().map(|name| {
        let value = own.remove(&name).unwrap_or_default();
        (name, value)
    });
    Ok(own.collect::<Vec<_>>().into_iter().chain(values).collect())
}

fn imported(container: &Container, sources: &Sources) -> Result<Vec<(String, String)>, String> {
    let mut values = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let found = sources.config_maps.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(map) => {
                    let data = map.data.iter().flatten();
                    values
                        .extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            let found = sources.secrets.get(&reference.name).and_then(Option::as_ref);
            match found {
                Some(secret) => {
                    let data = secret.data.iter().flatten();
                    values.extend(data.map(|(key, value)| {
                        (format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned())
                    }));
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
    }
    Ok(values)
}

fn referenced(
    pod: &Pod,
    container: &Container,
    var: &EnvVar,
    sources: &Sources,
    node_name: &str,
    node: NodeAmounts,
) -> Result<Option<String>, String> {
    let Some(from) = &var.value_from else { return Ok(None) };
    if let Some(selector) = &from.field_ref {
        return fields::field(pod, &selector.field_path, node_name).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return fields::resource(pod, container, selector, node).map(Some);
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(selector) = &from.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let found = sources.config_maps.get(&selector.name).and_then(Option::as_ref);
        let value = match found {
            Some(map) => map.data.as_ref().and_then(|data| data.get(&selector.key)),
            None if optional => None,
            None => return Err(format!("configmap {:?} not found", selector.name)),
        };
        return match value {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(missing_key(&selector.key, "ConfigMap", namespace, &selector.name)),
        };
    }
    if let Some(selector) = &from.secret_key_ref {
        let optional = selector.optional == Some(true);
        let found = sources.secrets.get(&selector.name).and_then(Option::as_ref);
        let value = match found {
            Some(secret) => secret.data.as_ref().and_then(|data| data.get(&selector.key)),
            None if optional => None,
            None => return Err(format!("secret {:?} not found", selector.name)),
        };
        return match value {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(missing_key(&selector.key, "Secret", namespace, &selector.name)),
        };
    }
    Err(format!("the value of environment variable {} comes from an unknown source", var.name))
}

fn missing_key(key: &str, kind: &str, namespace: &str, name: &str) -> String {
    format!("couldn't find key {key} in {kind} {namespace}/{name}")
}

/// The variables of services that have a cluster address, in the style of old container links.
fn services(services: &[Service], namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for service in services {
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let is_api = of == "default" && name == "kubernetes";
        if !(is_api || links && of == namespace) {
            continue;
        }
        // The pod's own service of that name wins over the API server's.
        let shadowed = is_api
            && of != namespace
            && links
            && services.iter().any(|other| {
                other.metadata.namespace.as_deref() == Some(namespace)
                    && other.metadata.name.as_deref() == Some(name)
            });
        if !shadowed {
            service_variables(service, name, &mut values);
        }
    }
    values
}

fn service_variables(service: &Service, name: &str, values: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let address = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return,
        Some(address) => address,
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let name = name.to_uppercase().replace('-', "_");
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    values.insert(format!("{name}_SERVICE_HOST"), address.to_owned());
    values.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let port_name = port_name.to_uppercase().replace('-', "_");
            values.insert(format!("{name}_SERVICE_PORT_{port_name}"), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        if std::ptr::eq(port, first) {
            values.insert(format!("{name}_PORT"), url.clone());
        }
        values.insert(prefix.clone(), url);
        values.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        values.insert(format!("{prefix}_PORT"), port.port.to_string());
        values.insert(format!("{prefix}_ADDR"), address.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: NodeAmounts = NodeAmounts { cpu_milli: 1, memory_bytes: 1, ephemeral_bytes: 1 };

    fn sources() -> Sources {
        let map = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        let secret = serde_json::from_value(json!({"data": {"key": "c2VjcmV0"}})).unwrap();
        let service =
            serde_json::from_value(json!({"metadata": {"name": "my-db", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.5", "ports": [{"name": "sql", "port": 5432}]}}))
            .unwrap();
        Sources {
            config_maps: BTreeMap::from([("cm".into(), Some(map))]),
            secrets: BTreeMap::from([("s".into(), Some(secret))]),
            services: vec![service],
        }
    }

    fn run(container: &serde_json::Value) -> Result<BTreeMap<String, String>, String> {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "shop"},
            "spec": {"containers": [container]}}))
            .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        Ok(environment(&pod, container, &sources(), "n1", NODE)?.into_iter().collect())
    }

    #[test]
    fn every_source() {
        let values = run(&json!({"name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cm"}}, {"secretRef": {"name": "s"}}],
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "value": "$(A)-$(key)-$(MY_DB_SERVICE_PORT)-$$(A)"},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "K", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": true}}}
            ]}))
        .unwrap();
        for (name, expected) in [
            ("P_a", Some("1")),
            ("key", Some("secret")),
            ("B", Some("x-secret-5432-$(A)")),
            ("N", Some("p")),
            ("K", Some("secret")),
            ("O", None),
            ("MY_DB_PORT", Some("tcp://10.96.0.5:5432")),
            ("MY_DB_PORT_5432_TCP_ADDR", Some("10.96.0.5")),
            ("MY_DB_SERVICE_PORT_SQL", Some("5432")),
        ] {
            assert_eq!(values.get(name).map(String::as_str), expected, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (from, part) in [
            (json!({"configMapKeyRef": {"name": "no", "key": "k"}}), "configmap \"no\" not found"),
            (
                json!({"configMapKeyRef": {"name": "cm", "key": "k"}}),
                "couldn't find key k in ConfigMap shop/cm",
            ),
            (json!({"secretKeyRef": {"name": "no", "key": "k"}}), "secret \"no\" not found"),
        ] {
            let error = run(&json!({"name": "c", "env": [{"name": "X", "valueFrom": from}]}));
            assert_eq!(error.unwrap_err(), part);
        }
    }
}
