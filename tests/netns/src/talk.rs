//! One socket's talk with a server.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How long an answer may take. Local networks need microseconds; a lost packet shows as this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client's socket.
#[derive(Debug)]
pub enum Talk {
    /// A connection, of TCP or SCTP.
    Stream(BufReader<TcpStream>),
    /// A socket that was connected.
    Udp(UdpSocket),
    /// A socket that was not, and to whom it sends.
    UdpUnconnected(UdpSocket, SocketAddr),
}

impl Talk {
    /// A new socket: `tcp`, `udp`, `udp-unconnected`, or `sctp` where the kernel has it.
    ///
    /// # Errors
    /// What the system call says.
    pub fn open(protocol: &str, address: SocketAddr) -> io::Result<Self> {
        match protocol {
            "tcp" => {
                let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(Self::Stream(BufReader::new(stream)))
            }
            "sctp" => {
                let socket = sctp_socket(address)?;
                socket.connect_timeout(&address.into(), PATIENCE)?;
                let stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(PATIENCE))?;
                Ok(Self::Stream(BufReader::new(stream)))
            }
            "udp" => {
                let socket = datagram_socket(address)?;
                socket.connect(address)?;
                let peer = socket.peer_addr()?;
                if peer != address {
                    return Err(io::Error::other(format!("the peer is {peer}")));
                }
                Ok(Self::Udp(socket))
            }
            "udp-unconnected" => Ok(Self::UdpUnconnected(datagram_socket(address)?, address)),
            other => Err(io::Error::other(format!("{other} is no protocol of the probe"))),
        }
    }

    /// Says something, and what is answered.
    ///
    /// # Errors
    /// What the system calls say; an answer that somebody else gave.
    pub fn say(&mut self, text: &str) -> io::Result<String> {
        match self {
            Self::Stream(stream) => {
                stream.get_mut().write_all(format!("{text}\n").as_bytes())?;
                let mut answer = String::new();
                stream.read_line(&mut answer)?;
                if answer.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(answer.trim_end().to_owned())
            }
            Self::Udp(socket) => {
                socket.send(text.as_bytes())?;
                let mut buffer = [0; 8192];
                let length = socket.recv(&mut buffer)?;
                Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
            }
            Self::UdpUnconnected(socket, address) => {
                socket.send_to(text.as_bytes(), *address)?;
                let mut buffer = [0; 8192];
                let (length, from) = socket.recv_from(&mut buffer)?;
                if from != *address {
                    return Err(io::Error::other(format!("asked {address}, {from} answered")));
                }
                Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
            }
        }
    }

    /// Says something that the server is to send back.
    ///
    /// # Errors
    /// As [`Talk::say`]; when something else comes back, such as the answer to what was said before.
    pub fn echo(&mut self, text: &str) -> io::Result<()> {
        let answer = self.say(text)?;
        if answer == text {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "said {text}, heard {answer}: an answer was lost or late"
            )))
        }
    }
}

/// A socket of SCTP that behaves as one of TCP does.
pub(crate) fn sctp_socket(address: SocketAddr) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(skep_abi::proto::SCTP));
    Socket::new(Domain::for_address(address), Type::STREAM, Some(protocol))
}

fn datagram_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}
