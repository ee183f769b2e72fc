//! The wiring of one pod: a veth pair, addresses, routes, and the program that sees its packets.
//!
//! Every step can be repeated and undone without knowing how far an earlier attempt came.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use skep_abi::{Endpoint, endpoint_flags};
use skep_bpf::{Links, Tables};

use crate::endpoints;
use crate::error::Result;
use crate::namespace::{Namespace, block_on};
use crate::netlink::{Address, Device, Mac, Netlink, Owner, Route};
use crate::sysctl;

/// The next hop of every pod. No device has it: the pod is told where it is and never asks.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The next hop of every pod in IPv6.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// What to wire.
#[derive(Debug, Clone, Copy)]
pub struct Wiring<'a> {
    /// The pod's network namespace.
    pub namespace: &'a Namespace,
    /// The device on the node's side.
    pub host_device: &'a str,
    /// The device in the pod.
    pub pod_device: &'a str,
    /// The pod's addresses.
    pub addresses: &'a [IpAddr],
    /// The largest packet that the pod may send.
    pub mtu: u32,
}

/// The two ends of a wired pod.
#[derive(Debug, Clone)]
pub struct Wired {
    /// On the node's side.
    pub host: Device,
    /// In the pod.
    pub pod: Device,
}

/// The gateway for an address's family.
pub fn gateway(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => GATEWAY_V4.into(),
        IpAddr::V6(_) => GATEWAY_V6.into(),
    }
}

/// The prefix that holds one address only.
pub fn single(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// Wires a pod. Blocks; must not be called on a thread of a runtime.
pub fn wire(wiring: &Wiring<'_>, tables: &Tables, pin_dir: &Path) -> Result<Wired> {
    let host = block_on(create(wiring))?;
    let pod = wiring.namespace.block_on(|| async {
        let netlink = Netlink::open()?;
        netlink.device(wiring.pod_device).await
    })?;
    // Before the pod can send its first packet: what is not in the table is taken for spoofed.
    for &address in wiring.addresses {
        endpoints::insert(tables, address, &endpoint(&host, pod.mac))?;
    }
    Links::open(pin_dir).attach_pod(wiring.host_device, host.index)?;
    block_on(connect_host(wiring, host.index, pod.mac))?;
    wiring.namespace.block_on(|| connect_pod(wiring, &pod, host.mac))?;
    Ok(Wired { host, pod })
}

/// Takes a pod's wiring away, as much of it as there is.
pub fn unwire(
    host_device: &str,
    addresses: &[IpAddr],
    tables: Option<&Tables>,
    pin_dir: &Path,
) -> Result<()> {
    if let Some(tables) = tables {
        for &address in addresses {
            endpoints::remove(tables, address)?;
        }
        Links::open(pin_dir).detach(host_device)?;
    }
    // Its routes and neighbours go with the device.
    block_on(async { Netlink::open()?.delete_device(host_device).await })?;
    Ok(())
}

/// The row of the `endpoints` table for a pod behind `host`.
pub fn endpoint(host: &Device, pod_mac: Mac) -> Endpoint {
    Endpoint {
        ifindex: host.index,
        flags: endpoint_flags::POD,
        mac: pod_mac,
        host_mac: host.mac,
        ..Endpoint::default()
    }
}

async fn create(wiring: &Wiring<'_>) -> Result<Device> {
    let netlink = Netlink::open()?;
    // Left over from an attempt that was cut short: nobody else may have this name.
    netlink.delete_device(wiring.host_device).await?;
    let namespace = wiring.namespace.file();
    netlink.add_veth(wiring.host_device, wiring.pod_device, namespace, wiring.mtu).await?;
    netlink.device(wiring.host_device).await
}

async fn connect_host(wiring: &Wiring<'_>, device: u32, pod_mac: Mac) -> Result<()> {
    let netlink = Netlink::open()?;
    // Replies may come by another way than the kernel would send; programs check the sender.
    sysctl::set(&format!("ipv4/conf/{}/rp_filter", wiring.host_device), "0")?;
    netlink.set_up(device).await?;
    for &address in wiring.addresses {
        let destination = single(address);
        let route = Route { destination, device, gateway: None, source: None };
        netlink.replace_route(&route, Owner::Plugin).await?;
        netlink.set_neighbour(device, address, pod_mac).await?;
    }
    Ok(())
}

async fn connect_pod(wiring: &Wiring<'_>, pod: &Device, host_mac: Mac) -> Result<()> {
    let netlink = Netlink::open()?;
    let loopback = netlink.device("lo").await?;
    netlink.set_up(loopback.index).await?;
    netlink.set_up(pod.index).await?;
    for &address in wiring.addresses {
        netlink.add_address(Address { device: pod.index, address: single(address) }).await?;
        let gateway = gateway(address);
        netlink.set_neighbour(pod.index, gateway, host_mac).await?;
        let everything = match address {
            IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
            IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        let route = Route {
            destination: everything,
            device: pod.index,
            gateway: Some(gateway),
            source: None,
        };
        netlink.replace_route(&route, Owner::Plugin).await?;
    }
    Ok(())
}
