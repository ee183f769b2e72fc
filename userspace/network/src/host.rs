//! The datapath on this node: loaded, attached to devices and sockets, told about its node.
//!
//! Everything is repeatable: at a restart tables and attachments are found and kept.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use ipnet::IpNet;
use skep_abi::{Endpoint, Family, FamilyConfig, PortRange, config_flags, endpoint_flags};
use skep_bpf::{Datapath, Links, Program, Sizes, XdpMode};

use crate::config::{HostConfig, Xdp};
use crate::endpoints;
use crate::netlink::{Address, Device, Netlink};
use crate::pool;
use crate::sysctl;
use crate::uplink::{self, Inventory, Uplink};

/// The device whose packets carry their own tunnel data.
pub const OVERLAY_DEVICE: &str = "skep-vxlan";
/// Its network identifier.
const VNI: u32 = 1;
/// What VXLAN adds to a packet: outer Ethernet, IP, UDP and VXLAN headers, with IPv4 outside.
pub const OVERLAY_BYTES: u32 = 50;
/// Source ports for translated connections: below the kernel's own range and below the node ports.
const SNAT_PORTS: PortRange = PortRange { min: 10_000, max: 29_999 };
const NODE_PORTS: PortRange = PortRange { min: 30_000, max: 32_767 };

/// The running datapath.
#[derive(Debug)]
pub struct Host {
    config: HostConfig,
    datapath: Arc<Datapath>,
    netlink: Netlink,
    uplink: Uplink,
    overlay: Option<Device>,
}

impl Host {
    /// Loads the programs, or takes over those that run, and attaches them.
    pub async fn set_up(config: HostConfig) -> anyhow::Result<Self> {
        sysctl::set("ipv4/ip_forward", "1")?;
        forward_ipv6()?;
        // The larger of "all" and the device's own value counts.
        sysctl::set("ipv4/conf/all/rp_filter", "0")?;
        sysctl::set("ipv4/conf/default/rp_filter", "0")?;
        let netlink = Netlink::open()?;
        let uplink = find_uplink(&netlink, &config).await?;
        let overlay = match config.overlay_port {
            Some(port) => Some(overlay(&netlink, port, &uplink.device).await?),
            None => None,
        };
        let cgroup = config.socket_cgroup.clone().or_else(cgroup2_root);
        let datapath = load(&config, &uplink, cgroup.is_some())?;
        let host = Self { config, datapath: Arc::new(datapath), netlink, uplink, overlay };
        host.configure(&[])?;
        host.attach(cgroup.as_deref()).await?;
        host.claim_addresses().await?;
        Ok(host)
    }

    /// The programs and tables.
    pub fn datapath(&self) -> &Arc<Datapath> {
        &self.datapath
    }

    /// The connection to the kernel.
    pub fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// How the node is connected.
    pub fn uplink(&self) -> &Uplink {
        &self.uplink
    }

    /// The VXLAN device.
    pub fn overlay(&self) -> Option<&Device> {
        self.overlay.as_ref()
    }

    /// Replaces the ranges of Service addresses, from the next [`Host::configure`] on.
    pub fn set_service_ranges(&mut self, ranges: Vec<IpNet>) {
        self.config.service_ranges = ranges;
    }

    /// Tells the programs about the node. Of an unknown own pod range they know nothing yet; one that
    /// was known before a restart stays known.
    pub fn configure(&self, pod_ranges: &[IpNet]) -> anyhow::Result<()> {
        self.datapath.tables().update_config(|config| {
            family(&mut config.v4, self.uplink.v4, &self.config, pod_ranges);
            family(&mut config.v6, self.uplink.v6, &self.config, pod_ranges);
            config.snat_ports = SNAT_PORTS;
            config.node_ports = NODE_PORTS;
            // Somebody else's pod network: the kernel's routes say where packets go.
            config.uplink_ifindex = if self.is_foreign() { 0 } else { self.uplink.device.index };
            config.uplink_mtu = self.uplink.device.mtu;
            config.overlay_ifindex = self.overlay.as_ref().map_or(0, |overlay| overlay.index);
            config.overlay_port = self.config.overlay_port.map_or(0, Into::into);
            config.vni = VNI;
            config.flags &= !config_flags::MASQUERADE;
            if self.config.masquerade {
                config.flags |= config_flags::MASQUERADE;
            }
        })?;
        Ok(())
    }

