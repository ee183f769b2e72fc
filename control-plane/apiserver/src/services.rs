//! Addresses and node ports of Services: which are taken is worked out from the stored Services at
//! start, and every change goes with the write that needs it, or not at all.

mod allocation;
mod bitmap;
mod families;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use parking_lot::Mutex;
use skep_api::Object;
use skep_api::registry::Resource;
use skep_api::status::Status;

use bitmap::Bitmap;

/// The cluster's ranges and what of them is taken.
#[derive(Debug)]
pub(crate) struct Services {
    /// One of each family at most; the first is that of Services that do not choose.
    ranges: Vec<IpNet>,
    ports: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    /// One per range.
    addresses: Vec<Bitmap>,
    ports: Bitmap,
}

/// What one Service holds, as offsets into the ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holding {
    addresses: Vec<Place>,
    ports: Vec<usize>,
}

/// A cluster address: the number of its range, and its place there.
type Place = (usize, usize);

/// What a write has taken. Dropped without [`Reservation::commit`], it is given back.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    services: &'a Services,
    taken: Holding,
    /// What the write no longer needs.
    released: Holding,
}

impl Reservation<'_> {
    /// The write has happened.
    pub(crate) fn commit(mut self) {
        self.taken = std::mem::take(&mut self.released);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.services.give_back(&self.taken);
    }
}

fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "services"
}

impl Services {
    pub(crate) fn new(ranges: Vec<IpNet>, ports: RangeInclusive<u16>) -> Self {
        let addresses = ranges.iter().map(empty).collect();
        let ports_bitmap = Bitmap::new(ports.len());
        Self { ranges, ports, taken: Mutex::new(Taken { addresses, ports: ports_bitmap }) }
    }

    /// The address of the `kubernetes` Service: the first of the range.
    pub(crate) fn first_address(range: IpNet) -> IpAddr {
        bitmap::nth_address(range, 1)
    }

    /// Takes what a stored Service holds.
    pub(crate) fn remember(&self, service: &Object) {
        let holding = self.holding(service);
        let mut taken = self.taken.lock();
        for &(range, offset) in &holding.addresses {
            taken.addresses[range].take(offset);
        }
        for &offset in &holding.ports {
            taken.ports.take(offset);
        }
    }

    /// Completes a Service that is about to be written, and takes what it needs. Other resources need
    /// nothing. `new` is absent where the write is none of the Service's specification.
    pub(crate) fn reserve(
        &self,
        resource: &Resource,
        new: Option<&mut Object>,
        old: Option<&Object>,
    ) -> Result<Reservation<'_>, Status> {
        let mut reservation =
            Reservation { services: self, taken: Holding::default(), released: Holding::default() };
        let Some(new) = new.filter(|_| is_service(resource)) else { return Ok(reservation) };
        let before = old.map(|old| self.holding(old)).unwrap_or_default();
        self.allocate(new, old, &mut reservation.taken)?;
        let after = self.holding(new);
        reservation.released = before.without(&after);
        Ok(reservation)
    }

    /// Gives back what a deleted Service held.
    pub(crate) fn release(&self, resource: &Resource, service: &Object) {
        if is_service(resource) {
            self.give_back(&self.holding(service));
        }
    }

    fn give_back(&self, holding: &Holding) {
        let mut taken = self.taken.lock();
        holding.addresses.iter().for_each(|&(range, offset)| taken.addresses[range].free(offset));
        holding.ports.iter().for_each(|&offset| taken.ports.free(offset));
    }

    fn place(&self, address: IpAddr) -> Option<Place> {
        let mut ranges = self.ranges.iter().enumerate();
        ranges.find_map(|(number, range)| Some((number, bitmap::offset_of(*range, address)?)))
    }

    fn port_offset(&self, port: u16) -> Option<usize> {
        self.ports.contains(&port).then(|| usize::from(port - self.ports.start()))
    }

    fn holding(&self, service: &Object) -> Holding {
        let addresses = allocation::addresses(service).into_iter();
        let mut ports: Vec<usize> =
            allocation::node_ports(service).filter_map(|port| self.port_offset(port)).collect();
        ports.sort_unstable();
        ports.dedup();
        Holding { addresses: addresses.filter_map(|address| self.place(address)).collect(), ports }
    }
}

/// A range of which nothing is taken but the network's own address and, for IPv4, the broadcast address,
/// which serve nobody.
fn empty(range: &IpNet) -> Bitmap {
    let host_bits = u32::from(range.max_prefix_len() - range.prefix_len());
    let mut addresses = Bitmap::new(1 << host_bits);
    addresses.take(0);
    if range.addr().is_ipv4() {
        addresses.take((1 << host_bits) - 1);
    }
    addresses
}

impl Holding {
    fn without(&self, other: &Self) -> Self {
        fn less<T: Copy + PartialEq>(all: &[T], other: &[T]) -> Vec<T> {
            all.iter().copied().filter(|held| !other.contains(held)).collect()
        }
        Self {
            addresses: less(&self.addresses, &other.addresses),
            ports: less(&self.ports, &other.ports),
        }
    }
}

#[cfg(test)]
mod tests;
