//! Which types may be copied between memory and the kernel's tables as bytes.
#![expect(unsafe_code, reason = "a promise about layouts, made once per shared type")]

use skep_abi as abi;
use skep_abi::Family;

/// A plain type: any bytes of its size are a value, it holds no padding and no pointer.
///
/// # Safety
/// Implement it only for `repr(C)` types made of integers, whose size is the sum of its fields.
pub unsafe trait Record: Copy + 'static {
    /// The value whose bytes are all zero.
    fn zeroed() -> Self {
        // SAFETY: by the trait's promise all bytes are a value.
        unsafe { std::mem::zeroed() }
    }

    /// The value that `bytes` begins with, if they are enough.
    fn from_prefix(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..size_of::<Self>())?;
        // SAFETY: there are as many bytes as a value has, all of them are valid, and the read asks for
        // no alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// Implements [`Record`] for types of skep-abi, whose sizes are asserted there.
macro_rules! records {
    ($($plain:ty),* ; $($family:ident),*) => {
        $(
            // SAFETY: `repr(C)` of integers, padding spelled out, size asserted in skep-abi.
            unsafe impl Record for $plain {}
        )*
        $(
            // SAFETY: as above, for both families.
            unsafe impl<F: Family> Record for abi::$family<F> {}
        )*
    };
}

records!(
    u32, u64,
    abi::Service, abi::SlotBlock, abi::AffinityValue, abi::FragmentPorts, abi::Endpoint, abi::Node, abi::Peer, abi::NextHop,
    abi::Config, abi::Counter, abi::Event, abi::Listeners, abi::Trace;
    ServiceKey, AffinityKey, Backend, EndpointKey, NodeKey, FlowKey, Flow, SocketKey, SocketPeer,
    RangeKey, FragmentKey
);
