//! Why a controller could not finish with a key.

use crate::runtime::RequestError;

/// Every error asks for another try after a back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused or could not be reached.
    #[error("{}", words(.0))]
    Request(#[from] RequestError),
    /// Something else has to happen first.
    #[error("{0}")]
    Later(String),
    /// The object says something that cannot be understood.
    #[error("{0}")]
    Object(String),
    /// Another revision has the same hash, and so the name.
    #[error("the hash of the pod template is taken by another template")]
    Collision,
    /// A certificate or key could not be used.
    #[error("{0}")]
    Certificate(String),
}

/// The server's own sentence, without the machinery around it.
pub(crate) fn words(error: &RequestError) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
