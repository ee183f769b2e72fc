//! A program asks whom its socket is connected to: whom it connected to.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};

use crate::sock_addr::{SockAddr, restore4, restore6};

/// IPv4 sockets.
#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(context: SockAddrContext) -> i32 {
    restore4(SockAddr::new(context.sock_addr))
}

/// IPv6 sockets.
#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(context: SockAddrContext) -> i32 {
    restore6(SockAddr::new(context.sock_addr))
}
