//! Plans and snapshots as the kernel's rows: the thin edge to the tables.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use skep_abi::{
    AffinityKey, AffinityValue, Backend, Endpoint, EndpointKey, Family, Flow, FlowKey, LOCAL_BOND,
    NO_PEER, Node, NodeKey, RANGE_ALLOWED, RangeKey, Service, ServiceKey, V4, V6, backend_state,
    config_flags, endpoint_flags, proto, scope, via,
};
use skep_bpf::{FamilyTables, Result, Table, Tables};

use crate::arena::Run;
use crate::backend_ids::BackendRow;
use crate::frontend::{self, Scope};
use crate::plan::{Bond, Plan, RowKey, Snapshot, fingerprint};
use crate::room::{Capacity, Room};
use crate::ways::{Way, Ways};

/// What the tables can hold.
pub fn capacity(tables: &Tables) -> Result<Capacity> {
    let Tables { v4, v6, slots, .. } = tables;
    Ok(Capacity {
        slots: Room { size: slots.size()?, limit: slots.limit() },
        backends: [
            Room { size: v4.backends.size()?, limit: v4.backends.limit() },
            Room { size: v6.backends.size()?, limit: v6.backends.limit() },
        ],
        services: [v4.services.capacity(), v6.services.capacity()],
        ranges: [v4.ranges.capacity(), v6.ranges.capacity()],
    })
}

/// What the tables hold.
pub fn snapshot(tables: &Tables) -> Result<Snapshot> {
    let services = all_services(tables)?;
    let mut slots = HashMap::new();
    for (_, row) in services.iter().filter(|(_, row)| row.slot_count > 0) {
        let run = Run { base: row.slot_base, count: row.slot_count };
        // A row that points outside was not written by us; it will be replaced or removed.
        if let Ok(contents) = tables.slots.read(run.base, run.count) {
            slots.insert(run, fingerprint(&contents));
        }
    }
    let mut backends = backends(&tables.v4)?;
    backends.extend(self::backends(&tables.v6)?);
    let ranges = all_ranges(tables)?.into_iter().collect();
    Ok(Snapshot { services, slots, backends, ranges, bonds: bonds(tables)? })
}

/// All rows of `services`.
pub fn all_services(tables: &Tables) -> Result<Vec<(RowKey, Service)>> {
    let mut all = services(&tables.v4)?;
    all.extend(services(&tables.v6)?);
    Ok(all)
}

/// All rows of `ranges`, by service id.
pub fn all_ranges(tables: &Tables) -> Result<Vec<(u32, IpNet)>> {
    let mut all = ranges(&tables.v4)?;
    all.extend(ranges(&tables.v6)?);
    Ok(all)
}

/// Writes a plan, in its order.
pub fn apply(tables: &Tables, plan: &Plan, ways: &Ways) -> Result<()> {
    if let Some(extent) = plan.extent {
        let [v4, v6] = extent.backends;
        tables.slots.grow(extent.slots)?;
        tables.v4.backends.grow(v4)?;
        tables.v6.backends.grow(v6)?;
    }
    for row in &plan.backends {
        write_backend(tables, row, ways)?;
    }
    for (run, contents) in &plan.slots {
        tables.slots.write(run.base, contents)?;
    }
    for (id, range) in &plan.ranges {
        write_range(&tables.v4, *id, *range)?;
        write_range(&tables.v6, *id, *range)?;
    }
    insert_services(&tables.v4, &plan.services)?;
    insert_services(&tables.v6, &plan.services)?;
    for key in &plan.removed {
        remove_service(tables, key)?;
    }
    for (id, range) in &plan.ranges_removed {
        if let Some(key) = range_key::<V4>(*id, *range) {
            tables.v4.ranges.remove(&key)?;
        }
        if let Some(key) = range_key::<V6>(*id, *range) {
            tables.v6.ranges.remove(&key)?;
        }
    }
    plan.gone.iter().try_for_each(|row| write_backend(tables, row, ways))
}

