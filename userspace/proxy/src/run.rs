//! The proxy's edge: watches the API, hands what it says to [`State`], and lets that write.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use skep_bpf::Datapath;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::health::{self, Health};
use crate::metrics::{self, Metrics};
use crate::notices::{self, Notice};
use crate::objects::{EndpointSlice, Node, Object, Service, ServiceCidr};
use crate::service::PROXY_NAME_LABEL;
use crate::state::{State, Surroundings};
use crate::watch::{self, Selection};

/// Marks the EndpointSlices of a headless Service.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// How often gone backends are looked at and the node's addresses read.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How often the plugin's file is looked at for pods with host ports.
const HOST_PORTS: Duration = Duration::from_millis(250);
/// Events that are taken in before the tables are written: objects as they were decoded, much larger than
/// what is kept of them.
pub(crate) const BATCH: usize = 128;

/// What happens around the proxy.
#[derive(Debug)]
pub(crate) enum Event {
    Service(watch::Event<Service>),
    Slice(watch::Event<EndpointSlice>),
    Node(watch::Event<Node>),
    Cidr(watch::Event<ServiceCidr>),
    /// The node's addresses, devices or routes are other ones.
    Surroundings(Surroundings),
}

/// Runs the proxy until `shutdown`; the tables serve on after it.
pub async fn run(
    config: Config,
    datapath: Arc<Datapath>,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (events, received) = mpsc::channel(BATCH);
    follow_api(&config, &client, &events);
    spawn(&client, Selection::default(), &events, Event::Cidr);
    let notices = notices::reporter(client, &config.node_name);
    serve(config, datapath, None, notices, received, shutdown).await
}

/// Begins to follow what the proxy has to know; ends with the receiver of `events`.
pub(crate) fn follow_api(config: &Config, client: &Client, events: &mpsc::Sender<Event>) {
    let fields = format!("metadata.name={}", config.node_name);
    let own = Selection { fields, ..Selection::default() };
    spawn(client, services(), events, Event::Service);
    spawn(client, slices(), events, Event::Slice);
    spawn(client, own, events, Event::Node);
}

/// The Services that concern a node: neither headless ones nor those of other proxies. As upstream's asks.
pub(crate) fn services() -> Selection {
    Selection { labels: format!("!{PROXY_NAME_LABEL}"), fields: "spec.clusterIP!=None".to_owned() }
}

/// The EndpointSlices that concern a node. Those of other proxies' Services are among them: when such a
/// Service becomes ours, its endpoints are there.
pub(crate) fn slices() -> Selection {
    Selection { labels: format!("!{HEADLESS_LABEL}"), ..Selection::default() }
}

fn spawn<K: Object>(
    client: &Client,
    selection: Selection,
    events: &mpsc::Sender<Event>,
    wrap: fn(watch::Event<K>) -> Event,
) {
    tokio::spawn(watch::follow(client.clone(), selection, events.clone(), wrap));
}

/// Keeps the tables as the events say, until `shutdown`. `surroundings`: the pod network is somebody
/// else's.
pub(crate) async fn serve(
    config: Config,
    datapath: Arc<Datapath>,
    surroundings: Option<Surroundings>,
    notices: mpsc::Sender<Notice>,
    mut events: mpsc::Receiver<Event>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    let metrics = Arc::new(Metrics::new(Some(datapath.clone())));
    let healthz = async {
        match config.healthz {
            Some(address) => {
                health::serve(address, health.clone(), metrics.clone(), shutdown.clone()).await
            }
            None => std::future::pending().await,
        }
    };
    let metrics_server = async {
        match config.metrics {
            Some(address) => metrics::serve(address, metrics.clone(), shutdown.clone()).await,
            None => std::future::pending().await,
        }
    };
    let mut state = State::new(
        config.clone(),
        datapath,
        surroundings,
        health.clone(),
        metrics.clone(),
        notices,
    )?;
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut host_ports = tokio::time::interval(HOST_PORTS);
    let mut batch = Vec::with_capacity(BATCH);
    let work = async {
        loop {
            tokio::select! {
                count = events.recv_many(&mut batch, BATCH) => {
                    anyhow::ensure!(count > 0, "nobody follows the API any more");
                    batch.drain(..).for_each(|event| state.take(event));
                }
                _ = housekeeping.tick() => state.keep_house(),
                _ = host_ports.tick() => {
                    if !state.read_host_ports() {
                        continue;
                    }
                }
            }
            state.write();
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        outcome = healthz => outcome,
        outcome = metrics_server => outcome,
        outcome = work => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headless_services_and_those_of_other_proxies_are_not_even_asked_for() {
        let (services, slices) = (services(), slices());
        assert_eq!(services.labels, "!service.kubernetes.io/service-proxy-name");
        assert_eq!(services.fields, "spec.clusterIP!=None");
        assert_eq!(slices.labels, "!service.kubernetes.io/headless");
        assert_eq!(slices.fields, "");
    }
}
