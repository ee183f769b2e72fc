//! A packet in ordinary memory.

use std::vec::Vec;

use crate::{Field, Packet, Wire, headers::ETHERNET};

/// A packet's bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPacket(pub Vec<u8>);

impl Packet for HostPacket {
    fn len(&self) -> u32 {
        self.0.len() as u32
    }

    fn reach(&self, _len: usize) {}

    fn load<T: Field>(&self, offset: usize) -> Option<T> {
        self.0.get(offset..offset + size_of::<T>()).map(T::load)
    }

    fn store<T: Field>(&mut self, offset: usize, value: T) -> Option<()> {
        self.0.get_mut(offset..offset + size_of::<T>()).map(|bytes| value.store(bytes))
    }

    fn resize(&mut self, len: u32) -> Option<()> {
        self.0.resize(len as usize, 0);
        Some(())
    }

    fn is_segmented(&self) -> bool {
        false
    }

    fn insert_header<F: Wire>(&mut self) -> Option<()> {
        let zeroes = std::iter::repeat_n(0, F::HEADER);
        self.0.get(ETHERNET..)?;
        self.0.splice(ETHERNET..ETHERNET, zeroes);
        Some(())
    }

    fn remove_header<F: Wire>(&mut self) -> Option<()> {
        self.0.get(ETHERNET..ETHERNET + F::HEADER)?;
        self.0.drain(ETHERNET..ETHERNET + F::HEADER);
        Some(())
    }
}
