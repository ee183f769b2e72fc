//! What the proxy counts about itself, under kube-proxy's names where it counts the same.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hyper::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use skep_bpf::Datapath;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::frontend::Family as IpFamily;
use crate::http::{self, Answer};

mod datapath;

use datapath::{DatapathCollector, Written};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFamily {
    ip_family: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPolicy {
    traffic_policy: &'static str,
    ip_family: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCode {
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;
type Histograms = Family<OfFamily, Histogram, fn() -> Histogram>;

/// The proxy's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    sync_seconds: Histograms,
    programming_seconds: Histograms,
    last_sync: Family<OfFamily, Seconds>,
    last_queued: Family<OfFamily, Seconds>,
    endpoint_changes: Counter,
    endpoint_changes_pending: Gauge,
    service_changes: Counter,
    service_changes_pending: Gauge,
    no_local_endpoints: Family<OfPolicy, Gauge>,
    healthz: Family<OfCode, Counter>,
    livez: Family<OfCode, Counter>,
    refused: Family<OfReason, Counter>,
    written: Arc<Written>,
}

impl Default for Metrics {
    /// Without a datapath.
    fn default() -> Self {
        Self::new(None)
    }
}

impl Metrics {
    /// Those of the proxy, and of the datapath that it writes to.
    pub fn new(datapath: Option<Arc<Datapath>>) -> Self {
        let sync: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let programming: fn() -> Histogram = || Histogram::new(programming_buckets());
        let metrics = Self {
            registry: Mutex::default(),
            sync_seconds: Family::new_with_constructor(sync),
            programming_seconds: Family::new_with_constructor(programming),
            last_sync: Family::default(),
            last_queued: Family::default(),
            endpoint_changes: Counter::default(),
            endpoint_changes_pending: Gauge::default(),
            service_changes: Counter::default(),
            service_changes_pending: Gauge::default(),
            no_local_endpoints: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            refused: Family::default(),
            written: Arc::default(),
        };
        let mut all = metrics.registered();
        let written = metrics.written.clone();
        all.register_collector(Box::new(DatapathCollector { datapath, written }));
        *metrics.lock() = all;
        metrics
    }

    fn registered(&self) -> Registry {
        let mut all = Registry::default();
        let upstream = all.sub_registry_with_prefix("kubeproxy");
        upstream.register(
            "sync_proxy_rules_duration_seconds",
            "How long writing changes to the tables takes",
            self.sync_seconds.clone(),
        );
        upstream.register(
            "network_programming_duration_seconds",
            "From the change of a pod or Service to the tables",
            self.programming_seconds.clone(),
        );
        upstream.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When the tables were last brought to what the API says",
            self.last_sync.clone(),
        );
        upstream.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a change last came",
            self.last_queued.clone(),
        );
        upstream.register(
            "sync_proxy_rules_endpoint_changes",
            "Changes of endpoints",
            self.endpoint_changes.clone(),
        );
        upstream.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Changes of endpoints that are not in the tables",
            self.endpoint_changes_pending.clone(),
        );
        upstream.register(
            "sync_proxy_rules_service_changes",
            "Changes of Services",
            self.service_changes.clone(),
        );
        upstream.register(
            "sync_proxy_rules_service_changes_pending",
            "Changes of Services that are not in the tables",
            self.service_changes_pending.clone(),
        );
        upstream.register(
            "sync_proxy_rules_no_local_endpoints_total",
            "Service ports with a Local policy and endpoints, none of them on this node",
            self.no_local_endpoints.clone(),
        );
        upstream.register("proxy_healthz", "Answers of /healthz", self.healthz.clone());
        upstream.register("proxy_livez", "Answers of /livez", self.livez.clone());
        let own = all.sub_registry_with_prefix("skep_proxy");
        own.register(
            "refused",
            "Parts of Services that are not served, by reason",
            self.refused.clone(),
        );
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        // A registry is only ever read after it was made.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes have come.
    pub fn queued(&self, services: u64, endpoints: u64, now: SystemTime) {
        self.service_changes.inc_by(services);
        self.endpoint_changes.inc_by(endpoints);
        self.service_changes_pending.inc_by(services.cast_signed());
        self.endpoint_changes_pending.inc_by(endpoints.cast_signed());
        for family in FAMILIES {
            self.last_queued.get_or_create(&family).set(seconds_of(now));
        }
    }

    /// All changes are in the tables. `triggers`: when what led to them happened.
    pub fn synced(&self, took: Duration, now: SystemTime, triggers: &[SystemTime]) {
        self.service_changes_pending.set(0);
        self.endpoint_changes_pending.set(0);
        for family in FAMILIES {
            self.sync_seconds.get_or_create(&family).observe(took.as_secs_f64());
            self.last_sync.get_or_create(&family).set(seconds_of(now));
            let programming = self.programming_seconds.get_or_create(&family);
            for trigger in triggers.iter().filter_map(|trigger| now.duration_since(*trigger).ok()) {
                programming.observe(trigger.as_secs_f64());
            }
        }
    }

    /// One Service port more (or less) has endpoints, but none that its policy allows.
    pub fn count_no_local_endpoints(&self, internal: bool, family: IpFamily, by: i64) {
        let traffic_policy = if internal { "internal" } else { "external" };
        let ip_family = match family {
            IpFamily::V4 => "IPv4",
            IpFamily::V6 => "IPv6",
        };
        self.no_local_endpoints.get_or_create(&OfPolicy { traffic_policy, ip_family }).inc_by(by);
    }

    /// A part of a Service is not served.
    pub fn count_refused(&self, reason: &'static str) {
        self.refused.get_or_create(&OfReason { reason }).inc();
    }

    /// How full a table is that the proxy writes.
    pub fn set_table(&self, table: &'static str, used: u64, size: u64) {
        self.written.set(table, used, size);
    }

    /// An answer of the health server.
    pub fn count_health(&self, path: &str, status: StatusCode) {
        let answers = if path == "/livez" { &self.livez } else { &self.healthz };
        answers.get_or_create(&OfCode { code: status.as_u16() }).inc();
    }

    fn answer(&self, path: &str) -> Answer {
        match path {
            "/metrics" => {
                let mut body = String::new();
                if text::encode(&mut body, &self.lock()).is_err() {
                    let _ = writeln!(body, "# the metrics cannot be written");
                }
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                Answer { content_type, ..Answer::text(body) }
            }
            "/healthz" => Answer::text("ok".into()),
            "/proxyMode" => Answer::text("ebpf".into()),
            _ => Answer::not_found(),
        }
    }
}

