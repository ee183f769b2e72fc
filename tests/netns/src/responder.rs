//! The server behind the tests' sockets: it says who it is and whom it sees.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

use crate::talk::sctp_socket;

/// What the kernel says to a protocol that it does not have.
const EPROTONOSUPPORT: i32 = 93;

/// The question that is answered with a name; everything else is sent back.
pub const WHO: &str = "who";

/// Serves TCP, UDP and, where the kernel has it, SCTP on a port of every address, until killed; says
/// "ready" once it listens.
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
    for address in addresses {
        serve_sctp(address, name)?;
    }
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

/// Serves TCP and UDP on `count` ports from `first` on, until killed; the name of each is its number.
///
/// # Errors
/// When one of the ports cannot be had.
pub fn serve_ports(first: u16, count: u16) -> io::Result<()> {
    // A thread for each port and connection would be thousands.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for port in first..first + count {
            let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let tcp = tokio::net::TcpListener::bind(address).await?;
            let udp = tokio::net::UdpSocket::bind(address).await?;
            tokio::spawn(answer_connections(tcp, port));
            tokio::spawn(answer_datagrams(udp, port));
        }
        println!("ready");
        io::stdout().flush()?;
        std::future::pending().await
    })
}

async fn answer_connections(listener: tokio::net::TcpListener, port: u16) {
    while let Ok((stream, peer)) = listener.accept().await {
        tokio::spawn(async move {
            let (from, mut to) = stream.into_split();
            let mut lines = tokio::io::BufReader::new(from).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let text = format!("{}\n", answer(&line, peer, &port.to_string()));
                if to.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn answer_datagrams(socket: tokio::net::UdpSocket, port: u16) {
    let mut buffer = [0; 2048];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let question = String::from_utf8_lossy(&buffer[..length]);
        let text = answer(&question, peer, &port.to_string());
        // A client that is gone is no concern of the others.
        let _ = socket.send_to(text.as_bytes(), peer).await;
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
    serve_connections(tcp, name);
    Ok(())
}

/// Starts to serve SCTP, where the kernel has it. Each family alone: a server with several addresses tells all
/// of them to its clients, who would go on to those.
fn serve_sctp(address: SocketAddr, name: &str) -> io::Result<()> {
    let socket = match sctp_socket(address) {
        Err(error) if error.raw_os_error() == Some(EPROTONOSUPPORT) => return Ok(()),
        socket => socket?,
    };
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(16)?;
    serve_connections(socket.into(), name);
    Ok(())
}

fn serve_connections(listener: TcpListener, name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let name = name.clone();
            std::thread::spawn(move || converse(&stream, &name));
        }
    });
}

fn converse(stream: &TcpStream, name: &str) -> io::Result<()> {
    let peer = stream.peer_addr()?;
    let mut to = stream;
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
