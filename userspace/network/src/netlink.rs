//! Devices, addresses, routes and neighbours of the current network namespace.
//!
//! A thin, typed edge over rtnetlink: each call is one intention, says what it tried when it fails, and
//! can be repeated. Nothing is decided here.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use futures::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags};
use netlink_packet_route::link::{
    InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVxlan, MulticastGroup,
    RouteMessageBuilder,
};
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// A link-layer address.
pub type Mac = [u8; 6];

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its index in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address; zero when it has none of that length.
    pub mac: Mac,
    /// The largest packet it carries, link header not counted.
    pub mtu: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is made of software (veth, bridge, bond, ...), not a driver's device.
    pub is_virtual: bool,
    /// Whether its packets have an Ethernet header.
    pub is_ethernet: bool,
    /// Whether what it receives is another device's (a port of a bridge or a bond).
    pub is_port: bool,
}

/// An address of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The device's index.
    pub device: u32,
    /// The address and the length of its on-link prefix.
    pub address: IpNet,
}

/// A route that skep puts into the kernel's main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// What it is for.
    pub destination: IpNet,
    /// The device it leaves by.
    pub device: u32,
    /// The next hop, taken to be on that device's link; `None`: the destination itself is.
    pub gateway: Option<IpAddr>,
    /// The source that the node's own packets get.
    pub source: Option<IpAddr>,
}

/// Whose routes they are, as `ip route` shows it (`proto 115`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The agent: to other nodes.
    Agent,
    /// The CNI plugin: to the pods of this node.
    Plugin,
}

impl Owner {
    fn protocol(self) -> RouteProtocol {
        match self {
            Self::Agent => RouteProtocol::Other(115),
            Self::Plugin => RouteProtocol::Other(116),
        }
    }
}

