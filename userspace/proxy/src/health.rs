//! Whether the proxy keeps up, as kube-proxy tells it: /healthz, for load balancers, is about the node as
//! well; /livez is about the proxy alone.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use hyper::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Answer};
use crate::metrics::Metrics;
use crate::objects::{Node, Object};

/// How long a change may wait before the proxy counts as stuck; upstream: two sync periods.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The autoscaler is about to remove a node with this taint.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What is known about the proxy's health.
#[derive(Debug, Default)]
pub struct Health(Mutex<Known>);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// When the tables were last as the API says.
    updated: Option<SystemTime>,
    /// Since when a change waits: by the clock that nobody sets.
    waiting: Option<Instant>,
    /// Whether the node is one that traffic should come to; unknown before it was seen.
    eligible: bool,
}

impl Known {
    fn is_healthy(self, now: Instant) -> bool {
        let is_late = |since| now.saturating_duration_since(since) >= TIMEOUT;
        self.updated.is_none() || !self.waiting.is_some_and(is_late)
    }
}

impl Health {
    fn change(&self, change: impl FnOnce(&mut Known)) {
        // Whatever a thread that died left is a state.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn known(&self) -> Known {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change has come and is not in the tables yet.
    pub fn set_waiting(&self, now: Instant) {
        self.change(|known| known.waiting = known.waiting.or(Some(now)));
    }

    /// The tables are as the API says.
    pub fn set_updated(&self, now: SystemTime) {
        self.change(|known| (known.updated, known.waiting) = (Some(now), None));
    }

    /// The node's object, or that it is gone.
    pub fn set_node(&self, node: Option<&Node>) {
        let eligible = node.is_some_and(|node| {
            let mut taints = node.spec.iter().flat_map(|spec| &spec.taints);
            !node.meta().is_being_deleted() && taints.all(|taint| taint.key != TO_BE_DELETED)
        });
        self.change(|known| known.eligible = eligible);
    }

    /// Whether changes reach the tables in time.
    pub fn is_healthy(&self, now: Instant) -> bool {
        self.known().is_healthy(now)
    }

    /// Upstream's format. `None`: there is no such path.
    fn answer(&self, path: &str, now: SystemTime, steady: Instant) -> Option<Answer> {
        let known = self.known();
        let healthy = known.is_healthy(steady);
        let good = match path {
            "/healthz" => healthy && known.eligible,
            "/livez" => healthy,
            _ => return None,
        };
        let updated = known.updated.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut body = json!({
            "lastUpdated": go_time(if good { now } else { updated }),
            "currentTime": go_time(now),
            "healthy": healthy,
            "status": {},
        });
        if path == "/healthz" {
            body["nodeEligible"] = known.eligible.into();
        }
        if known.updated.is_some() {
            let status = json!({ "lastUpdated": go_time(updated), "healthy": healthy });
            body["status"] = json!({ "IPv4": status, "IPv6": status });
        }
        let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Some(Answer::json(code, &body))
    }
}

fn go_time(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).unwrap_or_default().to_string()
}

/// Serves the proxy's own health until `shutdown`.
///
/// # Errors
/// When nobody can listen there.
pub async fn serve(
    address: SocketAddr,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--healthz-bind-address: cannot listen on {address}"))?;
    let answer = move |path: &str| {
        let Some(answer) = health.answer(path, SystemTime::now(), Instant::now()) else {
            return Answer::not_found();
        };
        metrics.count_health(path, answer.status);
        answer
    };
    http::serve(listener, answer, shutdown).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Meta, NodeSpec, Taint};

    fn node(taint: &str) -> Node {
        let taints = vec![Taint { key: taint.into() }];
        let spec = Some(NodeSpec { taints, ..NodeSpec::default() });
        Node { metadata: Some(Meta::default()), spec, status: None }
    }

    #[test]
    fn the_codes_are_upstreams() {
        let (wall, start) = (SystemTime::UNIX_EPOCH, Instant::now());
        let late = start + TIMEOUT;
        let health = Health::default();
        let codes = |now| {
            let code = |path| health.answer(path, wall, now).map(|answer| answer.status.as_u16());
            [code("/healthz"), code("/livez"), code("/other")]
        };
        assert_eq!(codes(start), [Some(503), Some(200), None], "no node yet");
        health.set_node(Some(&node("other")));
        health.set_waiting(start);
        assert_eq!(codes(late), [Some(200), Some(200), None], "still starting");
        health.set_updated(wall);
        health.set_waiting(start);
        assert_eq!(codes(start), [Some(200), Some(200), None]);
        assert_eq!(codes(late), [Some(503), Some(503), None], "a change waits for too long");
        health.set_updated(wall);
        assert_eq!(codes(late + TIMEOUT), [Some(200), Some(200), None], "nothing waits");
        health.set_node(Some(&node(TO_BE_DELETED)));
        assert_eq!(codes(late), [Some(503), Some(200), None]);
        health.set_node(None);
        assert_eq!(codes(late), [Some(503), Some(200), None]);
    }

    #[test]
    fn a_node_that_balancers_leave_out_is_healthy() {
        // The label is for the controllers that make balancers. Upstream's proxy does not look at it, and a
        // balancer that asks in spite of it gets an answer about the node.
        let mut node = node("other");
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        let labels = [(label.to_owned(), String::new())].into();
        node.metadata = Some(Meta { labels, ..Meta::default() });
        let health = Health::default();
        health.set_node(Some(&node));
        let code = health
            .answer("/healthz", SystemTime::UNIX_EPOCH, Instant::now())
            .map(|answer| answer.status);
        assert_eq!(code, Some(StatusCode::OK));
    }

    #[test]
    fn a_clock_that_is_set_changes_nothing() {
        let (start, noon) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(43_200));
        let day = Duration::from_secs(86_400);
        let health = Health::default();
        health.set_node(Some(&node("other")));
        health.set_updated(noon);
        health.set_waiting(start);
        for (steady, code) in
            [(start, StatusCode::OK), (start + TIMEOUT, StatusCode::SERVICE_UNAVAILABLE)]
        {
            for wall in [noon, noon + day, SystemTime::UNIX_EPOCH] {
                let answer = health.answer("/healthz", wall, steady).expect("a path");
                assert_eq!(answer.status, code, "{wall:?}");
            }
        }
    }

    #[test]
    fn the_body_is_upstreams() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let health = Health::default();
        health.set_updated(now);
        let steady = Instant::now();
        let body = health.answer("/healthz", now, steady).expect("a path").body;
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["currentTime"], "1970-01-01T00:16:40Z");
        assert_eq!((&body["nodeEligible"], &body["healthy"]), (&json!(false), &json!(true)));
        assert_eq!(body["status"]["IPv4"]["healthy"], true);
        let live = health.answer("/livez", now, steady).expect("a path").body;
        assert!(!live.contains("nodeEligible"), "{live}");
    }
}
