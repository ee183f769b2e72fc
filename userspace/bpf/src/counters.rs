//! Table `counters`: packets and bytes by hook and reason, added up over the processors.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use skep_abi::{Counter, Hook, Reason, counter_index};

use crate::{
    error::{Error, Result},
    pin, sys,
};

const NAME: &str = "counters";

/// A handle on the counters.
#[derive(Debug)]
pub struct Counters {
    fd: OwnedFd,
    cpus: usize,
}

impl Counters {
    pub(crate) fn open(maps_dir: &Path) -> Result<Self> {
        let (fd, _) = pin::open_map(maps_dir, NAME, size_of::<u32>(), size_of::<Counter>())?;
        let cpus = aya::util::nr_cpus().map_err(|(_, source)| Error::Table {
            action: "read",
            table: NAME,
            source,
        })?;
        Ok(Self { fd, cpus })
    }

    /// Packets and bytes that `hook` counted under `reason`.
    pub fn get(&self, hook: Hook, reason: Reason) -> Result<Counter> {
        let index = counter_index(hook, reason as u32);
        let values: Vec<Counter> = sys::lookup_per_cpu(self.fd.as_fd(), index, self.cpus)
            .map_err(|source| Error::Table { action: "read", table: NAME, source })?;
        Ok(values.iter().fold(Counter::default(), |sum, value| Counter {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
        }))
    }

    /// All counters that are not zero.
    pub fn all(&self) -> Result<Vec<(Hook, Reason, Counter)>> {
        let mut all = Vec::new();
        for &hook in Hook::ALL {
            for &reason in Reason::ALL {
                let counter = self.get(hook, reason)?;
                if counter.packets > 0 {
                    all.push((hook, reason, counter));
                }
            }
        }
        Ok(all)
    }
}
