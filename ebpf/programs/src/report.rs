//! Events: written into the ring in place, field by field.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use skep_abi::{Event, Hook, Listeners, NO_BACKEND, Reason, event_kind};
use skep_engine::{Call, Ingress, Net};
use skep_packet::{Headers, Packet};

use crate::{count::count, maps};

/// What an event says.
struct About<'a, F: Net> {
    kind: u8,
    reason: u8,
    at: Ingress,
    bytes: u32,
    service: u32,
    backend: u32,
    netns_cookie: u64,
    proto: u8,
    src: (&'a F::Addr, u16),
    dst: (&'a F::Addr, u16),
}

impl<'a, F: Net> About<'a, F> {
    /// A packet.
    #[inline(always)]
    fn packet(headers: &'a Headers<F>, kind: u8, reason: u8, at: Ingress) -> Self {
        Self {
            kind,
            reason,
            at,
            bytes: 0,
            service: 0,
            backend: NO_BACKEND,
            netns_cookie: 0,
            proto: headers.proto,
            src: (&headers.src, headers.sport_be),
            dst: (&headers.dst, headers.dport_be),
        }
    }

    /// A socket's call; its source is the caller's to set.
    #[inline(always)]
    fn call(call: &'a Call<F>, kind: u8, reason: Reason, hook: Hook) -> Self {
        Self {
            kind,
            reason: reason as u8,
            at: Ingress { ifindex: 0, hook, from_peer: false },
            bytes: 0,
            service: 0,
            backend: NO_BACKEND,
            netns_cookie: call.netns_cookie,
            proto: call.proto,
            src: (&call.addr, 0),
            dst: (&call.addr, call.port_be),
        }
    }
}

/// Whether somebody listens, by the clock that the kernel's own listeners go by.
#[inline(always)]
fn is_wanted(until_ns: impl Fn(&Listeners) -> u64) -> bool {
    let until_ns = maps::LISTENERS.get(0).map_or(0, until_ns);
    // SAFETY: the helper takes nothing and reads a clock.
    until_ns != 0 && unsafe { bpf_ktime_get_ns() } < until_ns
}

/// Reports that a packet opened a connection to a Service, if that is asked for.
#[inline(always)]
pub fn opened<F: Net>(headers: &Headers<F>, service: u32, backend: u32, at: Ingress) {
    if is_wanted(|listeners| listeners.opened_until_ns) {
        let about = About::packet(headers, event_kind::FLOW, Reason::Forwarded as u8, at);
        write(&About { service, backend, ..about });
    }
}

/// Reports that a packet was dropped or rejected, if that is asked for.
#[inline(always)]
pub fn dropped<F: Net>(headers: &Headers<F>, packet: &impl Packet, reason: u32, at: Ingress) {
    if is_wanted(|listeners| listeners.dropped_until_ns) {
        let about = About::packet(headers, event_kind::DROP, reason as u8, at);
        write(&About { bytes: packet.len(), ..about });
    }
}

/// Reports that a socket was connected to a backend instead of the address that it named, if that is
/// asked for.
#[inline(always)]
pub fn connected<F: Net>(call: &Call<F>, backend: (&F::Addr, u16), hook: Hook) {
    if is_wanted(|listeners| listeners.opened_until_ns) {
        let about = About::call(call, event_kind::CALL, Reason::Forwarded, hook);
        write(&About { src: backend, ..about });
    }
}

/// Reports that a socket's call was refused, if that is asked for.
#[inline(always)]
pub fn refused<F: Net>(call: &Call<F>, reason: Reason, hook: Hook) {
    if is_wanted(|listeners| listeners.dropped_until_ns) {
        let unknown = F::Addr::default();
        let about = About::call(call, event_kind::DROP, reason, hook);
        write(&About { src: (&unknown, 0), ..about });
    }
}

#[inline(always)]
fn write<F: Net>(about: &About<'_, F>) {
    let Some(mut entry) = maps::EVENTS.reserve_untyped::<Event>(0) else {
        count(about.at.hook, Reason::EventLost as u32, 0);
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring gave room for one event, and every field of it is written before it is read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).netns_cookie = about.netns_cookie;
        address::<F>(&raw mut (*event).src, about.src.0);
        address::<F>(&raw mut (*event).dst, about.dst.0);
        (*event).sport_be = about.src.1;
        (*event).dport_be = about.dst.1;
        (*event).proto = about.proto;
        (*event).version = F::VERSION;
        (*event).kind = about.kind;
        (*event).reason = about.reason;
        (*event).hook = about.at.hook as u8;
        (*event).pad = 0;
        (*event).pad16 = 0;
        (*event).ifindex = about.at.ifindex;
        (*event).len = about.bytes;
        (*event).service = about.service;
        (*event).backend = about.backend;
        (*event).pad4 = 0;
    }
    entry.submit(0);
}

/// Writes an address in its four words; those that IPv4 has not are zero.
#[inline(always)]
fn address<F: Net>(place: *mut [u32; 4], addr: &F::Addr) {
    let (place, words) = (place.cast::<u32>(), addr.as_ref());
    for number in 0..4 {
        let word = if number < F::WORDS { words[number] } else { 0 };
        // SAFETY: the caller hands in room for four words; volatile keeps the compiler from making a
        // byte loop of them.
        unsafe { place.add(number).write_volatile(word) };
    }
}