/// One table serves both, so both are brought up to date together.
const FAMILIES: [OfFamily; 2] = [OfFamily { ip_family: "IPv4" }, OfFamily { ip_family: "IPv6" }];

fn seconds_of(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Upstream's.
fn programming_buckets() -> impl Iterator<Item = f64> {
    let quarters = [0.25, 0.5].into_iter();
    let seconds = (1..60).map(f64::from);
    let minutes = (60..120).step_by(5).chain((120..=300).step_by(30)).map(f64::from);
    quarters.chain(seconds).chain(minutes)
}

/// Serves the metrics until `shutdown`.
///
/// # Errors
/// When nobody can listen there.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--metrics-bind-address: cannot listen on {address}"))?;
    http::serve(listener, move |path: &str| metrics.answer(path), shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashboards_find_upstreams_names() {
        let metrics = Metrics::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        metrics.queued(1, 2, now);
        metrics.synced(Duration::from_millis(3), now, &[now - Duration::from_secs(2)]);
        metrics.count_no_local_endpoints(false, IpFamily::V4, 1);
        metrics.count_health("/healthz", StatusCode::OK);
        metrics.count_refused("port-taken");
        let body = metrics.answer("/metrics").body;
        for line in [
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 1000.0",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv6\"} 1000.0",
            "kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 2.0",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 2",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total\
             {traffic_policy=\"external\",ip_family=\"IPv4\"} 1",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "skep_proxy_refused_total{reason=\"port-taken\"} 1",
        ] {
            assert!(body.contains(line), "no {line} in\n{body}");
        }
        assert_eq!(metrics.answer("/proxyMode").body, "ebpf");
        assert_eq!(metrics.answer("/other").status, StatusCode::NOT_FOUND);
    }
}
