//! An API server for the nodes of a world, skep's own, which can go away, come back, and forget its
//! history meanwhile.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use clap::Parser;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use skep_apiserver::{Config, Running, local_client};
use skep_auth::authn::UserInfo;
use skep_network::namespace::Namespace;
use skep_store::{EmbeddedStore, Options, Store};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{World, wait_for};

/// Services, where objects of the tests are.
pub const SERVICES: &str = "/api/v1/namespaces/default/services";
/// EndpointSlices, in the same place.
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const NODES: &str = "/api/v1/nodes";
/// Where the nodes reach it: the world's outside.
const ADDRESS: &str = "192.0.2.1:6443";

/// The flags of a server.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: skep_apiserver::Flags,
}

/// An API server that nodes reach without credentials.
pub struct Api {
    // Closed first: what comes in goes to the server.
    door: Option<Door>,
    server: Option<Server>,
    outside: Namespace,
    folder: PathBuf,
    runtime: Runtime,
}

impl Api {
    /// Starts a server outside of the world's nodes, with both of them as objects.
    pub fn start(world: &World) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = &mut tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        let file = Path::new("/run/netns").join(world.outside().namespace());
        let mut api = Self {
            door: None,
            server: None,
            outside: Namespace::open(&file).expect("the outside is there"),
            folder: world.folder().join("api"),
            runtime,
        };
        std::fs::create_dir_all(&api.folder).expect("the world's folder is writable");
        std::fs::write(api.kubeconfig(), kubeconfig()).expect("the world's folder is writable");
        api.start_server();
        for node in world.nodes() {
            let ranges = &node.pod_ranges;
            let object = json!({
                "metadata": { "name": node.name },
                "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
            });
            api.create(NODES, &object);
            let addresses = [node.address, node.address6]
                .map(|address| json!({ "type": "InternalIP", "address": address }));
            let status = json!({ "status": { "addresses": addresses } });
            api.merge(NODES, &format!("{}/status", node.name), &status);
        }
        api.come_back();
        api
    }

    /// How nodes reach it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Adds an object to a collection.
    pub fn create(&self, collection: &str, object: &Value) {
        self.ask("POST", collection, "application/json", object);
    }

    /// Changes an object by a JSON merge patch.
    pub fn merge(&self, collection: &str, name: &str, patch: &Value) {
        let path = format!("{collection}/{name}");
        self.ask("PATCH", &path, "application/merge-patch+json", patch);
    }

    /// Removes an object.
    pub fn delete(&self, collection: &str, name: &str) {
        self.ask("DELETE", &format!("{collection}/{name}"), "application/json", &json!({}));
    }

    /// Reads an object or a list.
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "application/json", &json!({}))
    }

    /// Asks it in memory: also while nodes do not reach it.
    fn ask(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", content_type).body(body.to_string().into());
        let request = request.expect("a request");
        let answer = self.runtime.block_on(self.server().client.request::<Value>(request));
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it was started")
    }

    /// Waits until the tables of every node are what a fresh start would write.
    pub fn await_verified(&self, world: &World) {
        for node in world.nodes() {
            let name = format!("node {} to agree with the API", node.name);
            wait_for(&name, || node.verify(&self.kubeconfig()));
        }
    }

    /// From now on nodes find nobody: their connections end, new ones are refused.
    pub fn go_away(&mut self) {
        let door = self.door.take().expect("it is there");
        door.closed.cancel();
        self.runtime.block_on(door.ended).expect("it does not panic");
    }

    /// Nodes reach it again.
    pub fn come_back(&mut self) {
        let listener = self.outside.run(|| TcpListener::bind(ADDRESS)).expect("entered");
        let listener = listener.expect("the port is free");
        listener.set_nonblocking(true).expect("a socket");
        let (client, closed) = (self.server().client.clone(), CancellationToken::new());
        let ended = self.runtime.spawn(answer(listener, client, closed.clone()));
        self.door = Some(Door { closed, ended });
    }

    /// Starts the server anew, while it is away, with nothing but what is alive: who asks for what came
    /// after what it knows is answered with 410.
    pub fn forget_history(&mut self) {
        assert!(self.door.is_none(), "it is still there");
        self.stop_server();
        // The server's last requests may still be on their way out.
        let store = wait_for("the store", || {
            let store = EmbeddedStore::open(&self.folder.join("store"), Options::default());
            store.map_err(|error| error.to_string())
        });
        self.runtime.block_on(async {
            let newest = store.revision().await.expect("it has one");
            store.compact(newest).await.expect("compacted");
        });
        drop(store);
        self.start_server();
    }

    fn start_server(&mut self) {
        let folder = self.folder.display().to_string();
        let range = crate::node::SERVICE_RANGES.join(",");
        let words = ["apiserver", "--data-dir", &folder, "--bind-address=127.0.0.1"];
        let more = ["--secure-port=0", "--service-cluster-ip-range", &range];
        let flags = Line::parse_from(words.iter().chain(&more)).flags;
        let config = Config::try_from(flags).expect("flags");
        let shutdown = CancellationToken::new();
        // Whoever had the store before may still be closing it.
        let running = wait_for("an API server", || {
            let start = skep_apiserver::start(config.clone(), shutdown.clone());
            self.runtime.block_on(start).map_err(|error| format!("{error:#}"))
        });
        let _inside = self.runtime.enter();
        let client = local_client(&running.server, UserInfo::new("admin", &["system:masters"]));
        self.server = Some(Server { running, shutdown, client });
    }

    fn stop_server(&mut self) {
        let Some(Server { running, shutdown, client }) = self.server.take() else { return };
        drop(client);
        shutdown.cancel();
        self.runtime.block_on(running.ended).expect("it does not panic").expect("it ends well");
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if self.door.is_some() {
            self.go_away();
        }
        self.stop_server();
    }
}

/// A server in this process.
struct Server {
    running: Running,
    shutdown: CancellationToken,
    client: Client,
}

/// What nodes come in by.
struct Door {
    closed: CancellationToken,
    ended: JoinHandle<()>,
}

/// Hands on what comes in, until it is closed.
async fn answer(listener: TcpListener, client: Client, closed: CancellationToken) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
    loop {
        let stream = tokio::select! {
            () = closed.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The client has gone again.
                Err(_) => continue,
            },
        };
        let connection = converse(stream, client.clone());
        let closed = closed.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = connection => {}
            }
        });
    }
}

async fn converse(stream: TcpStream, client: Client) {
    let service = service_fn(|request| hand_on(&client, request));
    let connection = hyper::server::conn::http1::Builder::new();
    // It ends when the client says so, or breaks off.
    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
}

async fn hand_on(
    client: &Client,
    request: Request<Incoming>,
) -> Result<Response<Body>, kube::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|error| kube::Error::Service(error.into()))?;
    client.send(Request::from_parts(head, Body::from(body.to_bytes()))).await
}

fn kubeconfig() -> String {
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "world",
        "clusters": [{ "name": "world", "cluster": { "server": format!("http://{address}") } }],
        "users": [{ "name": "anyone", "user": {} }],
        "contexts": [{ "name": "world", "context": { "cluster": "world", "user": "anyone" } }],
    })
    .to_string()
}