/// Removes every flow that names one of these backends, then the backends: their ids are free again. Walks
/// whole tables: not to be waited for.
pub fn forget(tables: &Tables, rows: &[BackendRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids = Ids::of(rows);
    remove_flows(&tables.v4, |_, flow| ids.v4.contains(&flow.backend))?;
    remove_flows(&tables.v6, |_, flow| ids.v6.contains(&flow.backend))?;
    rows.iter().try_for_each(|row| write_backend(tables, row, &Ways::default()))
}

/// What the entries of `sources` say.
fn bonds(tables: &Tables) -> Result<BTreeSet<Bond>> {
    let mut all = BTreeSet::new();
    tables.v4.sources.visit(|batch| all.extend(batch.iter().map(bond)))?;
    tables.v6.sources.visit(|batch| all.extend(batch.iter().map(bond)))?;
    Ok(all)
}

fn bond<F: Family>((key, value): &(AffinityKey<F>, AffinityValue)) -> Bond {
    Bond {
        service: key.service & !LOCAL_BOND,
        is_local: key.service & LOCAL_BOND != 0,
        backend: value.backend,
        family: if F::VERSION == 4 { frontend::Family::V4 } else { frontend::Family::V6 },
    }
}

/// Removes the entries of `sources` that say this: their clients look for another backend. Walks whole
/// tables: not to be waited for.
pub fn unbind(tables: &Tables, unbound: &[Bond]) -> Result<()> {
    fn of<F: Family>(tables: &FamilyTables<F>, unbound: &HashSet<Bond>) -> Result<()> {
        let mut keys = Vec::new();
        tables.sources.visit(|batch| {
            let meant = batch.iter().filter(|entry| unbound.contains(&bond(entry)));
            keys.extend(meant.map(|(key, _)| *key));
        })?;
        keys.iter().try_for_each(|key| tables.sources.remove(key).map(drop))
    }
    if unbound.is_empty() {
        return Ok(());
    }
    let unbound = unbound.iter().copied().collect();
    of(&tables.v4, &unbound)?;
    of(&tables.v6, &unbound)
}

/// Removes the flows of datagrams to backends that are gone: their senders learn nothing from a reset,
/// so the next datagram must look for another backend. Walks whole tables: not to be waited for.
pub fn cut_datagrams(tables: &Tables, gone: &[BackendRow]) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    let (ids, udp) = (Ids::of(gone), proto::UDP);
    remove_flows(&tables.v4, |key, flow| key.proto == udp && ids.v4.contains(&flow.backend))?;
    remove_flows(&tables.v6, |key, flow| key.proto == udp && ids.v6.contains(&flow.backend))
}

/// Ids of backends, by family; [`skep_abi::NO_BACKEND`] is none of them.
struct Ids {
    v4: HashSet<u32>,
    v6: HashSet<u32>,
}

impl Ids {
    fn of(rows: &[BackendRow]) -> Self {
        let of = |v4: bool| rows.iter().filter(move |row| row.address.is_ipv4() == v4);
        Self { v4: of(true).map(|row| row.id).collect(), v6: of(false).map(|row| row.id).collect() }
    }
}

/// Removes flows that match, and the entry of the other direction with each.
fn remove_flows<F: Family>(
    tables: &FamilyTables<F>,
    matches: impl Fn(&FlowKey<F>, &Flow<F>) -> bool,
) -> Result<()> {
    for table in [&tables.flows, &tables.embryos] {
        let mut matching = Vec::new();
        table.visit(|batch| {
            matching.extend(batch.iter().filter(|(key, flow)| matches(key, flow)).copied());
        })?;
        for (key, flow) in matching {
            table.remove(&key)?;
            let other = other_direction(&key, &flow);
            for partners in [&tables.flows, &tables.embryos, &tables.snat] {
                partners.remove(&other)?;
            }
        }
    }
    Ok(())
}

/// The key of a flow's other direction: its translated tuple, turned around.
fn other_direction<F: Family>(key: &FlowKey<F>, flow: &Flow<F>) -> FlowKey<F> {
    FlowKey {
        src: flow.dst,
        dst: flow.src,
        sport_be: flow.dport_be,
        dport_be: flow.sport_be,
        proto: key.proto,
        ..FlowKey::default()
    }
}

