//! The ports that processes of this network namespace listen on, as the kernel lists its sockets
//! (`NETLINK_SOCK_DIAG`, udp_diag(7), tcp_diag(7)).
//!
//! TCP and UDP: to ask for sockets of SCTP would make the kernel load SCTP where nobody uses it.

use std::io;
use std::net::IpAddr;

use netlink_packet_sock_diag::constants;
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{InetResponse, StateFlags};

use crate::error::{Error, Result};
use crate::sockets;

/// A socket that takes what comes to a port, whoever sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// The number of its IP protocol.
    pub protocol: u8,
    /// The address that it is bound to; the unspecified one stands for all of its family.
    pub address: IpAddr,
    /// The port that it is bound to.
    pub port: u16,
    /// Bound to all addresses of IPv6, and to those of IPv4 with them.
    pub dual: bool,
}

impl Listener {
    /// Whether it takes what is sent to this address.
    pub fn takes(&self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        self.address == address || self.address.is_unspecified() && (same_family || self.dual)
    }
}

/// All listeners in this thread's network namespace.
pub fn list() -> Result<Vec<Listener>> {
    let mut found = Vec::new();
    // A datagram socket that is connected to nobody takes from everybody, and counts as closed.
    let kinds =
        [(constants::IPPROTO_TCP, StateFlags::LISTEN), (constants::IPPROTO_UDP, StateFlags::CLOSE)];
    for (protocol, state) in kinds {
        for family in [constants::AF_INET, constants::AF_INET6] {
            let take = |socket: InetResponse| found.extend(listener(protocol, &socket));
            match sockets::visit(family, protocol, state.clone(), take) {
                // A kernel without this family.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(Error::file("list", "sockets"))?,
            }
        }
    }
    Ok(found)
}

fn listener(protocol: u8, socket: &InetResponse) -> Option<Listener> {
    let id = &socket.header.socket_id;
    let only_v6 = socket.nlas.iter().any(|nla| matches!(nla, Nla::SkV6Only(true)));
    let address = id.source_address.to_canonical();
    let dual = address.is_ipv6() && address.is_unspecified() && !only_v6;
    (id.source_port != 0).then_some(Listener { protocol, address, port: id.source_port, dual })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_listener_takes_what_its_address_covers() {
        // (bound to, also IPv4, sent to, taken)
        for (bound, dual, to, taken) in [
            ("192.0.2.1", false, "192.0.2.1", true),
            ("192.0.2.1", false, "192.0.2.2", false),
            ("0.0.0.0", false, "192.0.2.1", true),
            ("0.0.0.0", false, "2001:db8::1", false),
            ("::", true, "192.0.2.1", true),
            ("::", false, "192.0.2.1", false),
            ("::", false, "2001:db8::1", true),
            ("127.0.0.1", false, "192.0.2.1", false),
        ] {
            let listener = Listener { protocol: 6, address: address(bound), port: 80, dual };
            assert_eq!(listener.takes(address(to)), taken, "{bound} ({dual}) for {to}");
        }
    }

    #[test]
    fn listening_sockets_are_found_and_connected_ones_are_not() {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
        let at = tcp.local_addr().expect("bound");
        let client = TcpStream::connect(at).expect("connected");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let connected = UdpSocket::bind("127.0.0.1:0").expect("bound");
        connected.connect(udp.local_addr().expect("bound")).expect("connected");
        let listeners = list().expect("listed");
        let is_held = |protocol, at: SocketAddr| {
            let same =
                |l: &&Listener| (l.protocol, l.address, l.port) == (protocol, at.ip(), at.port());
            listeners.iter().any(|listener| same(&listener))
        };
        assert!(is_held(6, at) && !is_held(17, at));
        assert!(!is_held(6, client.local_addr().expect("bound")));
        assert!(is_held(17, udp.local_addr().expect("bound")));
        assert!(!is_held(17, connected.local_addr().expect("bound")));
    }

    #[test]
    fn a_socket_of_all_addresses_says_whether_it_takes_ipv4_too() {
        let dual = |only: bool| {
            let socket = listen_on_ipv6(only);
            let port = socket.local_addr().expect("bound").port();
            let found =
                list().expect("listed").into_iter().find(|l| l.port == port && l.protocol == 6);
            found.expect("it listens").dual
        };
        assert!(dual(false) && !dual(true));
    }

    fn listen_on_ipv6(only: bool) -> TcpListener {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6, bind, listen, setsockopt,
            socket, sockopt,
        };
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket =
            socket(AddressFamily::Inet6, SockType::Stream, flags, None).expect("IPv6 is there");
        setsockopt(&socket, sockopt::Ipv6V6Only, &only).expect("set");
        let any = SocketAddr::from(([0_u16; 8], 0));
        let SocketAddr::V6(any) = any else { unreachable!("eight words are an IPv6 address") };
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn6::from(any)).expect("bound");
        listen(&socket, Backlog::MAXCONN).expect("listening");
        socket.into()
    }
}
