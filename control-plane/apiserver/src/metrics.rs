//! What the server counts about itself, at /metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Instant;

use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::request::Info;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

/// The server's metrics, under upstream's names.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<Answered, Counter>,
    durations: Family<Request, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    watchers: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets),
            in_flight: Gauge::default(),
            watchers: Gauge::default(),
        };
        let mut registry = Registry::default();
        registry.register(
            "apiserver_request",
            "Requests answered, by verb, resource and code",
            metrics.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "How long requests took; watches count until their first byte",
            metrics.durations.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are not answered yet",
            metrics.in_flight.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Watches", metrics.watchers.clone());
        *metrics.registry.lock() = registry;
        metrics
    }
}

/// A gauge counts one up while this lives.
#[derive(Debug)]
pub(crate) struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request that is being answered.
pub(crate) struct Timer<'a> {
    metrics: &'a Metrics,
    request: Request,
    began: Instant,
    _held: Held,
}

impl Timer<'_> {
    pub(crate) fn finish(self, code: StatusCode) {
        let Request { verb, group, version, resource, subresource } = self.request.clone();
        let code = code.as_u16();
        let answered = Answered { verb, group, version, resource, subresource, code };
        self.metrics.requests.get_or_create(&answered).inc();
        let seconds = self.began.elapsed().as_secs_f64();
        self.metrics.durations.get_or_create(&self.request).observe(seconds);
    }
}

impl Metrics {
    pub(crate) fn request_began(&self, info: &Info) -> Timer<'_> {
        let request = match &info.resource {
            Some(path) => Request {
                verb: path.verb.as_str().to_ascii_uppercase(),
                group: path.group.clone(),
                version: path.version.clone(),
                resource: path.resource.clone(),
                subresource: path.subresource.clone(),
            },
            None => Request {
                verb: info.method.to_string(),
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource: String::new(),
            },
        };
        Timer { metrics: self, request, began: Instant::now(), _held: Held::new(&self.in_flight) }
    }

    /// One watch more, until the answer is dropped.
    pub(crate) fn watch_began(&self) -> Held {
        Held::new(&self.watchers)
    }

    /// The exposition format.
    pub(crate) fn render(&self) -> Arc<str> {
        let mut out = String::new();
        match text::encode(&mut out, &self.registry.lock()) {
            Ok(()) => out.into(),
            Err(error) => format!("# {error}\n").into(),
        }
    }
}