/// The cookies of sockets that were connected to one of these backends, which are now forgotten.
pub fn take_sockets(tables: &Tables, gone: &[BackendRow]) -> Result<HashSet<u64>> {
    fn of<F: Family>(
        tables: &FamilyTables<F>,
        gone: &HashSet<u32>,
        cookies: &mut HashSet<u64>,
    ) -> Result<()> {
        let mut matching = Vec::new();
        tables.sockets.visit(|batch| {
            let of_gone = batch.iter().filter(|(_, peer)| gone.contains(&peer.backend));
            matching.extend(of_gone.map(|(key, _)| *key));
        })?;
        for key in matching {
            cookies.insert(key.cookie);
            tables.sockets.remove(&key)?;
        }
        Ok(())
    }
    let mut cookies = HashSet::new();
    if !gone.is_empty() {
        let ids = Ids::of(gone);
        of(&tables.v4, &ids.v4, &mut cookies)?;
        of(&tables.v6, &ids.v6, &mut cookies)?;
    }
    Ok(cookies)
}

/// What is on this node, as the network part and the plugin wrote it.
pub fn here(tables: &Tables) -> Result<Vec<(IpAddr, Way)>> {
    fn of<F: Family>(tables: &FamilyTables<F>) -> Result<Vec<(IpAddr, Way)>> {
        let entries = tables.endpoints.entries()?.into_iter();
        let way = |(key, endpoint): (EndpointKey<F>, Endpoint)| {
            let is_host = endpoint.flags & endpoint_flags::HOST != 0;
            let way = if is_host { Way::Host } else { Way::Pod(endpoint.ifindex) };
            (F::addr_to_ip(key.addr), way)
        };
        Ok(entries.map(way).collect())
    }
    let mut here = of(&tables.v4)?;
    here.extend(of(&tables.v6)?);
    here.sort_unstable_by_key(|(address, _)| *address);
    Ok(here)
}

/// The prefixes of other nodes, as the network part wrote them.
pub fn peers(tables: &Tables) -> Result<Vec<(IpNet, u32)>> {
    fn of<F: Family>(tables: &FamilyTables<F>) -> Result<Vec<(IpNet, u32)>> {
        let entries = tables.nodes.entries()?.into_iter();
        let peer = |(key, node): (NodeKey<F>, Node)| {
            let bits = u8::try_from(key.prefix_len).ok()?;
            let prefix = IpNet::new(F::addr_to_ip(key.addr), bits).ok()?;
            (node.peer != NO_PEER).then_some((prefix, node.peer))
        };
        Ok(entries.filter_map(peer).collect())
    }
    let mut peers = of(&tables.v4)?;
    peers.extend(of(&tables.v6)?);
    Ok(peers)
}

/// Tells the programs whether any backend is the node itself.
pub fn set_host_backends(tables: &Tables, present: bool) -> Result<()> {
    let is_set = tables.config()?.flags & config_flags::HOST_BACKENDS != 0;
    if is_set != present {
        tables.update_config(|config| config.flags ^= config_flags::HOST_BACKENDS)?;
    }
    Ok(())
}

fn write_range<F: Family>(tables: &FamilyTables<F>, id: u32, range: IpNet) -> Result<()> {
    range_key::<F>(id, range).map_or(Ok(()), |key| tables.ranges.insert(&key, &RANGE_ALLOWED))
}

fn range_key<F: Family>(service: u32, range: IpNet) -> Option<RangeKey<F>> {
    let addr = F::addr_from_ip(range.network())?;
    Some(RangeKey { prefix_len: u32::BITS + u32::from(range.prefix_len()), service, addr })
}

fn ranges<F: Family>(tables: &FamilyTables<F>) -> Result<Vec<(u32, IpNet)>> {
    let range = |(key, _): (RangeKey<F>, u32)| {
        let bits = u8::try_from(key.prefix_len.checked_sub(u32::BITS)?).ok()?;
        Some((key.service, IpNet::new(F::addr_to_ip(key.addr), bits).ok()?))
    };
    Ok(tables.ranges.entries()?.into_iter().filter_map(range).collect())
}

fn services<F: Family>(tables: &FamilyTables<F>) -> Result<Vec<(RowKey, Service)>> {
    let row = |(key, row): (ServiceKey<F>, Service)| (row_key(&key), row);
    Ok(tables.services.entries()?.into_iter().map(row).collect())
}

/// A kernel key in user space's words.
pub fn row_key<F: Family>(key: &ServiceKey<F>) -> RowKey {
    RowKey {
        address: F::addr_to_ip(key.addr),
        port: u16::from_be(key.port_be),
        protocol: key.proto,
        scope: match key.scope {
            scope::EXTERNAL => Scope::Outside,
            scope::LOCAL => Scope::Local,
            _ => Scope::Inside,
        },
    }
}

