//! Where names come from: the agent's file or the API.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use skep_bpf::Tables;
use skep_proxy::names::Names;

use crate::Flags;
use crate::filter::is_called;
use crate::services;

/// Names for numbers and addresses; none at all with `--numeric`.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    names: Names,
}

impl Resolver {
    /// The Service port with this number; the number itself where it has no name.
    pub(crate) fn service(&self, id: u32) -> String {
        match (self.names.services.get(&id), id) {
            (Some(name), _) => name.clone(),
            (None, 0) => "-".into(),
            (None, id) => id.to_string(),
        }
    }

    /// The addresses of the pods that a person calls so.
    pub(crate) fn pods_called(&self, wanted: &str) -> impl Iterator<Item = IpAddr> {
        let called = |(_, name): &(&IpAddr, &String)| is_called(name, wanted);
        self.names.pods.iter().filter(called).map(|(address, _)| *address)
    }

    /// The pod at this address.
    pub(crate) fn pod(&self, address: IpAddr) -> Option<&str> {
        self.names.pods.get(&address).map(String::as_str)
    }

    /// Names for a test.
    #[cfg(test)]
    pub(crate) fn of(services: &[(u32, &str)], pods: &[(&str, &str)]) -> Self {
        let pod = |(address, name): &(&str, &str)| {
            (address.parse().expect("an address"), (*name).to_owned())
        };
        let services = services.iter().map(|(id, name)| (*id, (*name).to_owned())).collect();
        Self { names: Names { services, pods: pods.iter().map(pod).collect() } }
    }

    /// The pod and port, or the address and port.
    pub(crate) fn socket(&self, address: SocketAddr) -> String {
        match self.pod(address.ip()) {
            Some(pod) => format!("{pod}:{}", address.port()),
            None => address.to_string(),
        }
    }
}

/// Loads the names that the flags ask for.
pub(crate) async fn load(flags: &Flags) -> anyhow::Result<Resolver> {
    if flags.numeric {
        return Ok(Resolver::default());
    }
    let names = match &flags.kubeconfig {
        Some(file) => from_api(file, &Tables::open(&flags.bpf_dir)?).await?,
        None => Names::read(&flags.run_dir)
            .with_context(|| format!("--run-dir: cannot read {}", flags.run_dir.display()))?,
    };
    Ok(Resolver { names })
}

/// The names as the agent's file has them now; `old` where they come from elsewhere or cannot be read.
pub(crate) fn refresh(old: Resolver, flags: &Flags) -> Resolver {
    if flags.numeric || flags.kubeconfig.is_some() {
        return old;
    }
    Names::read(&flags.run_dir).map_or(old, |names| Resolver { names })
}

/// A client of the API server that a kubeconfig names.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("--kubeconfig: cannot read {}", kubeconfig.display()))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The API knows no ids: they are found by the Services' addresses.
async fn from_api(kubeconfig: &Path, tables: &Tables) -> anyhow::Result<Names> {
    let client = client(kubeconfig).await?;
    let everything = ListParams::default();
    let services = Api::<Service>::all(client.clone()).list(&everything).await?;
    let pods = Api::<Pod>::all(client).list(&everything).await?;
    let mut names = Names::default();
    for pod in pods {
        let name = full_name(&pod.metadata);
        let addresses =
            pod.status.into_iter().flat_map(|status| status.pod_ips.unwrap_or_default());
        for address in addresses.filter_map(|address| address.ip.parse().ok()) {
            names.pods.insert(address, name.clone());
        }
    }
    let ids = services::ids(tables)?;
    for service in services {
        let name = full_name(&service.metadata);
        let Some(spec) = service.spec else { continue };
        for port in spec.ports.unwrap_or_default() {
            let Ok(number) = u16::try_from(port.port) else { continue };
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let port_name = port.name.map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
            for address in spec.cluster_ips.iter().flatten().filter_map(|ip| ip.parse().ok()) {
                let key = (SocketAddr::new(address, number), protocol.to_owned());
                names.services.extend(ids.get(&key).map(|id| (*id, port_name.clone())));
            }
        }
    }
    Ok(names)
}

fn full_name(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> String {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default())
}