    /// Gives the overlay the node's address in its own pod range, so that what the node itself sends
    /// through the tunnel is answered through the tunnel.
    pub async fn address_overlay(&self, pod_ranges: &[IpNet]) -> anyhow::Result<()> {
        let Some(overlay) = &self.overlay else { return Ok(()) };
        for &range in pod_ranges {
            let Some(address) = pool::node_address(range) else { continue };
            let address = Address { device: overlay.index, address: crate::pod::single(address) };
            self.netlink.add_address(address).await?;
            let gateway = crate::pod::gateway(range.addr());
            // The tunnel's other end takes packets whatever address they carry.
            self.netlink.set_neighbour(overlay.index, gateway, overlay.mac).await?;
        }
        Ok(())
    }

    /// Writes the node's own addresses into `endpoints` and removes those it no longer has. Returns
    /// all addresses of its devices.
    pub async fn claim_addresses(&self) -> anyhow::Result<Vec<Address>> {
        let tables = self.datapath.tables();
        let addresses = self.netlink.addresses().await?;
        let own: Vec<IpAddr> =
            addresses.iter().map(|a| a.address.addr()).filter(|ip| is_routed(*ip)).collect();
        let host = Endpoint { flags: endpoint_flags::HOST, ..Endpoint::default() };
        for &address in &own {
            endpoints::insert(tables, address, &host)?;
        }
        for (address, endpoint) in endpoints::entries(tables)? {
            if endpoint.flags & endpoint_flags::HOST != 0 && !own.contains(&address) {
                endpoints::remove(tables, address)?;
            }
        }
        Ok(addresses)
    }

    /// Somebody else's pod network: attaches to devices that have come and forgets those that have gone.
    /// Packets of pods come in by any of them.
    pub async fn follow_devices(&self) -> anyhow::Result<()> {
        let links = self.datapath.links();
        let devices = self.netlink.devices().await?;
        let attached = links.list()?;
        for device in devices.iter().filter(|device| takes_packets(device)) {
            let is_attached = attached.iter().any(|link| link.ifindex == device.index);
            if is_attached {
                continue;
            }
            if let Err(error) = links.attach_node(&device.name, device.index) {
                // It may have gone again.
                tracing::warn!(device = device.name, %error, "cannot attach to a device");
            }
        }
        for link in attached.iter().filter(|link| link.ifindex == 0 && !link.is_cgroup()) {
            links.detach(&link.name)?;
        }
        Ok(())
    }

    fn is_foreign(&self) -> bool {
        self.config.foreign
    }

    async fn attach(&self, cgroup: Option<&Path>) -> anyhow::Result<()> {
        let links = self.datapath.links();
        match cgroup {
            Some(cgroup) => links.attach_cgroup(cgroup)?,
            // Packets of pods are translated on their way; only the node's own have none.
            None if self.is_foreign() => tracing::warn!(
                "no cgroup2 tree is mounted: programs on the node itself do not reach Services; \
                 set --socket-cgroup"
            ),
            None => anyhow::bail!("no cgroup2 tree is mounted: set --socket-cgroup"),
        }
        if self.is_foreign() {
            self.follow_devices().await?;
        }
        for device in &self.uplink.devices {
            sysctl::set(&format!("ipv4/conf/{}/rp_filter", device.name), "0")?;
            links.attach_node(&device.name, device.index)?;
            attach_xdp(links, device, self.config.xdp)?;
        }
        if let Some(overlay) = &self.overlay {
            links.attach_overlay(&overlay.name, overlay.index)?;
        }
        Ok(())
    }
}

/// Loads the programs that such a node needs.
fn load(config: &HostConfig, uplink: &Uplink, with_sockets: bool) -> anyhow::Result<Datapath> {
    let with_xdp = match config.xdp {
        Xdp::Auto => uplink.devices.iter().any(|device| !device.is_virtual),
        Xdp::Native | Xdp::Generic => true,
        Xdp::Off => false,
    };
    let wanted = |program: Program| match program {
        Program::Xdp => with_xdp,
        Program::PodIngress | Program::PodEgress => !config.foreign,
        Program::OverlayIngress | Program::OverlayEgress => config.overlay_port.is_some(),
        Program::NodeIngress | Program::NodeEgress => true,
        _ => with_sockets,
    };
    Datapath::open_or_load_some(&config.pin_dir, &Sizes::for_this_machine(), wanted)
        .context("cannot set up the datapath")
}

/// Whether packets that a device receives are the node's to look at.
fn takes_packets(device: &Device) -> bool {
    device.up && device.is_ethernet && !device.is_port
}

