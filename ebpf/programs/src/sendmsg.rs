//! An unconnected datagram socket sends.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use skep_abi::Hook;

use crate::sock_addr::{SockAddr, translate4, translate6};

/// IPv4 sockets.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(context: SockAddrContext) -> i32 {
    translate4(SockAddr::new(context.sock_addr), Hook::Sendmsg)
}

/// IPv6 sockets.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(context: SockAddrContext) -> i32 {
    translate6(SockAddr::new(context.sock_addr), Hook::Sendmsg)
}
