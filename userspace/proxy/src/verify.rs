//! Whether the kernel's tables are what a fresh start would make of the cluster.
//!
//! The expectation is computed by the same pure functions that the proxy runs, from an empty state;
//! what is compared is what packets depend on, not which ids and slots happened to be allotted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Instant;

use ipnet::IpNet;
use kube::Client;
use skep_abi::{Service, backend_state};
use skep_bpf::Tables;
use skep_network::attachments::Attachment;

use crate::arena::Run;
use crate::desired::Desired;
use crate::frontend::{Family, PortTables};
use crate::host_ports;
use crate::local_node::LocalNode;
use crate::objects;
use crate::plan::{Planner, RowKey, Snapshot, fingerprint};
use crate::room::Capacity;
use crate::rows;
use crate::run;
use crate::service::ServiceName;
use crate::watch::{self, WatchError};

/// What the API says, as far as Services depend on it.
#[derive(Debug, Default)]
pub struct Cluster {
    /// All Services that are a node's concern.
    pub services: Vec<objects::Service>,
    /// All their EndpointSlices.
    pub slices: Vec<objects::EndpointSlice>,
    /// The node's own host ports, by their plan's names.
    pub host_ports: Vec<(ServiceName, Vec<PortTables>)>,
}

impl Cluster {
    /// Reads it.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn read(client: &Client) -> Result<Self, WatchError> {
        Ok(Self {
            services: watch::list(client, &run::services()).await?,
            slices: watch::list(client, &run::slices()).await?,
            host_ports: Vec::new(),
        })
    }

    /// Adds the ports that pods of this node have on the node itself.
    pub fn add_host_ports(&mut self, attachments: &[Attachment], node: &LocalNode) {
        self.host_ports.extend(host_ports::of_node(attachments, node));
    }
}

/// What packets find under one row of `services`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    flags: u32,
    affinity_s: u32,
    /// The backends in the order of the slots, as one number.
    slots: u64,
    slot_count: u32,
    backends: BTreeSet<SocketAddr>,
    ranges: BTreeSet<IpNet>,
    /// The Service port, where it is known.
    owner: Option<String>,
}

/// What the tables hold, without the numbers that only they know.
#[derive(Debug, Clone, Default)]
pub struct Content {
    rows: BTreeMap<RowKey, Row>,
    /// The state of every backend that a row leads to or that drains.
    backends: BTreeMap<SocketAddr, u8>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row, with the Service's name where it is known.
    pub row: String,
    /// What a fresh start would write; nothing when the row should not be there.
    pub expected: Option<String>,
    /// What is there, if anything.
    pub found: Option<String>,
}

/// What a fresh start on this node would write.
pub fn expected(cluster: &Cluster, node: &LocalNode, capacity: Capacity) -> Content {
    let now = Instant::now();
    let mut desired = Desired::new(node.clone());
    cluster.services.iter().for_each(|service| desired.set_service(service));
    cluster.slices.iter().for_each(|slice| desired.set_slice(slice));
    let mut planner = Planner::new(capacity, Snapshot::default());
    planner.settle(now);
    let mut content = Content::default();
    let mut runs = HashMap::new();
    let (mut ranges, mut addresses) = (BTreeMap::new(), [HashMap::new(), HashMap::new()]);
    let all = desired.take_changed(usize::MAX);
    // A Service at a time: their runs together may be large.
    for (name, ports) in all.into_iter().chain(cluster.host_ports.iter().cloned()) {
        planner.set_service(&name, ports, now);
        let plan = planner.take_plan(now);
        for row in plan.backends.iter().chain(&plan.gone) {
            let family = Family::of(row.address.ip()) as usize;
            addresses[family].insert(row.id, row.address);
            content.backends.insert(row.address, row.state);
        }
        for (id, range) in plan.ranges {
            ranges.entry(id).or_insert_with(BTreeSet::new).insert(range);
        }
        let owners: HashMap<u32, String> =
            planner.ids_of(&name).map(|(id, key)| (id, key.to_string())).collect();
        runs.extend(plan.slots);
        for (key, row) in plan.services {
            let slots = runs.get(&run_of(&row)).map_or(&[][..], Vec::as_slice);
            let addresses = &addresses[Family::of(key.address) as usize];
            let owner = owners.get(&row.id).cloned();
            content.rows.insert(key, content_of(&row, slots, addresses, &ranges, owner));
        }
    }
    content
}

