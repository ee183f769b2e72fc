//! Asks a replica for its name, many times, and counts who answered: each time over a connection (or from a
//! socket) of its own, so that each is balanced anew.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

/// Fetches `url` (`http://HOST[:PORT][/PATH]`), `times` times.
pub(crate) fn http(url: &str, times: u32, limit: Duration) -> Result<(), String> {
    let rest =
        url.strip_prefix("http://").ok_or_else(|| format!("{url}: only http:// is known"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let peer = resolve(&if host.contains(':') { host.to_owned() } else { format!("{host}:80") })?;
    tally(times, || {
        let mut stream = TcpStream::connect_timeout(&peer, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(body.trim_end().to_owned())
    })
}

/// Sends a datagram to `peer` and waits for its answer, `times` times.
pub(crate) fn udp(peer: &str, times: u32, limit: Duration) -> Result<(), String> {
    let peer = resolve(peer)?;
    tally(times, || {
        let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(limit))?;
        socket.connect(peer)?;
        socket.send(b"who")?;
        let mut buffer = [0; 2048];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned())
    })
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("{text}: {error}"))?.next();
    found.ok_or_else(|| format!("{text}: no address"))
}

/// Runs `ask` so often and prints a line per answer: how often, who, and the slowest.
fn tally(times: u32, mut ask: impl FnMut() -> std::io::Result<String>) -> Result<(), String> {
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for round in 1..=times {
        let start = Instant::now();
        let answer = ask().map_err(|error| format!("request {round} of {times}: {error}"))?;
        slowest = slowest.max(start.elapsed());
        *answers.entry(answer).or_default() += 1;
    }
    for (answer, count) in &answers {
        println!("{count} {answer}");
    }
    eprintln!("{times} answers, slowest {:.1} ms", slowest.as_secs_f64() * 1e3);
    Ok(())
}
