//! Table `config` (array of one): what the programs know of their node. May change while they run.

use crate::{Family, V4, V6};

/// The node.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Its IPv4 side.
    pub v4: FamilyConfig<V4>,
    /// Its IPv6 side.
    pub v6: FamilyConfig<V6>,
    /// Ports and ICMP identifiers that translated sources get. Must not meet the host's own
    /// `ip_local_port_range` nor the node ports.
    pub snat_ports: PortRange,
    /// Node ports.
    pub node_ports: PortRange,
    /// The device of the default route: where traffic to the world leaves.
    pub uplink_ifindex: u32,
    /// The VXLAN device in collect-metadata mode; 0: none.
    pub overlay_ifindex: u32,
    /// Network identifier of the overlay.
    pub vni: u32,
    /// UDP port of the overlay (machine order): packets to it pass untouched.
    pub overlay_port: u32,
    /// Bits of [`config_flags`].
    pub flags: u32,
    /// The largest packet that the uplink carries, link header not counted; 0: not known, 1500.
    pub uplink_mtu: u32,
    /// Zero.
    pub pad: u32,
    /// The kernel's tick rate; filled by the loader.
    pub ticks_per_s: u32,
    /// Seed of the hashes that choose slots and ports; filled by the loader, kept over restarts.
    pub hash_seed: u32,
    /// Cookie of the node's own network namespace: a socket of another one is a pod's; filled by the
    /// loader.
    pub netns_cookie: u64,
}

/// The node, in one address family. Zero masks mean "no such range".
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyConfig<F: Family> {
    /// The node's address: source of translated packets; zero: the family is off.
    pub node: F::Addr,
    /// Pods of this node: prefix. What comes in by any device with such a source sees
    /// [`crate::scope::INTERNAL`].
    pub pods: F::Addr,
    /// Pods of this node: mask.
    pub pods_mask: F::Addr,
    /// Pods of the cluster: prefix.
    pub cluster: F::Addr,
    /// Pods of the cluster: mask.
    pub cluster_mask: F::Addr,
    /// Service addresses: prefix. An address in it without a Service is dropped, never routed out.
    pub services: F::Addr,
    /// Service addresses: mask.
    pub services_mask: F::Addr,
}

/// Ports from `min` to `max`, both included, in the machine's byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRange {
    /// The first.
    pub min: u16,
    /// The last; below `min`: none.
    pub max: u16,
}

/// Bits of [`Config::flags`].
pub mod config_flags {
    /// Pods' traffic to the world leaves with the node's address.
    pub const MASQUERADE: u32 = 1 << 0;
    /// A Service has a backend in this node's own host network: what the stack answers must be looked up
    /// on its way out.
    pub const HOST_BACKENDS: u32 = 1 << 2;
}

const _: () = {
    assert!(size_of::<FamilyConfig<V4>>() == 28);
    assert!(size_of::<FamilyConfig<V6>>() == 112);
    assert!(size_of::<PortRange>() == 4);
    assert!(size_of::<Config>() == 192);
};
