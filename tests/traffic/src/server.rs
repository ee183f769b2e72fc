//! The server's side: a thread a connection, and a counter of datagrams that can be asked for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use crate::mode;

/// A datagram of this content is answered with the count of all others, in decimal.
pub(crate) const COUNT: &[u8] = b"count";

/// Serves until it is killed.
pub(crate) fn run(port: u16) -> std::io::Result<()> {
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    let socket = UdpSocket::bind(any)?;
    std::thread::spawn(move || count(&socket));
    for stream in TcpListener::bind(any)?.incoming().flatten() {
        std::thread::spawn(move || {
            // The client's end of a connection is the end of its thread.
            let _ = answer(stream);
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut asked = [0];
    stream.read_exact(&mut asked)?;
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        if asked[0] != mode::SINK {
            stream.write_all(&buffer[..length])?;
        }
        if asked[0] == mode::ONCE {
            return Ok(());
        }
    }
}

fn count(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    let mut arrived = 0u64;
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if &buffer[..length] == COUNT {
            // A client that is gone asks no more.
            let _ = socket.send_to(arrived.to_string().as_bytes(), peer);
        } else {
            arrived += 1;
        }
    }
}
