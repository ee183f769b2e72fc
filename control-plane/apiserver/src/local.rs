//! The way in for components of the same process: a client like any other, without a socket.

use std::convert::Infallible;

use http::{HeaderValue, Request, header};
use kube::client::Body as ClientBody;
use skep_auth::authn::UserInfo;
use tower::service_fn;

use crate::ApiServer;
use crate::http::body;

/// A client that speaks to `server` in memory, as `user`.
#[must_use]
pub fn local_client(server: &ApiServer, user: UserInfo) -> kube::Client {
    let (server, user) = (server.clone(), user.authenticated());
    let service = service_fn(move |mut request: Request<ClientBody>| {
        let server = server.clone();
        request.extensions_mut().insert(user.clone());
        if !request.headers().contains_key(header::ACCEPT) {
            request
                .headers_mut()
                .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        }
        async move { Ok::<_, Infallible>(server.call(request.map(body::boxed)).await) }
    });
    kube::Client::new(service, "default")
}
