//! A packet in an XDP program.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
};
use skep_abi::Hook;
use skep_engine::Ingress;
use skep_packet::{Field, Packet, Wire, checksum::Difference, extension};

use crate::words::{crc_of_change, replace};

/// A packet. What comes from a wire has its checksum. (What comes from a veth pair may have only the
/// start of one, which nothing here tells: there this program must not sit.)
pub struct Frame(*mut xdp_md);

impl Frame {
    /// The packet of a program's context.
    #[inline(always)]
    pub fn new(context: *mut xdp_md) -> Self {
        Self(context)
    }

    /// Where the packet is.
    #[inline(always)]
    pub fn at(&self, from_peer: bool) -> Ingress {
        // SAFETY: the context is valid while the program runs.
        Ingress { ifindex: unsafe { (*self.0).ingress_ifindex }, hook: Hook::Xdp, from_peer }
    }

    /// Moves the start of the packet, and the Ethernet header with it.
    #[inline(always)]
    fn move_start(&mut self, bytes: i32) -> Option<()> {
        let macs: [u32; 3] = self.load(0)?;
        let ethertype: u16 = self.load(12)?;
        // SAFETY: the helper checks the room itself.
        match unsafe { bpf_xdp_adjust_head(self.0, bytes) } {
            0 => {
                self.store(0, macs)?;
                self.store(12, ethertype)
            }
            _ => None,
        }
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
pub extern "C" fn frame_chain(context: *mut xdp_md, start: u64) -> u64 {
    extension::chain(&Frame(context), start as usize)
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { (*self.0).data_end - (*self.0).data }
    }

    /// What the driver left out of reach stays there.
    #[inline(always)]
    fn reach(&self, _len: usize) {}

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

    #[inline(always)]
    fn crc_of_change(difference: [u8; 4], len: u16) -> u32 {
        crc_of_change(u32::from_ne_bytes(difference), u32::from(len))
    }

    #[inline(always)]
    fn chain_of_extensions(&self, start: usize) -> u64 {
        // The compiler sees into the function, and leaves out bounds that the verifier has to be shown.
        core::hint::black_box(frame_chain(self.0, start as u64))
    }

    #[inline(always)]
    fn resize(&mut self, len: u32) -> Option<()> {
        let change = len.wrapping_sub(self.len()).cast_signed();
        // SAFETY: the helper checks the length itself.
        match unsafe { bpf_xdp_adjust_tail(self.0, change) } {
            0 => Some(()),
            _ => None,
        }
    }

    /// The kernel has not merged anything yet.
    #[inline(always)]
    fn is_segmented(&self) -> bool {
        false
    }

    #[inline(always)]
    fn insert_header<F: Wire>(&mut self) -> Option<()> {
        self.move_start(-(F::HEADER as i32))
    }

    #[inline(always)]
    fn remove_header<F: Wire>(&mut self) -> Option<()> {
        self.move_start(F::HEADER as i32)
    }
}
