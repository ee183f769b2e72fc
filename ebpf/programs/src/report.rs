//! Events: written into the ring in place, field by field.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use skep_abi::{Event, NO_BACKEND, Reason, config_flags, event_kind};
use skep_engine::{Ingress, Net};
use skep_packet::{Headers, Packet, parse};

use crate::{count::count, maps, tables::config};

/// What an event says beyond its packet.
struct About {
    kind: u8,
    reason: u8,
    at: Ingress,
    bytes: u32,
    service: u32,
    backend: u32,
}

/// Reports that a packet opened a connection to a Service.
#[inline(always)]
pub fn opened<F: Net>(headers: &Headers<F>, service: u32, backend: u32, at: Ingress) {
    let (kind, reason) = (event_kind::FLOW, Reason::Forwarded as u8);
    write(headers, &About { kind, reason, at, bytes: 0, service, backend });
}

/// Reports that a packet was dropped or rejected, if that is asked for.
#[inline(always)]
pub fn dropped<F: Net>(packet: &impl Packet, reason: u32, at: Ingress) {
    if config().is_none_or(|config| config.flags & config_flags::DROP_EVENTS == 0) {
        return;
    }
    // A packet that cannot be parsed has nothing to report but its hook and reason.
    if let Some(headers) = parse::<F>(packet) {
        let (kind, reason, bytes) = (event_kind::DROP, reason as u8, packet.len());
        write(&headers, &About { kind, reason, at, bytes, service: 0, backend: NO_BACKEND });
    }
}

#[inline(always)]
fn write<F: Net>(headers: &Headers<F>, about: &About) {
    let Some(mut entry) = maps::EVENTS.reserve_untyped::<Event>(0) else {
        count(about.at.hook, Reason::EventLost as u32, 0);
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring gave room for one event, and every field of it is written before it is read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        address::<F>(&raw mut (*event).src, &headers.src);
        address::<F>(&raw mut (*event).dst, &headers.dst);
        (*event).sport_be = headers.sport_be;
        (*event).dport_be = headers.dport_be;
        (*event).proto = headers.proto;
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