/// What the tables hold. `names`: of the service ids.
///
/// # Errors
/// When they cannot be read.
pub fn found(tables: &Tables, names: &BTreeMap<u32, String>) -> skep_bpf::Result<Content> {
    let mut content = Content::default();
    let mut addresses = [HashMap::new(), HashMap::new()];
    let backends = rows::backends(&tables.v4)?.into_iter().chain(rows::backends(&tables.v6)?);
    for row in backends {
        addresses[Family::of(row.address.ip()) as usize].insert(row.id, row.address);
        // Of two rows with one address the older waits for the end of its grace.
        let state = content.backends.entry(row.address).or_insert(row.state);
        *state = (*state).min(row.state);
    }
    let mut ranges: BTreeMap<u32, BTreeSet<IpNet>> = BTreeMap::new();
    for (id, range) in rows::all_ranges(tables)? {
        ranges.entry(id).or_default().insert(range);
    }
    for (key, row) in rows::all_services(tables)? {
        // A run outside of the array holds nothing that packets could find.
        let slots = tables.slots.read(row.slot_base, row.slot_count).unwrap_or_default();
        let addresses = &addresses[Family::of(key.address) as usize];
        let owner = names.get(&row.id).cloned();
        content.rows.insert(key, content_of(&row, &slots, addresses, &ranges, owner));
    }
    Ok(content)
}

fn run_of(row: &Service) -> Run {
    Run { base: row.slot_base, count: row.slot_count }
}

fn content_of(
    row: &Service,
    slots: &[u32],
    addresses: &HashMap<u32, SocketAddr>,
    ranges: &BTreeMap<u32, BTreeSet<IpNet>>,
    owner: Option<String>,
) -> Row {
    let ids: BTreeSet<u32> = slots.iter().copied().collect();
    let backends: BTreeSet<SocketAddr> =
        ids.iter().filter_map(|id| addresses.get(id).copied()).collect();
    // Ids differ from run to run: their places among the addresses do not.
    let place: HashMap<u32, u32> = ids
        .iter()
        .map(|id| {
            let place = addresses.get(id).and_then(|a| backends.iter().position(|b| b == a));
            (*id, place.map_or(u32::MAX, |place| place as u32))
        })
        .collect();
    let places: Vec<u32> = slots.iter().map(|id| place[id]).collect();
    Row {
        flags: row.flags,
        affinity_s: row.affinity_s,
        slots: fingerprint(&places),
        slot_count: row.slot_count,
        backends,
        ranges: ranges.get(&row.id).cloned().unwrap_or_default(),
        owner,
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |all: Vec<String>| all.join(" ");
        let backends = list(self.backends.iter().map(ToString::to_string).collect());
        write!(f, "flags {:#x}, {} slots of [{backends}]", self.flags, self.slot_count)?;
        if self.affinity_s > 0 {
            write!(f, ", affinity {} s", self.affinity_s)?;
        }
        if !self.ranges.is_empty() {
            let ranges = list(self.ranges.iter().map(ToString::to_string).collect());
            write!(f, ", ranges [{ranges}]")?;
        }
        write!(f, ", order {:016x}", self.slots)
    }
}

