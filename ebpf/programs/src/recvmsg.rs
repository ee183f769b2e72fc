//! A datagram socket receives: the sender is who the program sent to.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::sock_addr::{SockAddr, restore4, restore6};

/// IPv4 sockets.
#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(context: SockAddrContext) -> i32 {
    restore4(SockAddr::new(context.sock_addr))
}

/// IPv6 sockets.
#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(context: SockAddrContext) -> i32 {
    restore6(SockAddr::new(context.sock_addr))
}
