//! What a Service port takes of the kernel's memory, as the kernel accounts it.

use anyhow::Result;
use skep_abi::{Backend, Service, ServiceKey, backend_state, scope};

use crate::kernel::{InTables, KernelNode};

/// Ports that are written: enough that a part of a chunk more or less does not count.
const PORTS: u32 = 6_000;
/// Backends of each.
pub const BACKENDS: u32 = 10;
/// A row's place in a hash that is full: `struct bucket`. A table takes the places of all its rows at once.
const PLACE_BYTES: u64 = 16;

/// The memory of a Service port on a cluster address, its slots apart, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// IP version.
    pub version: u8,
    /// A row of `services`, of which a port has one for each scope.
    pub row: u64,
    /// A row of `backends`.
    pub backend: u64,
}

impl Footprint {
    /// Writes ports into the tables of a node and sees what they hold then.
    ///
    /// # Errors
    /// When the tables cannot be written or measured.
    pub fn measure<F: InTables>(node: &KernelNode) -> Result<Self> {
        let tables = F::of(node.datapath().tables());
        let (rows, backends) = (2 * PORTS, PORTS * BACKENDS);
        let before = (tables.services.bytes()?, tables.backends.bytes()?);
        tables.backends.grow(1 + backends)?;
        for id in 1..=backends {
            let used = Backend::<F> { state: backend_state::READY, ..Backend::default() };
            tables.backends.set(id, &used)?;
        }
        let row = |number: u32| {
            let port_be = (number / 2 % 60_000) as u16;
            let scope = [scope::INTERNAL, scope::EXTERNAL][(number % 2) as usize];
            (ServiceKey::<F> { port_be, scope, ..ServiceKey::default() }, Service::default())
        };
        tables.services.insert_all(&(0..rows).map(row).collect::<Vec<_>>())?;
        let after = (tables.services.bytes()?, tables.backends.bytes()?);
        Ok(Self {
            version: F::VERSION,
            row: (after.0 - before.0) / u64::from(rows) + PLACE_BYTES,
            backend: (after.1 - before.1) / u64::from(backends),
        })
    }

    /// A port with [`BACKENDS`] backends.
    pub fn port(&self) -> u64 {
        2 * self.row + u64::from(BACKENDS) * self.backend
    }
}