/// A connection to the kernel, bound to the namespace of the thread that opened it.
#[derive(Debug, Clone)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens a connection; must be called inside a tokio runtime.
    pub fn open() -> Result<Self> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(Error::file("open", "a netlink socket"))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Opens a connection that tells of changes of devices, addresses and routes: each message stands for
    /// one or more.
    pub fn changes() -> Result<mpsc::Receiver<()>> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)
            .map_err(Error::file("open", "a netlink socket"))?;
        tokio::spawn(connection);
        let (changes, changed) = mpsc::channel(1);
        tokio::spawn(async move {
            while messages.next().await.is_some() {
                // One that waits already stands for this one too.
                if let Err(mpsc::error::TrySendError::Closed(())) = changes.try_send(()) {
                    break;
                }
            }
        });
        Ok(changed)
    }

    /// The device with this name, if it is there.
    pub async fn find_device(&self, name: &str) -> Result<Option<Device>> {
        let mut links = self.handle.link().get().match_name(name).execute();
        match links.try_next().await {
            Ok(link) => Ok(link.as_ref().map(device)),
            Err(error) if errno(&error) == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => Err(Error::netlink(format!("look up device {name}"))(error)),
        }
    }

    /// The device with this name, which must be there.
    pub async fn device(&self, name: &str) -> Result<Device> {
        self.find_device(name).await?.ok_or_else(|| Error::NoDevice(name.into()))
    }

    /// All devices.
    pub async fn devices(&self) -> Result<Vec<Device>> {
        let links = self.handle.link().get().execute();
        links
            .map_ok(|link| device(&link))
            .try_collect()
            .await
            .map_err(Error::netlink("list devices"))
    }

    /// Creates a pair of devices, the second one in `peer_namespace`. Both are down.
    pub async fn add_veth(
        &self,
        name: &str,
        peer_name: &str,
        peer_namespace: &File,
        mtu: u32,
    ) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer_name)
            .mtu(mtu)
            .setns_by_fd(peer_namespace.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new(name, peer_name)
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let action = || format!("create veth pair {name}");
        self.handle.link().add(message).execute().await.map_err(Error::netlink(action()))
    }

    /// Creates the one VXLAN device whose packets carry their own tunnel data.
    pub async fn add_vxlan(&self, name: &str, port: u16, mtu: u32) -> Result<()> {
        // A device that takes its tunnel data from each packet has no identifier of its own.
        let message = LinkMessageBuilder::<LinkVxlan>::new(name)
            .collect_metadata(true)
            .port(port)
            .learning(false)
            .mtu(mtu)
            .build();
        let action = format!("create VXLAN device {name}");
        self.handle.link().add(message).execute().await.map_err(Error::netlink(action))
    }

    /// Removes a device; `false` when there was none.
    pub async fn delete_device(&self, name: &str) -> Result<bool> {
        let Some(device) = self.find_device(name).await? else { return Ok(false) };
        match self.handle.link().del(device.index).execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(nix::libc::ENODEV) => Ok(false),
            Err(error) => Err(Error::netlink(format!("remove device {name}"))(error)),
        }
    }

    /// Switches a device on.
    pub async fn set_up(&self, device: u32) -> Result<()> {
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(device).up().build();
        let action = format!("switch on device {device}");
        self.handle.link().set(message).execute().await.map_err(Error::netlink(action))
    }

    /// Sets the largest packet that a device carries.
    pub async fn set_mtu(&self, device: u32, mtu: u32) -> Result<()> {
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(device).mtu(mtu).build();
        let action = format!("set the MTU of device {device} to {mtu}");
        self.handle.link().set(message).execute().await.map_err(Error::netlink(action))
    }

    /// Gives a device an address; nothing happens when it has it.
    pub async fn add_address(&self, address: Address) -> Result<()> {
        let Address { device, address } = address;
        let mut request = self.handle.address().add(device, address.addr(), address.prefix_len());
        // What this node hands out is nobody else's: IPv6 would not answer for a second or two while it
        // asks around (RFC 4862, duplicate address detection).
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        let action = format!("add address {address} to device {device}");
        request.replace().execute().await.map_err(Error::netlink(action))
    }

    /// All addresses of all devices.
    pub async fn addresses(&self) -> Result<Vec<Address>> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(Error::netlink("list addresses"))?;
        let address = |message: &netlink_packet_route::address::AddressMessage| {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let address = local.or_else(|| {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })
            })?;
            let address = IpNet::new(address, message.header.prefix_len).ok()?;
            Some(Address { device: message.header.index, address })
        };
        Ok(messages.iter().filter_map(address).collect())
    }

    /// Adds a route or replaces the one to the same destination.
    pub async fn replace_route(&self, route: &Route, owner: Owner) -> Result<()> {
        let action = || format!("add route to {}", route.destination);
        let message = route_message(route, owner).ok_or_else(|| Error::Netlink {
            action: action(),
            source: Box::new(rtnetlink::Error::InvalidNla("mixed address families".into())),
        })?;
        let request = self.handle.route().add(message).replace();
        request.execute().await.map_err(Error::netlink(action()))
    }

    /// Removes a route; nothing happens when it is not there.
    pub async fn delete_route(&self, route: &Route, owner: Owner) -> Result<()> {
        let Some(message) = route_message(route, owner) else { return Ok(()) };
        match self.handle.route().del(message).execute().await {
            Err(error) if errno(&error) != Some(nix::libc::ESRCH) => {
                Err(Error::netlink(format!("remove route to {}", route.destination))(error))
            }
            _ => Ok(()),
        }
    }

    /// The routes that `owner` has put into the main table.
    pub async fn routes(&self, owner: Owner) -> Result<Vec<Route>> {
        let messages = self.dump_routes().await?;
        let own = messages.iter().filter(|message| message.header.protocol == owner.protocol());
        Ok(own.filter_map(parse_route).collect())
    }

    /// The device of the default route, in the order IPv4, IPv6.
    pub async fn default_device(&self) -> Result<Option<u32>> {
        let messages = self.dump_routes().await?;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let default = messages.iter().find(|message| {
                message.header.address_family == family
                    && message.header.destination_prefix_length == 0
                    && output_device(message).is_some()
            });
            if let Some(message) = default {
                return Ok(output_device(message));
            }
        }
        Ok(None)
    }

    /// Destinations and devices of all routes in the main table, in the kernel's order.
    pub async fn all_routes(&self) -> Result<Vec<(IpNet, u32)>> {
        let messages = self.dump_routes().await?;
        let routes = messages.iter().filter_map(parse_route);
        Ok(routes.map(|route| (route.destination, route.device)).collect())
    }

    /// Tells the kernel for good where a neighbour is, so that it never asks.
    pub async fn set_neighbour(&self, device: u32, address: IpAddr, mac: Mac) -> Result<()> {
        let request = self.handle.neighbours().add(device, address);
        let action = format!("set the link-layer address of {address}");
        let request = request.link_layer_address(&mac).replace();
        request.execute().await.map_err(Error::netlink(action))
    }

    async fn dump_routes(&self) -> Result<Vec<RouteMessage>> {
        let mut all = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let routes = self.handle.route().get(message).execute();
            let routes: Vec<_> =
                routes.try_collect().await.map_err(Error::netlink("list routes"))?;
            all.extend(routes.into_iter().filter(in_main_table));
        }
        Ok(all)
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(-message.raw_code()),
        _ => None,
    }
}

fn device(message: &LinkMessage) -> Device {
    let mut device = Device {
        index: message.header.index,
        name: String::new(),
        mac: Mac::default(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        is_virtual: false,
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        is_port: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => device.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => device.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                device.mac = bytes.as_slice().try_into().unwrap_or_default();
            }
            LinkAttribute::Controller(index) => device.is_port = *index != 0,
            LinkAttribute::LinkInfo(infos) => {
                device.is_virtual = infos.iter().any(|info| matches!(info, LinkInfo::Kind(_)));
            }
            _ => {}
        }
    }
    device
}

fn route_message(route: &Route, owner: Owner) -> Option<RouteMessage> {
    let destination = route.destination.trunc();
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(destination.addr(), destination.prefix_len())
        .ok()?
        .output_interface(route.device)
        .protocol(owner.protocol());
    builder = match route.gateway {
        Some(gateway) => builder.gateway(gateway).ok()?.onlink(),
        None => builder.scope(RouteScope::Link),
    };
    if let Some(source) = route.source {
        builder = builder.pref_source(source).ok()?;
    }
    Some(builder.build())
}

fn in_main_table(message: &RouteMessage) -> bool {
    message.header.table == netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN
}

fn output_device(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn parse_route(message: &RouteMessage) -> Option<Route> {
    let mut route = Route {
        destination: match message.header.address_family {
            AddressFamily::Inet => "0.0.0.0/0".parse().ok()?,
            _ => "::/0".parse().ok()?,
        },
        device: output_device(message)?,
        gateway: None,
        source: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                let prefix_len = message.header.destination_prefix_length;
                route.destination = IpNet::new(ip(address)?, prefix_len).ok()?;
            }
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            _ => {}
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
