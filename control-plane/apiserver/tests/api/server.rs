//! A server for one test, and short ways to ask it.

use std::net::SocketAddr;

use clap::Parser;
use http::{Method, Request};
use serde_json::Value;
use skep_apiserver::{Config, Flags, Running, local_client, start};
use skep_auth::authn::UserInfo;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
}

pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) running: Running,
    shutdown: CancellationToken,
    pub(crate) admin: Asker,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: tempfile::TempDir) -> Self {
        let path = folder.path().to_str().unwrap();
        let flags =
            ["apiserver", "--data-dir", path, "--bind-address", "127.0.0.1", "--secure-port", "0"];
        let config = Config::try_from(Cli::parse_from(flags).flags).unwrap();
        let shutdown = CancellationToken::new();
        let running = start(config, shutdown.clone()).await.unwrap();
        let admin = Asker::new(&running, UserInfo::new("admin", &["system:masters"]));
        Self { folder, running, shutdown, admin }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.addresses[0]
    }

    pub(crate) fn user(&self, name: &str, groups: &[&str]) -> Asker {
        Asker::new(&self.running, UserInfo::new(name, groups))
    }

    /// Stops the server and starts another on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, running, shutdown, admin } = self;
        drop(admin);
        shutdown.cancel();
        running.ended.await.unwrap().unwrap();
        drop(running.server);
        Self::start_in(folder).await
    }
}

/// A client that speaks JSON trees.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) client: kube::Client,
}

impl Asker {
    fn new(running: &Running, user: UserInfo) -> Self {
        Self { client: local_client(&running.server, user) }
    }

    /// The answer's object, or the Status's code and message.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Value, (u16, String)> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", content_type).body(body).unwrap();
        match self.client.request(request).await {
            Ok(value) => Ok(value),
            Err(kube::Error::Api(status)) => Err((status.code, status.message)),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, (u16, String)> {
        self.ask(Method::GET, path, "", Vec::new()).await
    }

    pub(crate) async fn create(&self, path: &str, object: Value) -> Result<Value, (u16, String)> {
        self.ask(Method::POST, path, "application/json", object.to_string().into()).await
    }

    pub(crate) async fn update(&self, path: &str, object: &Value) -> Result<Value, (u16, String)> {
        self.ask(Method::PUT, path, "application/json", object.to_string().into()).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: Value) -> Result<Value, (u16, String)> {
        let content_type = "application/merge-patch+json";
        self.ask(Method::PATCH, path, content_type, patch.to_string().into()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, (u16, String)> {
        self.ask(Method::DELETE, path, "", Vec::new()).await
    }
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}
