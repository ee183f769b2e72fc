//! Load for measuring a path: one server, and clients that each print one figure. Nothing here knows what lies
//! between them; whoever compares two paths runs both in turn.
#![forbid(unsafe_code)]

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage:
  skep-traffic serve PORT                      TCP and UDP, until killed
  skep-traffic stream ADDRESS:PORT SECONDS     Gbit/s of one TCP stream
  skep-traffic requests ADDRESS:PORT SECONDS   request/response pairs a second over 32 connections
  skep-traffic connects ADDRESS:PORT SECONDS   connections a second, one request each, 32 at a time
  skep-traffic datagrams ADDRESS:PORT SECONDS  datagrams of 64 bytes a second that arrived";

/// What the first byte of a connection asks the server to do with the rest.
mod mode {
    /// Read and drop.
    pub(crate) const SINK: u8 = b'S';
    /// Send each byte back.
    pub(crate) const ECHO: u8 = b'E';
    /// Send the first bytes back and close.
    pub(crate) const ONCE: u8 = b'O';
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", port] => match port.parse() {
            Ok(port) => server::run(port),
            Err(_) => return usage(),
        },
        [what, peer, seconds] => {
            let (Ok(peer), Ok(seconds)) = (peer.parse::<SocketAddr>(), seconds.parse()) else {
                return usage();
            };
            let span = Duration::from_secs_f64(seconds);
            match *what {
                "stream" => client::stream(peer, span),
                "requests" => client::requests(peer, span),
                "connects" => client::connects(peer, span),
                "datagrams" => client::datagrams(peer, span),
                _ => return usage(),
            }
            .map(|figure| println!("{figure:.3}"))
        }
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep-traffic: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
