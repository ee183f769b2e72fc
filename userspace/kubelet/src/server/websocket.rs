//! From the channels of a WebSocket (v5.channel.k8s.io and v4) to the streams of the runtime's SPDY.

use std::collections::HashMap;

use bytes::{BufMut, BytesMut};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode,
};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::codec::FramedRead;

use super::answer::{self, Answer, Refusal};
use super::backend;
use super::spdy::frame::{self, Frame, Frames, Opener};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In v5: the next byte names a channel whose sender is done.
const CLOSE: u8 = 255;

/// Messages a client may send at most; kubectl's have 32 KiB.
const MOST_MESSAGE: usize = 1 << 20;

/// The streams of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Channels {
    /// Channel numbers and SPDY names, in the order in which clients open them.
    fn list(self) -> Vec<(u8, &'static str)> {
        let all = [
            (true, ERROR, "error"),
            (self.stdin, STDIN, "stdin"),
            (self.stdout, STDOUT, "stdout"),
            (self.stderr, STDERR, "stderr"),
            (self.tty, RESIZE, "resize"),
        ];
        all.into_iter()
            .filter(|(wanted, ..)| *wanted)
            .map(|(_, number, name)| (number, name))
            .collect()
    }
}

/// The protocol to translate, if the client offers one of those.
pub(super) fn choose(headers: &HeaderMap) -> Option<&'static str> {
    let offered: Vec<&str> = protocols(headers).collect();
    [V5, V4].into_iter().find(|known| offered.contains(known))
}

/// The sub-protocols that a WebSocket client offers.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim)
}

/// The answer that turns a request into a WebSocket.
pub(super) fn accept(
    headers: &HeaderMap,
    protocol: &'static str,
) -> Result<Response<Answer>, Refusal> {
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::bad_request("a WebSocket request needs Sec-WebSocket-Key"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|error| Refusal::internal(error.to_string()))?;
    let mut response = Response::new(answer::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(response)
}

/// The WebSocket of an accepted request.
pub(super) async fn upgraded(
    request: Request<Incoming>,
) -> Option<WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>> {
    let client = hyper::upgrade::on(request).await.ok()?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MOST_MESSAGE))
        .max_frame_size(Some(MOST_MESSAGE));
    Some(WebSocketStream::from_raw_socket(TokioIo::new(client), Role::Server, Some(config)).await)
}

/// Opens the runtime's streams and joins the client's channels to them.
pub(super) async fn translate(
    request: Request<Incoming>,
    url: &str,
    channels: Channels,
    protocol: &'static str,
) -> Result<Response<Answer>, Refusal> {
    let headers = backend::spdy_headers(&[V4]);
    let backend = backend::connect(url, Method::POST, headers).await?;
    let response = accept(request.headers(), protocol)?;
    tokio::spawn(async move {
        let Some(client) = upgraded(request).await else { return };
        if let Err(error) = join(client, backend.stream, channels).await {
            tracing::debug!(%error, "a stream ended");
        }
    });
    Ok(response)
}

/// Carries bytes until the command's outputs and its result have ended, or the client has gone.
async fn join<C, B>(client: WebSocketStream<C>, backend: B, channels: Channels) -> Result<(), Error>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = tokio::io::split(backend);
    let mut opener = Opener::default();
    let mut opening = BytesMut::new();
    let mut streams: HashMap<u8, u32> = HashMap::new();
    for (channel, name) in channels.list() {
        streams.insert(channel, opener.open(&[("streamtype", name)], &mut opening));
    }
    writer.write_all(&opening).await?;
    let writer = Mutex::new(writer);
    let (sink, source) = client.split();
    // Each direction has its own loop: a command that does not read must still be heard.
    tokio::select! {
        ended = down(reader, &writer, sink, &streams) => ended,
        ended = up(source, &writer, &streams) => ended,
    }
}

async fn up<S, W>(
    mut client: S,
    backend: &Mutex<W>,
    streams: &HashMap<u8, u32>,
) -> Result<(), Error>
where
    S: futures::Stream<Item = Result<Message, Error>> + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut out = BytesMut::new();
    while let Some(message) = client.next().await {
        let bytes = match message? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return Ok(()),
            _ => continue,
        };
        let Some((channel, rest)) = bytes.split_first() else { continue };
        let (channel, last) = match (*channel, rest) {
            (CLOSE, [channel]) => (*channel, true),
            (channel, _) => (channel, false),
        };
        let Some(stream) = streams.get(&channel).filter(|_| matches!(channel, STDIN | RESIZE))
        else {
            continue;
        };
        let payload = if last { &[][..] } else { rest };
        if payload.is_empty() && !last {
            continue;
        }
        frame::data(*stream, last, payload, &mut out);
        backend.lock().await.write_all(&out).await?;
        out.clear();
    }
    Ok(())
}