/// A driver may lack XDP, or refuse it for a setting of the device: then TCX does all of the work.
fn attach_xdp(links: &Links, device: &Device, xdp: Xdp) -> anyhow::Result<()> {
    let (name, index) = (&device.name, device.index);
    match xdp {
        Xdp::Auto if device.is_virtual => links.attach_xdp(name, index, XdpMode::Off)?,
        Xdp::Auto => links.attach_xdp(name, index, XdpMode::Native).or_else(|error| {
            tracing::info!(device = name, %error, "goes on without XDP");
            links.attach_xdp(name, index, XdpMode::Off)
        })?,
        Xdp::Native => links.attach_xdp(name, index, XdpMode::Native)?,
        Xdp::Generic => links.attach_xdp(name, index, XdpMode::Generic)?,
        Xdp::Off => links.attach_xdp(name, index, XdpMode::Off)?,
    }
    Ok(())
}

async fn find_uplink(netlink: &Netlink, config: &HostConfig) -> anyhow::Result<Uplink> {
    let inventory = Inventory {
        devices: netlink.devices().await?,
        addresses: netlink.addresses().await?,
        default_device: netlink.default_device().await?,
    };
    Ok(uplink::choose(&inventory, config.node_ip, &config.devices)?)
}

/// Makes the VXLAN device, or takes over the one that is there.
async fn overlay(netlink: &Netlink, port: u16, uplink: &Device) -> anyhow::Result<Device> {
    let mtu = uplink.mtu - OVERLAY_BYTES;
    if netlink.find_device(OVERLAY_DEVICE).await?.is_none() {
        netlink.add_vxlan(OVERLAY_DEVICE, port, mtu).await?;
    }
    let device = netlink.device(OVERLAY_DEVICE).await?;
    if device.mtu != mtu {
        netlink.set_mtu(device.index, mtu).await?;
    }
    netlink.set_up(device.index).await?;
    sysctl::set(&format!("ipv4/conf/{OVERLAY_DEVICE}/rp_filter"), "0")?;
    Ok(netlink.device(OVERLAY_DEVICE).await?)
}

fn family<F: Family>(
    to: &mut FamilyConfig<F>,
    node: Option<IpAddr>,
    config: &HostConfig,
    pod_ranges: &[IpNet],
) {
    let prefix = |ranges: &[IpNet]| {
        let range = ranges.iter().find_map(|range| {
            let addr = F::addr_from_ip(range.network())?;
            Some((addr, F::addr_from_ip(range.netmask())?))
        });
        range.unwrap_or_default()
    };
    to.node = node.and_then(F::addr_from_ip).unwrap_or_default();
    // Pods of somebody else's network are not in the tables.
    let cluster: &[IpNet] = if config.foreign { &[] } else { &config.cluster_ranges };
    (to.cluster, to.cluster_mask) = prefix(cluster);
    (to.services, to.services_mask) = prefix(&config.service_ranges);
    if config.foreign || !pod_ranges.is_empty() {
        (to.pods, to.pods_mask) = prefix(pod_ranges);
    }
}

/// Lets the stack forward IPv6, where the kernel has it. A node that forwards takes routes from router
/// advertisements only where told so (`accept_ra` 2): a device that took them still does.
fn forward_ipv6() -> anyhow::Result<()> {
    let Ok(devices) = std::fs::read_dir("/proc/sys/net/ipv6/conf") else { return Ok(()) };
    for device in devices.flatten() {
        let accepts = std::fs::read_to_string(device.path().join("accept_ra")).unwrap_or_default();
        if accepts.trim() == "1" {
            let name = device.file_name();
            sysctl::set(&format!("ipv6/conf/{}/accept_ra", name.to_string_lossy()), "2")?;
        }
    }
    Ok(sysctl::set("ipv6/conf/all/forwarding", "1")?)
}

/// Whether an address means the same beyond its own link and host.
fn is_routed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Where the cgroup2 tree is mounted: alone, or beside the older controllers.
fn cgroup2_root() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    cgroup2_in(&mounts)
}

fn cgroup2_in(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        let mount_point = before.split(' ').nth(4)?;
        (kind == "cgroup2").then(|| PathBuf::from(mount_point))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_tree_is_found_wherever_it_is_mounted() {
        let hybrid = "33 25 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
                      34 33 0:29 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_in(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let alone = "30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_in(alone), Some("/sys/fs/cgroup".into()));
        assert_eq!(cgroup2_in("30 24 0:26 / /proc rw - proc proc rw\n"), None);
    }
}