/// What differs, in the order of tables and rows.
pub fn compare(expected: &Content, found: &Content) -> Vec<Difference> {
    let keys: BTreeSet<_> = expected.rows.keys().chain(found.rows.keys()).collect();
    let same =
        |left: &Row, right: &Row| Row { owner: right.owner.clone(), ..left.clone() } == *right;
    let mut differences = Vec::new();
    for key in keys {
        let (should, is) = (expected.rows.get(key), found.rows.get(key));
        if should.zip(is).is_some_and(|(should, is)| same(should, is)) {
            continue;
        }
        let owner = should.or(is).and_then(|row| row.owner.clone()).unwrap_or_default();
        let address = SocketAddr::new(key.address, key.port);
        differences.push(Difference {
            table: if key.address.is_ipv4() { "services4" } else { "services6" },
            row: format!("{address}/{} {:?} {owner}", key.protocol, key.scope).trim_end().into(),
            expected: should.map(ToString::to_string),
            found: is.map(ToString::to_string),
        });
    }
    // What is gone stays in the table for the time of its grace, and differs from nothing.
    let lives = |state: &u8| *state != backend_state::GONE;
    let addresses: BTreeSet<_> = expected.backends.keys().chain(found.backends.keys()).collect();
    for address in addresses {
        let should = expected.backends.get(address).copied().filter(lives);
        let is = found.backends.get(address).copied().filter(lives);
        if should != is {
            differences.push(Difference {
                table: if address.is_ipv4() { "backends4" } else { "backends6" },
                row: address.to_string(),
                expected: should.map(|state| format!("state {state}")),
                found: is.map(|state| format!("state {state}")),
            });
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::room::Room;

    const CAPACITY: Capacity = Capacity {
        slots: Room { size: 1 << 16, limit: 1 << 16 },
        backends: [Room { size: 1 << 10, limit: 1 << 10 }; 2],
        services: [1 << 10; 2],
        ranges: [1 << 10; 2],
    };

    fn node() -> LocalNode {
        let addresses = vec!["192.0.2.10".parse().expect("address")];
        LocalNode { name: "a".into(), addresses, ..LocalNode::default() }
    }

    fn cluster(names: &[&str], last: u8) -> Cluster {
        let mut cluster = Cluster::default();
        for (number, name) in names.iter().enumerate() {
            let service = json!({
                "metadata": { "namespace": "shop", "name": name },
                "spec": {
                    "clusterIP": format!("10.96.0.{}", number + 1),
                    "ports": [{ "name": "http", "port": 80 }],
                },
            });
            let endpoints: Vec<_> = (1..=last)
                .map(|n| json!({ "addresses": [format!("10.244.{number}.{n}")] }))
                .collect();
            let slice = json!({
                "metadata": {
                    "namespace": "shop", "name": name,
                    "labels": { "kubernetes.io/service-name": name },
                },
                "addressType": "IPv4", "endpoints": endpoints,
                "ports": [{ "name": "http", "port": 8080 }],
            });
            let of = |kind, object| objects::from_json("discovery.k8s.io/v1", kind, object);
            cluster.services.push(objects::from_json("v1", "Service", &service));
            cluster.slices.push(of("EndpointSlice", &slice));
        }
        cluster
    }

    #[test]
    fn the_order_of_events_makes_no_difference() {
        let forth = expected(&cluster(&["a", "b", "c"], 5), &node(), CAPACITY);
        let mut back = cluster(&["a", "b", "c"], 5);
        back.services.reverse();
        back.slices.reverse();
        assert!(!forth.rows.is_empty());
        assert_eq!(compare(&forth, &expected(&back, &node(), CAPACITY)), []);
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let should = expected(&cluster(&["a", "b"], 2), &node(), CAPACITY);
        let fewer = expected(&cluster(&["a", "b"], 1), &node(), CAPACITY);
        let named = compare(&should, &fewer);
        let row = named.iter().find(|d| d.row == "10.96.0.1:80/6 Inside shop/a:http");
        let row = row.expect("the front end");
        let text = row.expected.as_deref().unwrap_or_default();
        assert!(text.contains("10.244.0.1:8080 10.244.0.2:8080"), "{text}");
        let lost = named.iter().find(|d| d.row == "10.244.1.2:8080").expect("the backend");
        assert_eq!((lost.table, lost.found.is_none()), ("backends4", true));

        let gone = compare(&should, &expected(&cluster(&["a"], 2), &node(), CAPACITY));
        assert!(gone.iter().all(|d| d.found.is_none()), "{gone:?}");
        let extra = compare(&Content::default(), &should);
        assert!(!extra.is_empty() && extra.iter().all(|d| d.expected.is_none()), "{extra:?}");

        let mut turned = should.clone();
        turned.rows.values_mut().for_each(|row| row.slots ^= 1);
        assert!(!compare(&should, &turned).is_empty(), "the order of the slots counts");
    }
}
