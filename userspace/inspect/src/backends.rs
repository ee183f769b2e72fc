//! `skep net backends`: the tables `backends4` and `backends6`.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use skep_abi::{Family, V4, V6};
use skep_abi::{backend_state, via};
use skep_bpf::{FamilyTables, Tables};

use crate::names::Resolver;
use crate::output::Row;

/// A backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Backend {
    family: u8,
    id: u32,
    address: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    state: &'static str,
    via: String,
}

impl Row for Backend {
    const COLUMNS: &'static [&'static str] = &["ID", "ADDRESS", "STATE", "POD"];
    const WIDE_COLUMNS: &'static [&'static str] = &["VIA"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.address.to_string(),
            self.state.into(),
            self.pod.clone().unwrap_or_else(|| "-".into()),
            self.via.clone(),
        ]
    }
}

/// All backends in use, in the order of their ids.
pub(crate) fn list(tables: &Tables, names: &Resolver) -> anyhow::Result<Vec<Backend>> {
    let mut backends = of::<V4>(&tables.v4, names)?;
    backends.extend(of::<V6>(&tables.v6, names)?);
    Ok(backends)
}

fn of<F: Family>(tables: &FamilyTables<F>, names: &Resolver) -> anyhow::Result<Vec<Backend>> {
    let mut backends = Vec::new();
    for id in 1..tables.backends.size()? {
        let backend = tables.backends.get(id)?;
        let Some(state) = state(backend.state) else { continue };
        let ip: IpAddr = F::addr_to_ip(backend.addr);
        backends.push(Backend {
            family: F::VERSION,
            id,
            address: SocketAddr::new(ip, u16::from_be(backend.port_be)),
            pod: names.pod(ip).map(ToOwned::to_owned),
            state,
            via: match backend.via {
                via::POD => format!("device {}", backend.ifindex),
                via::HOST => "this node".into(),
                via::PEER => format!("peer {}", backend.peer),
                _ => "look-up".into(),
            },
        });
    }
    Ok(backends)
}

fn state(number: u8) -> Option<&'static str> {
    match number {
        backend_state::UNUSED => None,
        backend_state::READY => Some("ready"),
        backend_state::TERMINATING => Some("terminating"),
        backend_state::GONE => Some("gone"),
        _ => Some("unknown"),
    }
}
