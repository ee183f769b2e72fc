//! `skep net endpoints`: the tables `endpoints4` and `endpoints6`.

use std::net::IpAddr;

use serde::Serialize;
use skep_abi::endpoint_flags;
use skep_bpf::Tables;

use crate::names::Resolver;
use crate::output::Row;

/// An address on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    address: IpAddr,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    ifindex: u32,
    mac: String,
    host_mac: String,
    identity: u32,
}

impl Row for Endpoint {
    const COLUMNS: &'static [&'static str] = &["ADDRESS", "KIND", "DEVICE", "POD"];
    const WIDE_COLUMNS: &'static [&'static str] = &["MAC", "HOST MAC", "IDENTITY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.address.to_string(),
            self.kind.into(),
            if self.ifindex == 0 { "-".into() } else { self.ifindex.to_string() },
            self.pod.clone().unwrap_or_else(|| "-".into()),
            self.mac.clone(),
            self.host_mac.clone(),
            self.identity.to_string(),
        ]
    }
}

/// All endpoints in the order of their addresses.
pub(crate) fn list(tables: &Tables, names: &Resolver) -> anyhow::Result<Vec<Endpoint>> {
    let row = |(address, endpoint): (IpAddr, skep_abi::Endpoint)| Endpoint {
        address,
        kind: if endpoint.flags & endpoint_flags::POD != 0 { "pod" } else { "host" },
        pod: names.pod(address).map(ToOwned::to_owned),
        ifindex: endpoint.ifindex,
        mac: mac(endpoint.mac),
        host_mac: mac(endpoint.host_mac),
        identity: endpoint.identity,
    };
    let mut endpoints: Vec<_> =
        skep_network::endpoints::entries(tables)?.into_iter().map(row).collect();
    endpoints.sort_by_key(|endpoint| endpoint.address);
    Ok(endpoints)
}

pub(crate) fn mac([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
