//! The clients: each runs for a span and returns a rate.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::mode;
use crate::server::COUNT;

const PARALLEL: usize = 32;
const CONNECT: Duration = Duration::from_secs(5);
const DATAGRAM: [u8; 64] = [0x5a; 64];

/// Gbit/s that one stream carries.
pub(crate) fn stream(peer: SocketAddr, span: Duration) -> Result<f64> {
    let mut stream = open(peer, mode::SINK)?;
    let block = vec![0; 256 * 1024];
    let (start, mut bytes) = (Instant::now(), 0u64);
    while start.elapsed() < span {
        bytes += stream.write(&block)? as u64;
    }
    Ok(bytes as f64 * 8.0 / start.elapsed().as_secs_f64() / 1e9)
}

/// Request/response pairs a second, each of one byte.
pub(crate) fn requests(peer: SocketAddr, span: Duration) -> Result<f64> {
    in_parallel(span, move |deadline| {
        let mut stream = open(peer, mode::ECHO)?;
        let mut done = 0;
        while Instant::now() < deadline {
            ask(&mut stream)?;
            done += 1;
        }
        Ok(done)
    })
}

/// Connections a second that carried one request. The server closes first: a client that did would soon
/// have no port left that does not wait out its last connection to that server, on whatever path.
pub(crate) fn connects(peer: SocketAddr, span: Duration) -> Result<f64> {
    in_parallel(span, move |deadline| {
        let mut done = 0;
        while Instant::now() < deadline {
            let mut stream = open(peer, mode::ONCE)?;
            ask(&mut stream)?;
            stream.read_to_end(&mut Vec::new())?;
            done += 1;
        }
        Ok(done)
    })
}

/// Datagrams a second that arrived.
pub(crate) fn datagrams(peer: SocketAddr, span: Duration) -> Result<f64> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(peer)?;
    socket.set_read_timeout(Some(CONNECT))?;
    let before = arrived(&socket)?;
    let start = Instant::now();
    while start.elapsed() < span {
        // A full queue on the way loses datagrams, which is what is measured.
        let _ = socket.send(&DATAGRAM);
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok((arrived(&socket)? - before) as f64 / seconds)
}

fn arrived(socket: &UdpSocket) -> Result<u64> {
    let mut buffer = [0; 64];
    socket.send(COUNT)?;
    let length = socket.recv(&mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    text.parse().map_err(|_| Error::other(format!("the server counts {text:?}")))
}

fn open(peer: SocketAddr, asked: u8) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&peer, CONNECT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CONNECT))?;
    stream.write_all(&[asked])?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}

fn in_parallel(
    span: Duration,
    work: impl Fn(Instant) -> Result<u64> + Clone + Send + 'static,
) -> Result<f64> {
    let start = Instant::now();
    let deadline = start + span;
    let threads: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let work = work.clone();
            std::thread::spawn(move || work(deadline))
        })
        .collect();
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| Error::other("a client thread panicked"))??;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}
