//! Where the runtime listens: a unix socket, written as upstream writes it.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Uri};

/// A unix socket, parsed from `unix:///path` or a bare absolute path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(PathBuf);

impl Endpoint {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A channel that connects when it is first used, and again whenever the runtime comes back.
    pub(crate) fn channel(&self) -> Channel {
        let path = self.0.clone();
        // The authority is never looked up: every connection goes to the socket.
        tonic::transport::Endpoint::from_static("http://runtime.invalid")
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }))
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if path.starts_with('/') {
            Ok(Self(PathBuf::from(path)))
        } else {
            Err(format!("{text:?} is not a unix socket: write unix:///path/to/runtime.sock"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_sockets_only() {
        for (text, path) in [
            ("unix:///run/containerd/containerd.sock", Some("/run/containerd/containerd.sock")),
            ("/run/crio/crio.sock", Some("/run/crio/crio.sock")),
            ("tcp://127.0.0.1:1", None),
            ("run/crio.sock", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), path.map(|path| Endpoint(path.into())), "{text}");
        }
    }
}
