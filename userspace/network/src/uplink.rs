//! Which devices connect this node to others, and which address it is known by.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::netlink::{Address, Device};

/// How the node is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The device with the node's own address.
    pub device: Device,
    /// All devices by which packets from outside may arrive, that one included.
    pub devices: Vec<Device>,
    /// The node's address in IPv4.
    pub v4: Option<IpAddr>,
    /// The node's address in IPv6.
    pub v6: Option<IpAddr>,
}

/// What the network namespace has.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Its devices.
    pub devices: Vec<Device>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The device of the default route.
    pub default_device: Option<u32>,
}

/// Why no uplink could be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UplinkError {
    /// The configuration names a device that is not there.
    #[error("--devices: there is no device {0}")]
    NoSuchDevice(String),
    /// The configuration names an address that no device has.
    #[error("--node-ip: no device has address {0}")]
    NoSuchAddress(IpAddr),
    /// Nothing tells which device it is.
    #[error("cannot tell the node's device: there is no default route; set --node-ip or --devices")]
    Unknown,
    /// The device has no address that others could use.
    #[error("device {0} has no address: give it one, or set --node-ip")]
    NoAddress(String),
}

/// Finds the uplink. The device is that of `node_ip`, else the first of `names`, else that of the
/// default route; `names`, when given, are also all devices.
pub fn choose(
    inventory: &Inventory,
    node_ip: Option<IpAddr>,
    names: &[String],
) -> Result<Uplink, UplinkError> {
    let by_index = |index| inventory.devices.iter().find(|device| device.index == index);
    let by_name = |name: &String| {
        let found = inventory.devices.iter().find(|device| device.name == *name);
        found.ok_or_else(|| UplinkError::NoSuchDevice(name.clone()))
    };
    let named: Vec<&Device> = names.iter().map(by_name).collect::<Result<_, _>>()?;
    let device = if let Some(ip) = node_ip {
        let owner = inventory.addresses.iter().find(|address| address.address.addr() == ip);
        owner.and_then(|a| by_index(a.device)).ok_or(UplinkError::NoSuchAddress(ip))?
    } else if let Some(first) = named.first() {
        first
    } else {
        inventory.default_device.and_then(by_index).ok_or(UplinkError::Unknown)?
    };
    let own = |v4: bool| {
        node_ip.filter(|ip| ip.is_ipv4() == v4).or_else(|| first_address(inventory, device, v4))
    };
    let (v4, v6) = (own(true), own(false));
    if v4.is_none() && v6.is_none() {
        return Err(UplinkError::NoAddress(device.name.clone()));
    }
    let mut devices: Vec<Device> = named.into_iter().cloned().collect();
    if devices.is_empty() {
        let default = inventory.default_device.and_then(by_index);
        devices.extend(default.filter(|default| default.index != device.index).cloned());
    }
    if !devices.contains(device) {
        devices.insert(0, device.clone());
    }
    Ok(Uplink { device: device.clone(), devices, v4, v6 })
}

fn first_address(inventory: &Inventory, device: &Device, v4: bool) -> Option<IpAddr> {
    let usable = |net: &IpNet| match net.addr() {
        IpAddr::V4(ip) => v4 && !ip.is_link_local() && !ip.is_loopback(),
        IpAddr::V6(ip) => !v4 && !ip.is_unicast_link_local() && !ip.is_loopback(),
    };
    let on_device = inventory.addresses.iter().filter(|address| address.device == device.index);
    on_device.map(|address| address.address).find(usable).map(|net| net.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory() -> Inventory {
        let device = |index, name: &str| Device {
            index,
            name: name.into(),
            mac: [2, 0, 0, 0, 0, index as u8],
            mtu: 1500,
            up: true,
            is_virtual: false,
            is_ethernet: true,
            is_port: false,
        };
        let address = |device, text: &str| Address { device, address: text.parse().expect("net") };
        Inventory {
            devices: vec![device(1, "lo"), device(2, "eth0"), device(3, "eth1")],
            addresses: vec![
                address(1, "127.0.0.1/8"),
                address(2, "fe80::1/64"),
                address(2, "192.0.2.10/24"),
                address(3, "10.1.0.10/16"),
                address(3, "fd00::10/64"),
            ],
            default_device: Some(2),
        }
    }

    #[test]
    fn the_address_decides_then_the_names_then_the_default_route() {
        let names = |list: &[&str]| list.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        // (node ip, names, device, all devices, v4, v6)
        let cases = [
            (None, names(&[]), "eth0", vec!["eth0"], Some("192.0.2.10"), None),
            (
                Some("10.1.0.10"),
                names(&[]),
                "eth1",
                vec!["eth1", "eth0"],
                Some("10.1.0.10"),
                Some("fd00::10"),
            ),
            (None, names(&["eth1"]), "eth1", vec!["eth1"], Some("10.1.0.10"), Some("fd00::10")),
        ];
        for (ip, names, device, devices, v4, v6) in cases {
            let ip = ip.map(|ip| ip.parse().expect("address"));
            let uplink = choose(&inventory(), ip, &names).expect("an uplink");
            assert_eq!(uplink.device.name, device);
            let all: Vec<_> = uplink.devices.iter().map(|d| d.name.as_str()).collect();
            assert_eq!(all, devices);
            assert_eq!(uplink.v4, v4.and_then(|a| a.parse().ok()));
            assert_eq!(uplink.v6, v6.and_then(|a| a.parse().ok()));
        }
    }

    #[test]
    fn what_cannot_be_told_is_an_error_that_names_the_flag() {
        let wrong = choose(&inventory(), None, &["eth9".into()]);
        assert_eq!(wrong, Err(UplinkError::NoSuchDevice("eth9".into())));
        let absent: IpAddr = "192.0.2.99".parse().expect("address");
        let wrong = choose(&inventory(), Some(absent), &[]);
        assert_eq!(wrong, Err(UplinkError::NoSuchAddress(absent)));
        let alone = Inventory { default_device: None, ..inventory() };
        assert_eq!(choose(&alone, None, &[]), Err(UplinkError::Unknown));
        let loopback = choose(&inventory(), None, &["lo".into()]);
        assert_eq!(loopback, Err(UplinkError::NoAddress("lo".into())));
    }
}
