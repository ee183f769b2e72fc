//! A page over HTTP/1.1 and an answer over UDP, on the same port: the name of this host and the source
//! address that it saw. One thread a connection, at most [`MAX_CONNECTIONS`].

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MAX_CONNECTIONS: usize = 256;
const IDLE: Duration = Duration::from_secs(30);

/// Serves until SIGTERM.
pub(crate) fn run(port: u16) -> Result<(), String> {
    let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let any4 = SocketAddr::from(([0, 0, 0, 0], port));
    let listener = TcpListener::bind(everywhere)
        .or_else(|_| TcpListener::bind(any4))
        .map_err(|error| format!("listen on TCP {port}: {error}"))?;
    let socket = UdpSocket::bind(everywhere)
        .or_else(|_| UdpSocket::bind(any4))
        .map_err(|error| format!("listen on UDP {port}: {error}"))?;
    let name = host_name();
    println!("{name}: serving on port {port}");
    std::thread::spawn({
        let name = name.clone();
        move || answer_datagrams(&socket, &name)
    });
    std::thread::spawn(move || answer_connections(&listener, &name));
    crate::pause::until_terminated();
    Ok(())
}

/// The host's name: in a pod, the pod's.
fn host_name() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "unknown".to_owned())
}

fn answer_datagrams(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 2048];
    while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
        // A client that is gone is no reason to stop.
        let _ = socket.send_to(answer(name, peer).as_bytes(), peer);
    }
}

fn answer_connections(listener: &TcpListener, name: &str) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming().flatten() {
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (open, name) = (Arc::clone(&open), name.to_owned());
        std::thread::spawn(move || {
            // A client that breaks off concerns nobody else.
            let _ = answer_requests(&stream, &name);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn answer_requests(stream: &TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let peer = stream.peer_addr()?;
    let mut reader = BufReader::new(stream);
    while let Some(close) = skip_request(&mut reader)? {
        let body = answer(name, peer);
        let mut writer = stream;
        let connection = if close { "close" } else { "keep-alive" };
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: \
             {connection}\r\n\r\n{body}",
            body.len()
        )?;
        if close {
            break;
        }
    }
    Ok(())
}

/// Reads one request's head; `None` at the end of the stream, else whether the client wants to close.
fn skip_request(reader: &mut impl BufRead) -> std::io::Result<Option<bool>> {
    let (mut close, mut first) = (false, true);
    loop {
        let mut line = String::new();
        if std::io::Read::take(&mut *reader, 8192).read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            if first {
                continue;
            }
            return Ok(Some(close));
        }
        first = false;
        close |= line.trim_end().eq_ignore_ascii_case("connection: close");
    }
}

fn answer(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}\n", peer.ip().to_canonical())
}
