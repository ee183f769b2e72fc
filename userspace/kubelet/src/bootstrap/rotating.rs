//! A client whose connections can be exchanged under the hands of those who use it.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::RwLock;
use tower::{BoxError, Service};

/// Sends every request through the newest client.
#[derive(Clone)]
pub(super) struct Rotating(Arc<RwLock<Client>>);

impl Rotating {
    pub(super) fn new(client: Client) -> Self {
        Self(Arc::new(RwLock::new(client)))
    }

    /// From now on requests go through this one; those under way end where they began.
    pub(super) fn replace(&self, client: Client) {
        *self.0.write() = client;
    }

    /// A client for everybody else.
    pub(super) fn client(&self) -> Client {
        let namespace = self.0.read().default_namespace().to_owned();
        Client::new(self.clone(), namespace)
    }
}

impl Service<Request<Body>> for Rotating {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.read().clone();
        Box::pin(async move { client.send(request).await.map_err(Into::into) })
    }
}
