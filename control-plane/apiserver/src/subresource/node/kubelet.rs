//! Where on which kubelet a pod's logs and streams are.

use form_urlencoded::Serializer;
use serde_json::Value;
use skep_api::Object;
use skep_api::status::Status;

use super::Destination;
use crate::call::Call;
use crate::objects::{Objects, text};

const KUBELET_PORT: u64 = 10250;
/// The streams of exec and attach, and the kubelet's names for them.
const STREAMS: [(&str, &str); 4] =
    [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
/// The options of a log request that the kubelet reads.
const LOG_OPTIONS: [&str; 8] = [
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
];

pub(super) async fn log(call: &Call) -> Result<Destination, Status> {
    let pod = call.objects()?.find(call.namespace(), call.name()).await?.object;
    let container = container(call, &pod)?;
    let path = format!("/containerLogs/{}/{}/{container}", call.namespace(), call.name());
    let options = LOG_OPTIONS.into_iter();
    let options =
        options.flat_map(|option| call.query.all(option).map(move |value| (option, value)));
    on_node_of(call, &pod, &path, query(options)).await
}

pub(super) async fn stream(call: &Call, kind: &str) -> Result<Destination, Status> {
    let pod = call.objects()?.find(call.namespace(), call.name()).await?.object;
    if kind == "portforward" {
        let path = format!("/portForward/{}/{}", call.namespace(), call.name());
        let ports = call.query.all("ports").map(|port| ("port", port));
        return on_node_of(call, &pod, &path, query(ports)).await;
    }
    let container = container(call, &pod)?;
    let path = format!("/{kind}/{}/{}/{container}", call.namespace(), call.name());
    let streams = STREAMS.into_iter().filter(|(option, _)| call.query.flag(option));
    let streams = streams.map(|(_, kubelets)| (kubelets, "1"));
    let command = call.query.all("command").map(|word| ("command", word));
    on_node_of(call, &pod, &path, query(streams.chain(command))).await
}

fn query<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The container asked for; the only one where none was.
fn container(call: &Call, pod: &Object) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|container| text(container, "/name").to_owned()).collect()
    };
    let own = names("containers");
    let others = [names("initContainers"), names("ephemeralContainers")].concat();
    let asked = call.query.get("container");
    if own.iter().chain(&others).any(|name| name == asked) {
        return Ok(asked.to_owned());
    }
    match (asked, own.as_slice()) {
        ("", [only]) => Ok(only.clone()),
        ("", _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            call.name(),
            own.join(" ")
        ))),
        _ => Err(Status::bad_request(format!(
            "container {asked} is not valid for pod {}",
            call.name()
        ))),
    }
}

async fn on_node_of(
    call: &Call,
    pod: &Object,
    path: &str,
    query: String,
) -> Result<Destination, Status> {
    let name = text(pod, "/spec/nodeName");
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "pod {} does not have a host assigned",
            call.name()
        )));
    }
    let node = Objects::named(&call.server, "", "v1", "nodes").find("", name).await?.object;
    let mark = if query.is_empty() { "" } else { "?" };
    of_node(&node, format!("{path}{mark}{query}"))
}

/// A path on a node's kubelet.
pub(super) fn of_node(node: &Object, path: String) -> Result<Destination, Status> {
    let addresses = node["status"]["addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_type = |kind: &str| addresses.iter().find(|address| address["type"] == kind);
    let address = ["InternalIP", "ExternalIP", "Hostname"].into_iter().find_map(of_type);
    let host = address.and_then(|address| address["address"].as_str()).ok_or_else(|| {
        Status::internal(format!(
            "no preferred addresses found for node {:?}",
            text(node, "/metadata/name")
        ))
    })?;
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.filter(|port| *port != 0).unwrap_or(KUBELET_PORT);
    let port = u16::try_from(port).map_err(Status::internal)?;
    Ok(Destination { host: host.to_owned(), port, tls: true, path })
}
