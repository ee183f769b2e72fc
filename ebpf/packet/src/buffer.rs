//! A packet as the datapath sees it: fields at offsets, a length, and checksums that the one who owns
//! the buffer knows how to mend.

use crate::Wire;

use crate::{checksum::Difference, crc, extension};

/// What can be read from and written to a packet in one go: integers and words as they lie in memory.
pub trait Field: Copy {
    /// The value that the `size_of::<Self>()` bytes of `bytes` hold.
    fn load(bytes: &[u8]) -> Self;
    /// Puts the value into the `size_of::<Self>()` bytes of `bytes`.
    fn store(self, bytes: &mut [u8]);
}

impl Field for u8 {
    fn load(bytes: &[u8]) -> Self {
        bytes[0]
    }

    fn store(self, bytes: &mut [u8]) {
        bytes[0] = self;
    }
}

/// Implements [`Field`] for integers of several bytes.
macro_rules! integer_fields {
    ($($integer:ty),*) => {$(
        impl Field for $integer {
            fn load(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$integer>()];
                own.copy_from_slice(bytes);
                <$integer>::from_ne_bytes(own)
            }

            fn store(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}

integer_fields!(u16, u32);

impl<T: Field + Default, const N: usize> Field for [T; N] {
    fn load(bytes: &[u8]) -> Self {
        let mut values = [T::default(); N];
        for (value, bytes) in values.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *value = T::load(bytes);
        }
        values
    }

    fn store(self, bytes: &mut [u8]) {
        for (value, bytes) in self.into_iter().zip(bytes.chunks_exact_mut(size_of::<T>())) {
            value.store(bytes);
        }
    }
}

/// A packet that begins with its Ethernet header. Every access is checked against its end.
pub trait Packet {
    /// Bytes in the packet, all of them, also those that cannot be reached by offsets.
    fn len(&self) -> u32;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Brings the first `len` bytes in reach, as many of them as there are. Only what lies behind the
    /// headers of a usual packet has to be asked for.
    fn reach(&self, len: usize);
    /// The field at `offset`; nothing when the packet ends before its end.
    fn load<T: Field>(&self, offset: usize) -> Option<T>;

    /// Puts `value` at `offset`; nothing when the packet ends before its end.
    fn store<T: Field>(&mut self, offset: usize, value: T) -> Option<()>;

    /// Puts the words `new` at `offset`; what that changes. Nothing when the packet ends before their
    /// end.
    fn replace(&mut self, offset: usize, new: &[u32]) -> Option<Difference> {
        self.load::<u32>(offset + (new.len() - 1) * 4)?;
        let mut difference = Difference::NONE;
        for (number, new) in new.iter().enumerate() {
            let old: u32 = self.load(offset + number * 4)?;
            self.store(offset + number * 4, *new)?;
            difference = difference.u32(old, *new);
        }
        Some(difference)
    }

    /// Mends the TCP, UDP or ICMP checksum at `offset` after fields were changed: `pseudo` is the
    /// difference of what only the pseudo header covers (addresses), `own` of what the segment itself
    /// holds (ports, identifiers). A UDP checksum of zero (`is_udp`) stays: there is none.
    fn mend_checksum(
        &mut self,
        offset: usize,
        pseudo: Difference,
        own: Difference,
        is_udp: bool,
    ) -> Option<()> {
        let old: u16 = self.load(offset)?;
        if is_udp && old == 0 {
            return Some(());
        }
        let new = pseudo.and(own).apply(old);
        self.store(offset, if is_udp && new == 0 { u16::MAX } else { new })
    }

    /// Mends the SCTP checksum of a segment of `len` bytes at `l4` after its ports were changed by
    /// `difference`. One of zero stays: the device fills it in.
    fn mend_crc(&mut self, l4: usize, difference: [u8; 4], len: u16) -> Option<()> {
        let old: u32 = self.load(l4 + 8)?;
        if old == 0 || difference == [0; 4] {
            return Some(());
        }
        self.store(l4 + 8, old ^ Self::crc_of_change(difference, len))
    }

    /// [`crc::of_change`]; the kernel has it as a function of its own, which the verifier walks once.
    fn crc_of_change(difference: [u8; 4], len: u16) -> u32 {
        crc::of_change(difference, len)
    }

    /// [`extension::chain`]; the kernel has it as a function of its own, as few packets need it.
    fn chain_of_extensions(&self, start: usize) -> u64
    where
        Self: Sized,
    {
        extension::chain(self, start)
    }

    /// Makes the packet `len` bytes long: cuts its end or adds zeroes.
    fn resize(&mut self, len: u32) -> Option<()>;

    /// Whether the kernel will cut the packet into segments that fit the device it leaves by.
    fn is_segmented(&self) -> bool;

    /// Makes room for a network header of the family, without options, between the Ethernet header and
    /// the network header; what is in there is undefined.
    fn insert_header<F: Wire>(&mut self) -> Option<()>;

    /// Takes away as many bytes as [`Packet::insert_header`] adds.
    fn remove_header<F: Wire>(&mut self) -> Option<()>;
}
