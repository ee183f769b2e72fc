//! The `endpoints` tables, with addresses of either family.

use std::net::IpAddr;

use skep_abi::{Endpoint, EndpointKey, Family, V4, V6};
use skep_bpf::{FamilyTables, Tables};

use crate::error::Result;

/// The address as a key of its own family's table.
fn key<F: Family>(address: IpAddr) -> Option<EndpointKey<F>> {
    F::addr_from_ip(address).map(|addr| EndpointKey { addr })
}

/// Writes one endpoint. An equal one stays untouched, what programs noted in it included.
pub fn insert(tables: &Tables, address: IpAddr, endpoint: &Endpoint) -> Result<()> {
    insert_one(&tables.v4, address, endpoint)?;
    insert_one(&tables.v6, address, endpoint)
}

fn insert_one<F: Family>(
    tables: &FamilyTables<F>,
    address: IpAddr,
    endpoint: &Endpoint,
) -> Result<()> {
    let Some(key) = key::<F>(address) else { return Ok(()) };
    let same = |old: Endpoint| Endpoint { translated: endpoint.translated, ..old } == *endpoint;
    if !tables.endpoints.get(&key)?.is_some_and(same) {
        tables.endpoints.insert(&key, endpoint)?;
    }
    Ok(())
}

/// Removes one endpoint; whether it was there.
pub fn remove(tables: &Tables, address: IpAddr) -> Result<bool> {
    let v4 = key::<V4>(address).map_or(Ok(false), |key| tables.v4.endpoints.remove(&key))?;
    let v6 = key::<V6>(address).map_or(Ok(false), |key| tables.v6.endpoints.remove(&key))?;
    Ok(v4 || v6)
}

/// The endpoint with this address.
pub fn get(tables: &Tables, address: IpAddr) -> Result<Option<Endpoint>> {
    Ok(match address {
        IpAddr::V4(_) => match key::<V4>(address) {
            Some(key) => tables.v4.endpoints.get(&key)?,
            None => None,
        },
        IpAddr::V6(_) => match key::<V6>(address) {
            Some(key) => tables.v6.endpoints.get(&key)?,
            None => None,
        },
    })
}

/// All endpoints of both families.
pub fn entries(tables: &Tables) -> Result<Vec<(IpAddr, Endpoint)>> {
    let v4 = tables.v4.endpoints.entries()?.into_iter().map(|(k, v)| (V4::addr_to_ip(k.addr), v));
    let v6 = tables.v6.endpoints.entries()?.into_iter().map(|(k, v)| (V6::addr_to_ip(k.addr), v));
    Ok(v4.chain(v6).collect())
}
