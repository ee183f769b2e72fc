//! Who is asking, from what the connection and the request bring along.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use skep_api::status::Status;
use skep_auth::authn::{self, Bearer, Credentials, UserInfo};
use skep_auth::serviceaccount::{Signer, Verifier};

use crate::ApiServer;

/// The certificate (DER) that the peer has shown and TLS has verified, in a request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate(pub(crate) Bytes);

/// How identities are proven to this server, and by it.
#[derive(Debug)]
pub(crate) struct Authentication {
    pub(crate) verifier: Verifier,
    pub(crate) signer: Signer,
    /// What tokens must be for to be taken here.
    pub(crate) audiences: Vec<String>,
    pub(crate) anonymous: bool,
    pub(crate) bootstrap_tokens: bool,
}

impl Authentication {
    /// The asking user; the credentials are taken out of the request.
    pub(crate) async fn user(
        &self,
        server: &ApiServer,
        parts: &mut Parts,
    ) -> Result<UserInfo, Status> {
        if let Some(user) = parts.extensions.remove::<UserInfo>() {
            return Ok(user);
        }
        let certificate = parts.extensions.get::<PeerCertificate>().cloned();
        let authorization = parts.headers.remove(AUTHORIZATION);
        let credentials = Credentials {
            certificate_der: certificate.as_ref().map(|certificate| &certificate.0[..]),
            authorization: authorization.as_ref().and_then(|value| value.to_str().ok()),
        };
        if let Ok(user) = self.check(server, credentials) {
            return Ok(user);
        }
        // The token's account may be newer than the facts.
        server.facts().caught_up(server).await?;
        self.check(server, credentials).map_err(|error| {
            tracing::debug!(%error, "unauthorized");
            Status::unauthorized()
        })
    }

    fn check(
        &self,
        server: &ApiServer,
        credentials: Credentials<'_>,
    ) -> Result<UserInfo, authn::Error> {
        let known = server.facts().known();
        let bearer = Bearer {
            verifier: &self.verifier,
            audiences: &self.audiences,
            bootstrap: self.bootstrap_tokens,
            objects: &*known,
        };
        authn::authenticate(credentials, &bearer, self.anonymous, SystemTime::now())
    }
}
