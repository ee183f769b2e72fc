//! The server behind the tests' sockets: it says who it is and whom it sees.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

/// The question that is answered with a name; everything else is sent back.
pub const WHO: &str = "who";

/// Serves TCP and UDP on a port of every address, until killed; says "ready" once it listens.
///
/// # Errors
/// When the port cannot be had.
pub fn serve(port: u16, name: &str) -> io::Result<()> {
    // The first takes IPv4 as well; a machine may lack IPv6.
    let addresses = [
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
    ];
    serve_on(&addresses, name)?;
    ready()
}

/// The same on these addresses of a host with several: what is asked at one is answered from it.
///
/// # Errors
/// When one of them cannot be had.
pub fn serve_at(addresses: &[SocketAddr], name: &str) -> io::Result<()> {
    for address in addresses {
        serve_on(&[*address], name)?;
    }
    ready()
}

fn ready() -> io::Result<()> {
    println!("ready");
    io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}

/// Starts to serve on the first of the addresses that can be had.
fn serve_on(addresses: &[SocketAddr], name: &str) -> io::Result<()> {
    let tcp = TcpListener::bind(addresses)?;
    let udp = UdpSocket::bind(addresses)?;
    let own_name = name.to_owned();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            let question = String::from_utf8_lossy(&buffer[..length]);
            // A client that is gone is no concern of the others.
            let _ = udp.send_to(answer(&question, peer, &own_name).as_bytes(), peer);
        }
    });
    let name = name.to_owned();
    std::thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let name = name.clone();
            std::thread::spawn(move || converse(stream, &name));
        }
    });
    Ok(())
}

fn converse(stream: TcpStream, name: &str) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut to = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        to.write_all(format!("{}\n", answer(&line?, peer, name)).as_bytes())?;
    }
    Ok(())
}

fn answer(question: &str, peer: SocketAddr, name: &str) -> String {
    match question {
        WHO => format!("{name} {}", peer.ip().to_canonical()),
        other => other.to_owned(),
    }
}
