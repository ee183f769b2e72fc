//! /livez, /readyz, /healthz, /version and /metrics.

use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::ApiServer;
use crate::answer;
use crate::http::body::Body;
use crate::request::Info;

/// Answers the paths that are about the server itself.
pub(crate) async fn answer(server: &ApiServer, info: &Info) -> Option<Response<Body>> {
    if info.method != Method::GET && info.method != Method::HEAD {
        return None;
    }
    let (first, rest) = match info.path.trim_start_matches('/').split_once('/') {
        Some((first, rest)) => (first, rest.trim_end_matches('/')),
        None => (info.path.trim_start_matches('/'), ""),
    };
    match (first, rest) {
        ("version", "") => Some(answer::json(&version())),
        ("metrics", "") => Some(answer::bytes(
            StatusCode::OK,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            server.metrics().render().as_bytes().to_vec(),
        )),
        ("livez" | "readyz" | "healthz", check) => Some(health(server, info, first, check).await),
        _ => None,
    }
}

async fn health(server: &ApiServer, info: &Info, endpoint: &str, only: &str) -> Response<Body> {
    let checks = [
        ("ping", true),
        ("store", server.store().revision().await.is_ok()),
        ("informer-sync", server.facts().are_there()),
        ("shutdown", endpoint != "readyz" || !server.draining().is_cancelled()),
    ];
    let excluded: Vec<&str> = info.query.all("exclude").collect();
    let asked = |name: &str| (only.is_empty() || only == name) && !excluded.contains(&name);
    let asked: Vec<_> = checks.into_iter().filter(|(name, _)| asked(name)).collect();
    if asked.is_empty() && !only.is_empty() {
        return answer::text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let well = asked.iter().all(|(_, well)| *well);
    if well && !info.query.has("verbose") {
        return answer::text(StatusCode::OK, "ok");
    }
    let line = |(name, well): &(&str, bool)| match well {
        true => format!("[+]{name} ok\n"),
        false => format!("[-]{name} failed: reason withheld\n"),
    };
    let lines: String = asked.iter().map(line).collect();
    let (code, verdict) = match well {
        true => (StatusCode::OK, "passed"),
        false => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    };
    answer::text(code, format!("{lines}{endpoint} check {verdict}\n"))
}

/// The version whose API this is.
fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": "v1.37.1+skep",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

/// The processor by Go's name.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
