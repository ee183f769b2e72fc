//! A packet in a TC program.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{
        bpf_l4_csum_replace, bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_pull_data,
    },
};
use skep_abi::Hook;
use skep_engine::Ingress;
use skep_packet::{Field, Packet, Wire, checksum::Difference, extension};

use crate::{
    run::argument,
    words::{crc_of_change, replace},
};

/// `BPF_F_PSEUDO_HDR`: the change is in the pseudo header.
const PSEUDO_HEADER: u64 = 1 << 4;
/// `BPF_F_MARK_MANGLED_0`: a UDP checksum of zero stays.
const KEEP_ZERO: u64 = 1 << 5;
/// `BPF_ADJ_ROOM_MAC`: behind the Ethernet header.
const BEHIND_ETHERNET: u32 = 1;
/// `BPF_F_ADJ_ROOM_ENCAP_L3_IPV4`, so that the kernel can cut what it merged.
const ENCAPSULATE_IPV4: u64 = 1 << 1;
/// `BPF_F_ADJ_ROOM_ENCAP_L3_IPV6`.
const ENCAPSULATE_IPV6: u64 = 1 << 2;

/// Bytes of headers that the engine reads at most: Ethernet, IPv4 with options or IPv6, and TCP.
const HEADERS: usize = 14 + 60 + 20;

/// A packet.
pub struct Skb(*mut __sk_buff);

impl Skb {
    /// The packet of a program's context, its headers in reach.
    #[inline(always)]
    pub fn new(context: *mut __sk_buff) -> Self {
        let skb = Self(context);
        // Should it fail, the engine calls the packet malformed.
        skb.reach(HEADERS);
        skb
    }

    /// A packet whose headers were brought in reach before.
    #[inline(always)]
    pub fn reached(context: *mut __sk_buff) -> Self {
        Self(argument(context))
    }

    /// The context, for helpers.
    #[inline(always)]
    pub fn context(&self) -> *mut __sk_buff {
        self.0
    }

    /// Where the packet is.
    #[inline(always)]
    pub fn at(&self, hook: Hook) -> Ingress {
        // SAFETY: the context is valid while the program runs.
        Ingress { ifindex: unsafe { (*self.0).ifindex }, hook, from_peer: false }
    }

    /// The address of a field, if all of it lies in reach.
    #[inline(always)]
    fn field<T>(&self, offset: usize) -> Option<*mut T> {
        self.bytes(offset, size_of::<T>()).map(<*mut u8>::cast)
    }

    /// The address of `count` bytes, if all of them lie in reach.
    #[inline(always)]
    fn bytes(&self, offset: usize, count: usize) -> Option<*mut u8> {
        // SAFETY: the context is valid while the program runs.
        let (start, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        let field = start + offset;
        if field + count > end {
            return None;
        }
        Some(field as *mut u8)
    }
}

/// [`extension::chain`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn skb_chain(context: *mut __sk_buff, start: u64) -> u64 {
    extension::chain(&Skb(context), start as usize)
}

impl Packet for Skb {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).len }
    }

    #[inline(always)]
    fn reach(&self, len: usize) {
        // SAFETY: as above.
        let (all, linear) = unsafe { ((*self.0).len, (*self.0).data_end - (*self.0).data) };
        let wanted = if (len as u32) < all { len as u32 } else { all };
        if linear < wanted {
            // SAFETY: the helper checks the length itself; should it fail, fields are out of reach.
            unsafe { bpf_skb_pull_data(self.0, wanted) };
        }
    }

    #[inline(always)]
    fn load<T: Field>(&self, offset: usize) -> Option<T> {
        // SAFETY: `field` checked the bounds, as the verifier proves; the machines that run eBPF load
        // from any address, and any bits are a value of an integer.
        self.field::<T>(offset).map(|field| unsafe { *field })
    }

    #[inline(always)]
    fn store<T: Field>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: as for `load`.
        self.field::<T>(offset).map(|field| unsafe { *field = value })
    }

    #[inline(always)]
    fn replace(&mut self, offset: usize, new: &[u32]) -> Option<Difference> {
        replace(self.bytes(offset, size_of_val(new))?, new)
    }

    /// The helper knows whether the device still has to fill the checksum in; the bytes do not tell.
    #[inline(always)]
    fn mend_checksum(
        &mut self,
        offset: usize,
        pseudo: Difference,
        own: Difference,
        is_udp: bool,
    ) -> Option<()> {
        let keep_zero = if is_udp { KEEP_ZERO } else { 0 };
        let offset = offset as u32;
        if !pseudo.is_none() {
            let (to, flags) = (u64::from(pseudo.fold32()), PSEUDO_HEADER | keep_zero);
            // SAFETY: the helper checks the offset itself.
            if unsafe { bpf_l4_csum_replace(self.0, offset, 0, to, flags) } != 0 {
                return None;
            }
        }
        // SAFETY: as above.
        match unsafe { bpf_l4_csum_replace(self.0, offset, 0, u64::from(own.fold32()), keep_zero) }
        {
            0 => Some(()),
            _ => None,
        }
    }

    #[inline(always)]
    fn crc_of_change(difference: [u8; 4], len: u16) -> u32 {
        crc_of_change(u32::from_ne_bytes(difference), u32::from(len))
    }

    #[inline(always)]
    fn chain_of_extensions(&self, start: usize) -> u64 {
        // The compiler sees into the function, and leaves out bounds that the verifier has to be shown.
        core::hint::black_box(skb_chain(self.0, start as u64))
    }

    #[inline(always)]
    fn resize(&mut self, len: u32) -> Option<()> {
        // SAFETY: the helper checks the length itself.
        match unsafe { bpf_skb_change_tail(self.0, len, 0) } {
            0 => Some(()),
            _ => None,
        }
    }

    #[inline(always)]
    fn is_segmented(&self) -> bool {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).gso_size != 0 }
    }

    #[inline(always)]
    fn insert_header<F: Wire>(&mut self) -> Option<()> {
        let flags = if F::VERSION == 4 { ENCAPSULATE_IPV4 } else { ENCAPSULATE_IPV6 };
        let bytes = F::HEADER as i32;
        // SAFETY: the helper checks the length itself.
        match unsafe { bpf_skb_adjust_room(self.0, bytes, BEHIND_ETHERNET, flags) } {
            0 => Some(()),
            _ => None,
        }
    }

    #[inline(always)]
    fn remove_header<F: Wire>(&mut self) -> Option<()> {
        let bytes = -(F::HEADER as i32);
        // SAFETY: as above.
        match unsafe { bpf_skb_adjust_room(self.0, bytes, BEHIND_ETHERNET, 0) } {
            0 => Some(()),
            _ => None,
        }
    }
}
