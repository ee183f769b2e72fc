//! The paths of a kubelet.

/// A pod as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodPath {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Pods,
    Logs { pod: PodPath, container: String },
    Exec { pod: PodPath, container: String },
    Attach { pod: PodPath, container: String },
    Run { pod: PodPath, container: String },
    PortForward { pod: PodPath },
    StatsSummary,
    ResourceMetrics,
    Metrics,
}

impl Route {
    /// None for a path that means nothing here.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let pod = |namespace: &str, name: &str, uid: Option<&str>| PodPath {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
        };
        Some(match parts.as_slice() {
            ["healthz" | "livez" | "readyz"] | ["healthz", "ping" | "syncloop" | "log"] => {
                Self::Health
            }
            ["pods" | "runningpods"] => Self::Pods,
            ["stats", "summary"] => Self::StatsSummary,
            ["metrics", "resource"] => Self::ResourceMetrics,
            ["metrics"] => Self::Metrics,
            ["portForward", namespace, name] => {
                Self::PortForward { pod: pod(namespace, name, None) }
            }
            ["portForward", namespace, name, uid] => {
                Self::PortForward { pod: pod(namespace, name, Some(uid)) }
            }
            [kind, namespace, name, rest @ ..] => {
                let (uid, container) = match rest {
                    [container] => (None, (*container).to_owned()),
                    [uid, container] if *kind != "containerLogs" => {
                        (Some(*uid), (*container).to_owned())
                    }
                    _ => return None,
                };
                let pod = pod(namespace, name, uid);
                match *kind {
                    "containerLogs" => Self::Logs { pod, container },
                    "exec" => Self::Exec { pod, container },
                    "attach" => Self::Attach { pod, container },
                    "run" => Self::Run { pod, container },
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

/// The parts of a node's rights that open a path, best first.
pub(super) fn subresources(path: &str) -> Vec<&'static str> {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "stats" => vec!["stats"],
        "metrics" => vec!["metrics"],
        "logs" => vec!["log"],
        "pods" | "runningpods" => vec!["pods", "proxy"],
        "healthz" | "livez" | "readyz" => vec!["healthz", "proxy"],
        _ => vec!["proxy"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let pod = |uid: Option<&str>| PodPath {
            namespace: "ns".into(),
            name: "p".into(),
            uid: uid.map(str::to_owned),
        };
        let container = || "c".to_owned();
        for (path, expected) in [
            ("/healthz", Some(Route::Health)),
            ("/pods/", Some(Route::Pods)),
            ("/containerLogs/ns/p/c", Some(Route::Logs { pod: pod(None), container: container() })),
            ("/exec/ns/p/c", Some(Route::Exec { pod: pod(None), container: container() })),
            ("/exec/ns/p/u/c", Some(Route::Exec { pod: pod(Some("u")), container: container() })),
            ("/portForward/ns/p", Some(Route::PortForward { pod: pod(None) })),
            ("/containerLogs/ns/p", None),
            ("/containerLogs/ns/p/u/c", None),
            ("/color", None),
            ("/", None),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
    }
}
