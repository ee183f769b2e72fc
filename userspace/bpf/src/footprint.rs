//! What a Service costs in kernel memory: sizes of entries, with the kernel's bookkeeping.

use skep_abi::{Backend, Family, Service, ServiceKey};

/// In front of the key of a hash table's entry: `struct htab_elem`.
const HASH_ENTRY_BYTES: usize = 48;
/// What the allocator of such entries adds to each: `LLIST_NODE_SZ`.
const FREE_LIST_BYTES: usize = 8;
/// An entry's place in the hash: `struct bucket`.
const BUCKET_BYTES: usize = 16;
/// What the kernel's allocator rounds up to, as far as entries are concerned.
const SLABS: [usize; 8] = [8, 16, 32, 64, 96, 128, 192, 256];

/// Bytes that a row of `services` takes, its place in a table that is full included.
pub fn frontend_bytes<F: Family>() -> usize {
    let key = size_of::<ServiceKey<F>>().next_multiple_of(8);
    let entry = HASH_ENTRY_BYTES + key + size_of::<Service>() + FREE_LIST_BYTES;
    let slab = SLABS.into_iter().find(|slab| *slab >= entry);
    BUCKET_BYTES + slab.unwrap_or(entry.next_power_of_two())
}

/// Bytes that a Service port on a cluster address takes, its slots and the rest of its address not
/// included: a row for each scope, and its backends.
pub fn service_port_bytes<F: Family>(backends: usize) -> usize {
    2 * frontend_bytes::<F>() + backends * size_of::<Backend<F>>().next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use skep_abi::{V4, V6};

    use super::*;

    #[test]
    fn a_service_port_with_ten_backends_is_small() {
        assert_eq!(service_port_bytes::<V4>(10), 384);
        assert_eq!(service_port_bytes::<V6>(10), 608);
    }
}
