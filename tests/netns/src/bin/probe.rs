//! The programs behind the sockets of the tests: a server that says who it is and whom it sees, and
//! clients that ask once or keep talking. One process sits in one network namespace and one cgroup.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use skep_netns_tests::responder::{WHO, serve};

const USAGE: &str = "usage:
  skep-probe serve PORT NAME        TCP and UDP; says \"ready\", then serves until killed
  skep-probe ask tcp|udp|udp-unconnected ADDRESS:PORT
                                    prints the server's NAME and the client address that it saw
  skep-probe bulk tcp|udp ADDRESS:PORT
                                    sends a megabyte, or a datagram that takes several packets, and waits
                                    for all of it to come back
  skep-probe steady tcp|udp ADDRESS:PORT
                                    talks over one socket until standard input ends; prints how often";

/// How long an answer may take. Local networks need microseconds; a lost packet shows as this.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["serve", port, name] => {
            port.parse().map_err(io::Error::other).and_then(|p| serve(p, name))
        }
        [verb, protocol, address] => match address.parse() {
            Ok(address) => match (*verb, *protocol) {
                ("ask", "tcp") => ask_tcp(address),
                ("ask", "udp") => ask_udp(address),
                ("ask", "udp-unconnected") => ask_udp_unconnected(address),
                ("bulk", "tcp") => bulk_tcp(address),
                ("bulk", "udp") => bulk_udp(address),
                ("steady", "tcp") => steady_tcp(address),
                ("steady", "udp") => steady_udp(address),
                _ => Err(io::Error::other(USAGE)),
            },
            Err(error) => Err(io::Error::other(error)),
        },
        _ => Err(io::Error::other(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:?}: {error}", error.kind());
            ExitCode::FAILURE
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn say(stream: &mut BufReader<TcpStream>, line: &str) -> io::Result<String> {
    stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer.trim_end().to_owned())
}

fn ask_tcp(address: SocketAddr) -> io::Result<()> {
    println!("{}", say(&mut connect(address)?, WHO)?);
    Ok(())
}

fn bulk_tcp(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    let line = "skep".repeat(1 << 18);
    if say(&mut stream, &line)? != line {
        return Err(io::Error::other("something else came back"));
    }
    println!("{}", say(&mut stream, WHO)?);
    Ok(())
}

fn datagram_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn ask_udp(address: SocketAddr) -> io::Result<()> {
    let socket = datagram_socket(address)?;
    socket.connect(address)?;
    if socket.peer_addr()? != address {
        return Err(io::Error::other(format!("the peer is {}", socket.peer_addr()?)));
    }
    socket.send(WHO.as_bytes())?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    println!("{}", String::from_utf8_lossy(&buffer[..length]));
    Ok(())
}

fn bulk_udp(address: SocketAddr) -> io::Result<()> {
    let socket = datagram_socket(address)?;
    socket.connect(address)?;
    let datagram = b"skep".repeat(1000);
    let mut buffer = [0; 8192];
    socket.send(&datagram)?;
    let length = socket.recv(&mut buffer)?;
    if buffer[..length] != datagram {
        return Err(io::Error::other("something else came back"));
    }
    socket.send(WHO.as_bytes())?;
    let length = socket.recv(&mut buffer)?;
    println!("{}", String::from_utf8_lossy(&buffer[..length]));
    Ok(())
}

fn ask_udp_unconnected(address: SocketAddr) -> io::Result<()> {
    let socket = datagram_socket(address)?;
    socket.send_to(WHO.as_bytes(), address)?;
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer)?;
    if from != address {
        return Err(io::Error::other(format!("asked {address}, {from} answered")));
    }
    println!("{}", String::from_utf8_lossy(&buffer[..length]));
    Ok(())
}

/// Set when standard input ends.
fn until_input_ends() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    std::thread::spawn(move || {
        // Whatever comes, the end is what counts.
        let _ = io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    });
    ended
}

fn steady_tcp(address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(address)?;
    let name = say(&mut stream, WHO)?;
    println!("ready {name}");
    io::stdout().flush()?;
    let ended = until_input_ends();
    let mut count: u64 = 0;
    while !ended.load(Ordering::Relaxed) {
        let line = count.to_string();
        let answer = say(&mut stream, &line)?;
        if answer != line {
            return Err(io::Error::other(format!("said {line}, heard {answer}")));
        }
        count += 1;
    }
    println!("{count}");
    Ok(())
}

fn steady_udp(address: SocketAddr) -> io::Result<()> {
    let socket = datagram_socket(address)?;
    socket.connect(address)?;
    socket.send(WHO.as_bytes())?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    println!("ready {}", String::from_utf8_lossy(&buffer[..length]));
    io::stdout().flush()?;
    let ended = until_input_ends();
    let mut count: u64 = 0;
    while !ended.load(Ordering::Relaxed) {
        let text = count.to_string();
        socket.send(text.as_bytes())?;
        let length = socket.recv(&mut buffer)?;
        if &buffer[..length] != text.as_bytes() {
            return Err(io::Error::other(format!("datagram {text} was lost or came late")));
        }
        count += 1;
    }
    println!("{count}");
    Ok(())
}