async fn down<R, W, S>(
    backend: R,
    answers: &Mutex<W>,
    mut client: S,
    streams: &HashMap<u8, u32>,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    S: futures::Sink<Message, Error = Error> + Unpin,
{
    let of_stream: HashMap<u32, u8> = streams.iter().map(|(channel, id)| (*id, *channel)).collect();
    let mut open: Vec<u8> =
        [STDOUT, STDERR, ERROR].into_iter().filter(|c| streams.contains_key(c)).collect();
    let mut frames = FramedRead::new(backend, Frames);
    while !open.is_empty() {
        let Some(frame) = frames.next().await else { break };
        let (stream, last) = match frame? {
            Frame::Data { stream, last, bytes } => {
                if let Some(channel) = of_stream.get(&stream).filter(|_| !bytes.is_empty()) {
                    let mut message = BytesMut::with_capacity(1 + bytes.len());
                    message.put_u8(*channel);
                    message.put_slice(&bytes);
                    client.send(Message::Binary(message.freeze())).await?;
                }
                (stream, last)
            }
            Frame::Reset { stream } => (stream, true),
            Frame::Ping { id } => {
                let mut out = BytesMut::new();
                frame::pong(id, &mut out);
                answers.lock().await.write_all(&out).await?;
                continue;
            }
            Frame::GoAway | Frame::Other => continue,
        };
        if last && let Some(channel) = of_stream.get(&stream) {
            open.retain(|open| open != channel);
        }
    }
    let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    client.send(Message::Close(Some(goodbye))).await?;
    client.close().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, DuplexStream};

    #[test]
    fn the_newest_known_protocol() {
        for (offer, expected) in [
            ("v5.channel.k8s.io", Some(V5)),
            ("v4.channel.k8s.io, v5.channel.k8s.io", Some(V5)),
            ("v4.channel.k8s.io,base64.channel.k8s.io", Some(V4)),
            ("channel.k8s.io", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offer.parse().unwrap());
            assert_eq!(choose(&headers), expected, "{offer}");
        }
    }

    /// A client, the runtime's end, and the task between them.
    async fn joined(channels: Channels) -> (WebSocketStream<DuplexStream>, DuplexStream) {
        let (client, server) = tokio::io::duplex(1 << 16);
        let (backend, runtime) = tokio::io::duplex(1 << 16);
        let server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        tokio::spawn(async move { join(server, backend, channels).await });
        (WebSocketStream::from_raw_socket(client, Role::Client, None).await, runtime)
    }

    const ALL: Channels = Channels { stdin: true, stdout: true, stderr: false, tty: false };

    #[tokio::test]
    async fn output_and_result_reach_the_client() {
        let (mut client, mut runtime) = joined(ALL).await;
        let mut out = BytesMut::new();
        // error is stream 1, stdin 3, stdout 5
        frame::data(5, false, b"hello", &mut out);
        frame::data(5, true, b"", &mut out);
        frame::data(1, true, b"{}", &mut out);
        runtime.write_all(&out).await.unwrap();
        let mut seen = Vec::new();
        while let Some(Ok(message)) = client.next().await {
            match message {
                Message::Binary(bytes) => seen.push(bytes.to_vec()),
                Message::Close(frame) => {
                    assert_eq!(frame.unwrap().code, CloseCode::Normal);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(seen, [b"\x01hello".to_vec(), b"\x03{}".to_vec()]);
    }

    #[tokio::test]
    async fn input_and_its_end_reach_the_runtime() {
        let (mut client, runtime) = joined(ALL).await;
        client.send(Message::Binary(b"\x00abc".to_vec().into())).await.unwrap();
        client.send(Message::Binary(vec![CLOSE, STDIN].into())).await.unwrap();
        let mut frames = FramedRead::new(runtime, Frames);
        for _ in 0..3 {
            assert_eq!(frames.next().await.unwrap().unwrap(), Frame::Other, "an opening");
        }
        let data =
            |last, bytes: &'static [u8]| Frame::Data { stream: 3, last, bytes: bytes.into() };
        assert_eq!(frames.next().await.unwrap().unwrap(), data(false, b"abc"));
        assert_eq!(frames.next().await.unwrap().unwrap(), data(true, b""));
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_stream() {
        let (mut client, mut runtime) = joined(ALL).await;
        client.close(None).await.unwrap();
        let mut rest = Vec::new();
        runtime.read_to_end(&mut rest).await.unwrap();
    }
}
