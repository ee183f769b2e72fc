//! The proxies: to a kubelet, to a port of a pod, to an endpoint of a Service.

use http::Method;
use http::header::UPGRADE;
use rand::RngExt;
use serde_json::Value;
use skep_api::Object;
use skep_api::status::Status;
use skep_store::Range;

use super::{Destination, kubelet};
use crate::call::Call;
use crate::objects::{Objects, store_error, text};

/// `[SCHEME:]NAME[:PORT]`, the way names are written in proxy paths.
#[derive(Debug)]
struct Target<'a> {
    tls: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts.as_slice() {
            [name] => ("", *name, ""),
            [name, port] => ("", *name, *port),
            [scheme, name, port] => (*scheme, *name, *port),
            _ => return Err(Status::bad_request(format!("invalid proxy request {text:?}"))),
        };
        match scheme {
            "" | "http" => Ok(Self { tls: false, name, port }),
            "https" => Ok(Self { tls: true, name, port }),
            _ => Err(Status::bad_request(format!("invalid proxy request {text:?}"))),
        }
    }
}

pub(super) async fn node(call: &Call) -> Result<Destination, Status> {
    let target = Target::parse(call.name())?;
    let node = call.objects()?.find("", target.name).await?.object;
    let mut destination = kubelet::of_node(&node, path(call))?;
    redirect(&mut destination, &target)?;
    Ok(destination)
}

/// To the port that is named; a kubelet's own speaks TLS whether the request says so or not.
fn redirect(destination: &mut Destination, target: &Target<'_>) -> Result<(), Status> {
    if !target.port.is_empty() {
        let port = number(target.port)?;
        destination.tls = target.tls || port == destination.port;
        destination.port = port;
    }
    Ok(())
}

pub(super) async fn pod(call: &Call) -> Result<Destination, Status> {
    let target = Target::parse(call.name())?;
    let pod = call.objects()?.find(call.namespace(), target.name).await?.object;
    let host = text(&pod, "/status/podIP");
    if host.is_empty() {
        return Err(Status::unavailable(format!("pod {} has no address yet", target.name)));
    }
    let port = match target.port {
        "" => first_port(&pod).unwrap_or(if target.tls { 443 } else { 80 }),
        port => number(port)?,
    };
    Ok(Destination { host: host.to_owned(), port, tls: target.tls, path: path(call) })
}

fn first_port(pod: &Object) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers.filter_map(|container| container["ports"].as_array()).flatten();
    let port = ports.find_map(|port| port["containerPort"].as_u64())?;
    u16::try_from(port).ok()
}

pub(super) async fn service(call: &Call) -> Result<Destination, Status> {
    let target = Target::parse(call.name())?;
    let service = call.objects()?.find(call.namespace(), target.name).await?.object;
    let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let port = match (target.port, ports) {
        ("", [only]) => Some(only),
        ("", _) => ports.iter().find(|port| text(port, "/name").is_empty()),
        (wanted, _) => ports.iter().find(|port| {
            text(port, "/name") == wanted
                || port["port"].as_u64().is_some_and(|p| p.to_string() == wanted)
        }),
    };
    let none =
        || Status::unavailable(format!("no endpoints available for service {:?}", target.name));
    let name = text(port.ok_or_else(none)?, "/name");
    let endpoints = endpoints(call, target.name, name).await?;
    let (host, port) = match endpoints.len() {
        0 => return Err(none()),
        count => endpoints[rand::rng().random_range(..count)].clone(),
    };
    Ok(Destination { host, port, tls: target.tls, path: path(call) })
}

/// The ready endpoints behind one port of a Service.
async fn endpoints(call: &Call, service: &str, port: &str) -> Result<Vec<(String, u16)>, Status> {
    let slices = Objects::named(&call.server, "discovery.k8s.io", "v1", "endpointslices");
    let range = Range::prefix(slices.prefix(call.namespace()));
    let mut found = Vec::new();
    for kv in slices.store.range(range).await.map_err(store_error)?.kvs {
        let slice = slices.decode(&kv.value, kv.mod_revision)?;
        if slice["metadata"]["labels"]["kubernetes.io/service-name"] != service {
            continue;
        }
        let ports = slice["ports"].as_array().into_iter().flatten();
        let number = ports
            .filter(|known| text(known, "/name") == port)
            .find_map(|known| u16::try_from(known["port"].as_u64()?).ok());
        let Some(number) = number else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] != false {
                let addresses = endpoint["addresses"].as_array().into_iter().flatten();
                found.extend(addresses.filter_map(Value::as_str).map(|a| (a.to_owned(), number)));
            }
        }
    }
    Ok(found)
}

fn number(port: &str) -> Result<u16, Status> {
    port.parse().map_err(|_| Status::bad_request(format!("invalid port {port:?}")))
}

/// Where to read the proxied root: a page at a path without the last slash would have its relative links
/// beside the proxy's path, not below it.
pub(super) fn root_of(call: &Call) -> Option<String> {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    let upgrades = call.headers.contains_key(UPGRADE);
    let is_root = call.path.rest.is_empty() && !call.raw_path.ends_with('/');
    (reads && !upgrades && is_root).then(|| format!("{}/{}", call.raw_path, query(call)))
}

fn query(call: &Call) -> String {
    call.raw_query.as_deref().map(|query| format!("?{query}")).unwrap_or_default()
}

/// What of the request's path is the destination's.
fn path(call: &Call) -> String {
    format!("/{}{}", call.path.rest, query(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubelets_own_port_is_asked_over_tls() {
        for (name, expected) in [
            ("n1", (10250, true)),
            ("n1:10250", (10250, true)),
            ("n1:8080", (8080, false)),
            ("https:n1:8443", (8443, true)),
        ] {
            let mut kubelet = Destination {
                host: "192.0.2.1".into(),
                port: 10250,
                tls: true,
                path: "/pods".into(),
            };
            let target = Target::parse(name).expect("a target");
            assert!(redirect(&mut kubelet, &target).is_ok());
            assert_eq!((kubelet.port, kubelet.tls), expected, "{name}");
        }
    }

    #[test]
    fn scheme_and_port_are_optional() {
        let cases = [
            ("web", Some((false, "web", ""))),
            ("web:8080", Some((false, "web", "8080"))),
            ("https:web:https", Some((true, "web", "https"))),
            ("http:web:", Some((false, "web", ""))),
            ("ftp:web:21", None),
            ("a:b:c:d", None),
        ];
        for (text, expected) in cases {
            let found = Target::parse(text).ok().map(|t| (t.tls, t.name, t.port));
            assert_eq!(found, expected, "{text}");
        }
    }
}
