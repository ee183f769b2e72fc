//! Closes sockets whose peer is no more, so that their owners learn of it at once.
//!
//! A socket that was translated when it connected sends straight to its backend: when that goes, no
//! packet passes any table that could tell. The kernel closes it for us (`SOCK_DESTROY`, Linux 4.5,
//! `CONFIG_INET_DIAG_DESTROY`); its owner's next call fails with `ECONNABORTED`.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, InetResponseHeader, SocketId, StateFlags,
};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage, constants};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

use crate::error::{Error, Result};
use crate::namespace::Namespace;

/// Closes the sockets with these cookies in this thread's network namespace and in those of the files
/// given; one that cannot be entered is gone, and its sockets with it. Returns how many were closed.
pub fn close(cookies: &HashSet<u64>, namespaces: &[PathBuf]) -> Result<usize> {
    let close_here = || close_in_namespace(cookies).map_err(Error::file("close", "sockets"));
    let mut closed = close_here()?;
    for path in namespaces {
        if let Ok(namespace) = Namespace::open(path) {
            closed += namespace.run(close_here)??;
        }
    }
    Ok(closed)
}

fn close_in_namespace(cookies: &HashSet<u64>) -> io::Result<usize> {
    let mut closed = 0;
    for family in [constants::AF_INET, constants::AF_INET6] {
        for protocol in [constants::IPPROTO_UDP, constants::IPPROTO_TCP] {
            for InetResponseHeader { socket_id: id, .. } in list(family, protocol)? {
                let is_meant = cookies.contains(&u64::from_ne_bytes(id.cookie));
                if is_meant && destroy(request(family, protocol, id))? {
                    closed += 1;
                }
            }
        }
    }
    Ok(closed)
}

fn request(family: u8, protocol: u8, socket_id: SocketId) -> InetRequest {
    let extensions = ExtensionFlags::empty();
    InetRequest { family, protocol, extensions, states: StateFlags::all(), socket_id }
}

/// All sockets of one kind.
fn list(family: u8, protocol: u8) -> io::Result<Vec<InetResponseHeader>> {
    let mut found = Vec::new();
    visit(family, protocol, StateFlags::all(), |socket| found.push(socket.header))?;
    Ok(found)
}

/// Visits the sockets of one kind in this thread's network namespace that are in one of these states.
pub(crate) fn visit(
    family: u8,
    protocol: u8,
    states: StateFlags,
    mut visitor: impl FnMut(InetResponse),
) -> io::Result<()> {
    let any = if family == constants::AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let wanted = InetRequest { states, ..request(family, protocol, any) };
    let message = SockDiagMessage::InetRequest(wanted);
    exchange(message, NLM_F_REQUEST | NLM_F_DUMP, |answer: SockDiagMessage| {
        if let SockDiagMessage::InetResponse(response) = answer {
            visitor(*response);
        }
    })
}

/// Whether the socket was there to be closed.
fn destroy(request: InetRequest) -> io::Result<bool> {
    let message = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
    match exchange(message, NLM_F_REQUEST | NLM_F_ACK, |_: SockDiagMessage| {}) {
        Ok(()) => Ok(true),
        // Its owner was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a request and hands on every answer, up to the end that the kernel announces.
fn exchange<Q, A>(question: Q, flags: u16, mut take: impl FnMut(A)) -> io::Result<()>
where
    Q: NetlinkSerializable + Into<NetlinkPayload<Q>>,
    A: NetlinkDeserializable,
{
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut packet = NetlinkMessage::from(question);
    packet.header.flags = flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (received, _) = socket.recv_from_full()?;
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<A>::deserialize(rest).map_err(io::Error::other)?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => {
                    return error.code.map_or(Ok(()), |_| Err(error.to_io()));
                }
                NetlinkPayload::InnerMessage(inner) => take(inner),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn sockets_are_listed_with_their_peers() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let client = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let peer = server.local_addr().expect("bound");
        client.connect(peer).expect("connected");
        let sockets = list(constants::AF_INET, constants::IPPROTO_UDP).expect("listed");
        let found = sockets.iter().map(|socket| &socket.socket_id).any(|id| {
            id.destination_port == peer.port() && id.cookie != [0; 8] && id.cookie != [0xff; 8]
        });
        assert!(found, "{peer} is nobody's peer in {sockets:?}");
    }

    #[test]
    fn nothing_is_closed_when_nothing_is_meant() {
        assert_eq!(close(&HashSet::new(), &[]).expect("listed"), 0);
    }
}
