//! The address in a socket call, in a cgroup `sock_addr` program.

use aya_ebpf::{
    bindings::bpf_sock_addr,
    helpers::generated::{
        bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_set_retval,
    },
};
use skep_abi::{Hook, Reason, V4, V6};
use skep_engine::{Call, Net, SocketVerdict, Tables, believed_peer, connect};

use crate::{count::count, report, tables::KernelTables};

/// The call goes on.
pub const ALLOW: i32 = 1;
/// The call fails with what `bpf_set_retval` was given.
const DENY: i32 = 0;
const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;
/// Third word of an IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`).
const MAPPED: u32 = 0xffff_u32.to_be();

/// The call's context.
#[derive(Clone, Copy)]
pub struct SockAddr(*mut bpf_sock_addr);

impl SockAddr {
    /// The context of a program.
    #[inline(always)]
    pub fn new(context: *mut bpf_sock_addr) -> Self {
        Self(context)
    }

    #[inline(always)]
    fn port_be(self) -> u16 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).user_port as u16 }
    }

    #[inline(always)]
    fn set_port_be(self, port_be: u16) {
        // SAFETY: as above; the kernel lets these programs write the port.
        unsafe { (*self.0).user_port = u32::from(port_be) };
    }

    #[inline(always)]
    fn addr4(self) -> [u32; 1] {
        // SAFETY: as above; only IPv4 hooks come here.
        [unsafe { (*self.0).user_ip4 }]
    }

    #[inline(always)]
    fn set_addr4(self, addr: [u32; 1]) {
        // SAFETY: as above.
        unsafe { (*self.0).user_ip4 = addr[0] };
    }

    #[inline(always)]
    fn addr6(self) -> [u32; 4] {
        // SAFETY: as above; only IPv6 hooks come here. Word by word, as the verifier wants it.
        unsafe {
            let words = &raw const (*self.0).user_ip6;
            let words = words.cast::<u32>();
            [
                words.read_volatile(),
                words.add(1).read_volatile(),
                words.add(2).read_volatile(),
                words.add(3).read_volatile(),
            ]
        }
    }

    #[inline(always)]
    fn set_addr6(self, addr: [u32; 4]) {
        // SAFETY: as above.
        unsafe {
            let words = &raw mut (*self.0).user_ip6;
            let words = words.cast::<u32>();
            words.write_volatile(addr[0]);
            words.add(1).write_volatile(addr[1]);
            words.add(2).write_volatile(addr[2]);
            words.add(3).write_volatile(addr[3]);
        }
    }

    #[inline(always)]
    fn call<F: Net>(self, addr: F::Addr) -> Call<F> {
        // SAFETY: the context is valid, and the helpers only read it.
        unsafe {
            Call {
                addr,
                port_be: self.port_be(),
                proto: (*self.0).protocol as u8,
                cookie: bpf_get_socket_cookie(self.0.cast()),
                netns_cookie: bpf_get_netns_cookie(self.0.cast()),
                random: bpf_get_prandom_u32(),
            }
        }
    }

    #[inline(always)]
    fn believed<F: Net>(self, addr: F::Addr) -> Option<(F::Addr, u16)>
    where
        KernelTables: Tables<F>,
    {
        // SAFETY: as above.
        let cookie = unsafe { bpf_get_socket_cookie(self.0.cast()) };
        believed_peer::<F, _>(&KernelTables, cookie, addr, self.port_be())
    }
}

/// Decides a call and lets the verdict take its course; `Some` is the backend to write into the context.
#[inline(always)]
fn settle<F: Net>(call: &Call<F>, hook: Hook) -> Result<Option<(F::Addr, u16)>, i32>
where
    KernelTables: Tables<F>,
{
    // The verdict goes no further than this: of an enum with data the compiler leaves bits undefined that
    // a variant does not use, and the verifier refuses to see them handed on.
    let (reason, errno) = match connect(&KernelTables, call) {
        SocketVerdict::Pass => return Ok(None),
        SocketVerdict::To { addr, port_be } => {
            count(hook, Reason::Forwarded as u32, 0);
            report::connected(call, (&addr, port_be), hook);
            return Ok(Some((addr, port_be)));
        }
        SocketVerdict::Refuse(reason) => (reason, ECONNREFUSED),
        SocketVerdict::Drop(reason) => (reason, EHOSTUNREACH),
    };
    count(hook, reason as u32, 0);
    report::refused(call, reason, hook);
    // SAFETY: the helper takes a number.
    unsafe { bpf_set_retval(-errno) };
    Err(DENY)
}

/// Translates the destination of a call on an IPv4 socket.
#[inline(always)]
pub fn translate4(context: SockAddr, hook: Hook) -> i32 {
    match settle::<V4>(&context.call(context.addr4()), hook) {
        Ok(None) => ALLOW,
        Ok(Some((addr, port_be))) => {
            context.set_addr4(addr);
            context.set_port_be(port_be);
            ALLOW
        }
        Err(deny) => deny,
    }
}

/// Translates the destination of a call on an IPv6 socket, which may name an IPv4 address.
#[inline(always)]
pub fn translate6(context: SockAddr, hook: Hook) -> i32 {
    let addr = context.addr6();
    let settled = if let Some(mapped) = mapped(&addr) {
        settle::<V4>(&context.call(mapped), hook)
            .map(|to| to.map(|(addr, port_be)| ([0, 0, MAPPED, addr[0]], port_be)))
    } else {
        settle::<V6>(&context.call(addr), hook)
    };
    match settled {
        Ok(None) => ALLOW,
        Ok(Some((addr, port_be))) => {
            context.set_addr6(addr);
            context.set_port_be(port_be);
            ALLOW
        }
        Err(deny) => deny,
    }
}

/// Shows an IPv4 socket the Service address instead of the backend's.
#[inline(always)]
pub fn restore4(context: SockAddr) -> i32 {
    if let Some((addr, port_be)) = context.believed::<V4>(context.addr4()) {
        context.set_addr4(addr);
        context.set_port_be(port_be);
    }
    ALLOW
}

/// Shows an IPv6 socket the Service address instead of the backend's.
#[inline(always)]
pub fn restore6(context: SockAddr) -> i32 {
    let addr = context.addr6();
    let believed = if let Some(mapped) = mapped(&addr) {
        context.believed::<V4>(mapped).map(|(addr, port_be)| ([0, 0, MAPPED, addr[0]], port_be))
    } else {
        context.believed::<V6>(addr)
    };
    if let Some((addr, port_be)) = believed {
        context.set_addr6(addr);
        context.set_port_be(port_be);
    }
    ALLOW
}

/// The IPv4 address that an IPv6 socket means.
#[inline(always)]
fn mapped(addr: &[u32; 4]) -> Option<[u32; 1]> {
    (addr[0] == 0 && addr[1] == 0 && addr[2] == MAPPED).then_some([addr[3]])
}
