//! SPDY inside a WebSocket, as newer clients forward ports: messages are taken out of their frames
//! and go to the runtime as they are.

use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use super::answer::{Answer, Refusal};
use super::{backend, websocket};

const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const INNER: &str = "portforward.k8s.io";
const PIECE: usize = 32 << 10;

/// Does the client want a tunnel?
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    websocket::protocols(headers).any(|protocol| protocol == PROTOCOL)
}

/// Joins the tunnel to the runtime's port forwarding.
pub(super) async fn open(
    request: Request<Incoming>,
    url: &str,
) -> Result<Response<Answer>, Refusal> {
    let backend = backend::connect(url, Method::POST, backend::spdy_headers(&[INNER])).await?;
    let response = websocket::accept(request.headers(), PROTOCOL)?;
    tokio::spawn(async move {
        let Some(client) = websocket::upgraded(request).await else { return };
        let (mut sink, mut source) = client.split();
        let (mut reader, mut writer) = tokio::io::split(backend.stream);
        let up = async {
            while let Some(Ok(message)) = source.next().await {
                match message {
                    Message::Binary(bytes) => writer.write_all(&bytes).await?,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            writer.shutdown().await
        };
        let down = async {
            let mut buffer = BytesMut::with_capacity(PIECE);
            while reader.read_buf(&mut buffer).await? > 0 {
                let piece: Bytes = buffer.split().freeze();
                if sink.send(Message::Binary(piece)).await.is_err() {
                    break;
                }
                buffer.reserve(PIECE);
            }
            // The client may be gone already.
            let _ = sink.close().await;
            Ok(())
        };
        let ended: std::io::Result<()> = tokio::select! {
            ended = up => ended,
            ended = down => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a tunnel ended");
        }
    });
    Ok(response)
}
