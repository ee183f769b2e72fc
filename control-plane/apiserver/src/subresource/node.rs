//! Requests that end at a node, a pod or a Service: logs, exec, port forwarding and the proxies. They are
//! passed on byte for byte, upgraded connections (WebSocket, SPDY) included.

mod forward;
mod kubelet;
mod proxy;

use std::sync::Arc;

use skep_api::status::Status;
use skep_auth::authn::UserInfo;
use skep_auth::authz::{Attributes, Resource, Target};

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::request::Verb;

/// How this server reaches kubelets, and HTTPS servers in pods.
#[derive(Debug)]
pub(crate) struct Kubelets {
    tls: Arc<rustls::ClientConfig>,
}

impl Kubelets {
    /// `tls` shows the server's client certificate and trusts the authority of the kubelets'.
    pub(crate) fn new(mut tls: rustls::ClientConfig) -> Self {
        // Upgrades are HTTP/1.1's.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(tls) }
    }
}

/// Where a request goes on.
struct Destination {
    host: String,
    port: u16,
    tls: bool,
    /// With the query.
    path: String,
}

pub(super) async fn connect(call: Call) -> Answer {
    if call.subresource() == Some("proxy")
        && let Some(location) = proxy::root_of(&call)
    {
        return answer::moved(&location);
    }
    let destination = match (call.resource.plural.as_ref(), call.subresource()) {
        ("pods", Some("log")) => kubelet::log(&call).await?,
        ("pods", Some(stream @ ("exec" | "attach" | "portforward"))) => {
            may_create(&call, stream).await?;
            kubelet::stream(&call, stream).await?
        }
        ("pods", Some("proxy")) => proxy::pod(&call).await?,
        ("services", Some("proxy")) => proxy::service(&call).await?,
        ("nodes", Some("proxy")) => proxy::node(&call).await?,
        _ => return Err(Status::no_such_path()),
    };
    forward::forward(call, destination).await
}

/// WebSockets begin with a GET, but what they do is not reading.
async fn may_create(call: &Call, subresource: &str) -> Result<(), Status> {
    if call.path.verb != Verb::Get {
        return Ok(());
    }
    let user: &UserInfo = &call.user;
    let resource = Resource {
        version: "v1",
        resource: "pods",
        subresource,
        namespace: call.namespace(),
        name: call.name(),
        ..Resource::default()
    };
    let attributes = Attributes { user, verb: "create", target: Target::Resource(resource) };
    call.server.facts().authorize(&call.server, &attributes).await
}
