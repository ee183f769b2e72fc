//! A socket connects: the one translation a connection of the node needs.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use skep_abi::Hook;

use crate::sock_addr::{SockAddr, translate4, translate6};

/// IPv4 sockets.
#[cgroup_sock_addr(connect4)]
pub fn connect4(context: SockAddrContext) -> i32 {
    translate4(SockAddr::new(context.sock_addr), Hook::Connect)
}

/// IPv6 sockets.
#[cgroup_sock_addr(connect6)]
pub fn connect6(context: SockAddrContext) -> i32 {
    translate6(SockAddr::new(context.sock_addr), Hook::Connect)
}