fn service_key<F: Family>(key: &RowKey) -> Option<ServiceKey<F>> {
    Some(ServiceKey {
        addr: F::addr_from_ip(key.address)?,
        port_be: key.port.to_be(),
        proto: key.protocol,
        scope: match key.scope {
            Scope::Inside => scope::INTERNAL,
            Scope::Outside => scope::EXTERNAL,
            Scope::Local => scope::LOCAL,
        },
    })
}

fn insert_services<F: Family>(tables: &FamilyTables<F>, rows: &[(RowKey, Service)]) -> Result<()> {
    let entries: Vec<(ServiceKey<F>, Service)> =
        rows.iter().filter_map(|(key, row)| Some((service_key::<F>(key)?, *row))).collect();
    // A full table must not keep the rows that still fit from being written.
    match tables.services.insert_all(&entries) {
        Err(skep_bpf::Error::Full { .. }) => insert_each(&tables.services, &entries),
        outcome => outcome,
    }
}

fn insert_each<F: Family>(
    table: &Table<ServiceKey<F>, Service>,
    entries: &[(ServiceKey<F>, Service)],
) -> Result<()> {
    let refused = entries.iter().filter_map(|(key, row)| table.insert(key, row).err());
    refused.last().map_or(Ok(()), Err)
}

fn remove_service(tables: &Tables, key: &RowKey) -> Result<()> {
    if let Some(key) = service_key::<V4>(key) {
        tables.v4.services.remove(&key)?;
    }
    if let Some(key) = service_key::<V6>(key) {
        tables.v6.services.remove(&key)?;
    }
    Ok(())
}

/// The rows of `backends` that are in use.
pub fn backends<F: Family>(tables: &FamilyTables<F>) -> Result<Vec<BackendRow>> {
    let mut rows = Vec::new();
    for id in 1..tables.backends.size()? {
        let backend = tables.backends.get(id)?;
        if backend.state != backend_state::UNUSED {
            let address =
                SocketAddr::new(F::addr_to_ip(backend.addr), u16::from_be(backend.port_be));
            // Whoever wrote it knew; here it can only be feared.
            rows.push(BackendRow { id, address, state: backend.state, datagrams: true });
        }
    }
    Ok(rows)
}

/// Writes rows of `backends` whose way is another one than the table says.
pub fn update_ways(
    tables: &Tables,
    rows: impl Iterator<Item = BackendRow>,
    ways: &Ways,
) -> Result<()> {
    fn update<F: Family>(tables: &FamilyTables<F>, row: &BackendRow, ways: &Ways) -> Result<()> {
        match backend::<F>(row, ways) {
            Some(wanted) if tables.backends.get(row.id)? != wanted => {
                tables.backends.set(row.id, &wanted)
            }
            _ => Ok(()),
        }
    }
    // In the order of the table, a chunk of which is mapped at a time.
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable_by_key(|row| row.id);
    for row in rows {
        update(&tables.v4, &row, ways)?;
        update(&tables.v6, &row, ways)?;
    }
    Ok(())
}

fn write_backend(tables: &Tables, row: &BackendRow, ways: &Ways) -> Result<()> {
    if let Some(backend) = backend::<V4>(row, ways) {
        tables.v4.backends.set(row.id, &backend)?;
    }
    if let Some(backend) = backend::<V6>(row, ways) {
        tables.v6.backends.set(row.id, &backend)?;
    }
    Ok(())
}

fn backend<F: Family>(row: &BackendRow, ways: &Ways) -> Option<Backend<F>> {
    let addr = F::addr_from_ip(row.address.ip())?;
    if row.state == backend_state::UNUSED {
        return Some(Backend::default());
    }
    let (via, ifindex, peer) = match ways.to(row.address.ip()) {
        Way::Lookup => (via::LOOKUP, 0, 0),
        Way::Host => (via::HOST, 0, 0),
        Way::Pod(ifindex) => (via::POD, ifindex, 0),
        Way::Peer(peer) => (via::PEER, 0, peer),
        Way::Device(ifindex) => (via::DEVICE, ifindex, 0),
    };
    let port_be = row.address.port().to_be();
    Some(Backend { addr, port_be, state: row.state, via, ifindex, peer })
}
