//! The plugin's operations on this node: attach, detach, check, collect, status.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;
use skep_bpf::Tables;

use super::request::Request;
use super::response::{self, CniError, Interface};
use crate::attachments::{Attachment, AttachmentId, Attachments};
use crate::endpoints;
use crate::namespace::Namespace;
use crate::netlink::{Device, Netlink};
use crate::pod::{self, Wiring};

/// The longest name of a device.
const DEVICE_NAME_BYTES: usize = 15;
const DEVICE_PREFIX: &str = "skep";

/// ADD. What went only half way is taken back.
pub(super) fn add(request: &Request) -> Result<Value, CniError> {
    let id = request.id()?;
    let sandbox = request.namespace()?;
    let conf = &request.conf;
    let namespace = Namespace::open(sandbox)?;
    let tables = open_tables(request)?;
    let mut attachments = Attachments::lock(&conf.state_dir)?;
    // An attempt that was cut short, or a runtime that lost count.
    if let Some(old) = attachments.get(id).cloned() {
        detach(&old, Some(&tables), request, &mut attachments)?;
    }
    let attachment = Attachment {
        id: id.clone(),
        host_device: host_device(id),
        namespace: Some(sandbox.clone()),
        mac: None,
        addresses: attachments.allocate(&conf.pod_ranges)?,
        port_mappings: conf.runtime_config.port_mappings.clone(),
        pod: request.pod.clone(),
    };
    // Remembered before it exists, so that whatever happens next can be found and removed.
    attachments.insert(attachment.clone())?;
    let wiring = Wiring {
        namespace: &namespace,
        host_device: &attachment.host_device,
        pod_device: &id.ifname,
        addresses: &attachment.addresses,
        mtu: conf.mtu,
    };
    let wired = match pod::wire(&wiring, &tables, &conf.pin_dir) {
        Ok(wired) => wired,
        Err(error) => {
            detach(&attachment, Some(&tables), request, &mut attachments)?;
            return Err(error.into());
        }
    };
    attachments.insert(Attachment { mac: Some(wired.pod.mac), ..attachment.clone() })?;
    let interface = |device: &Device, sandbox: Option<String>| Interface {
        name: device.name.clone(),
        mac: device.mac,
        mtu: device.mtu,
        sandbox,
    };
    let interfaces = [
        interface(&wired.host, None),
        interface(&wired.pod, Some(sandbox.to_string_lossy().into_owned())),
    ];
    Ok(response::result(request.version, &interfaces, &attachment.addresses))
}

/// DEL. Everything may be gone already; that is as good.
pub(super) fn delete(request: &Request) -> Result<(), CniError> {
    let id = request.id()?;
    let mut attachments = Attachments::lock(&request.conf.state_dir)?;
    let tables = Tables::open(&request.conf.pin_dir).ok();
    let unknown = Attachment {
        id: id.clone(),
        host_device: host_device(id),
        namespace: None,
        mac: None,
        addresses: Vec::new(),
        port_mappings: Vec::new(),
        pod: None,
    };
    let attachment = attachments.get(id).cloned().unwrap_or(unknown);
    detach(&attachment, tables.as_ref(), request, &mut attachments)
}

/// CHECK: devices, addresses and table rows are as ADD left them.
pub(super) fn check(request: &Request) -> Result<(), CniError> {
    let id = request.id()?;
    let failed = |message: String| CniError::new(CniError::CHECK_FAILED, message);
    let attachments = Attachments::lock(&request.conf.state_dir)?;
    let Some(attachment) = attachments.get(id) else {
        return Err(failed(format!("{} is not attached", id.container_id)));
    };
    if let Some(before) = &request.conf.prev_result {
        let missing = |address: &IpAddr| !attachment.addresses.contains(address);
        if let Some(address) = before.addresses().into_iter().find(missing) {
            return Err(failed(format!("{address} belongs to another attachment")));
        }
    }
    let inside = Namespace::open(request.namespace()?)?.block_on(|| async {
        let netlink = Netlink::open()?;
        let Some(device) = netlink.find_device(&id.ifname).await? else { return Ok(None) };
        let addresses: BTreeSet<IpAddr> = netlink
            .addresses()
            .await?
            .into_iter()
            .filter(|address| address.device == device.index)
            .map(|address| address.address.addr())
            .collect();
        Ok(Some((device, addresses)))
    })?;
    let Some((device, addresses)) = inside else {
        return Err(failed(format!("the sandbox has no device {}", id.ifname)));
    };
    let tables = open_tables(request)?;
    for address in &attachment.addresses {
        if !addresses.contains(address) {
            return Err(failed(format!("{} lacks address {address}", id.ifname)));
        }
        let endpoint = endpoints::get(&tables, *address)?;
        if endpoint.is_none_or(|endpoint| endpoint.mac != device.mac) {
            return Err(failed(format!("table endpoints has no row for {address}")));
        }
    }
    Ok(())
}

/// GC: detaches what the runtime does not name.
pub(super) fn collect(request: &Request) -> Result<(), CniError> {
    let conf = &request.conf;
    let Some(valid) = conf.valid_attachments.as_ref().or(conf.attachments.as_ref()) else {
        let message = "the configuration lacks \"cni.dev/valid-attachments\"";
        return Err(CniError::new(CniError::INVALID_CONF, message));
    };
    let mut attachments = Attachments::lock(&conf.state_dir)?;
    let tables = Tables::open(&conf.pin_dir).ok();
    let stale: Vec<_> = attachments.iter().filter(|a| !valid.contains(&a.id)).cloned().collect();
    for attachment in stale {
        detach(&attachment, tables.as_ref(), request, &mut attachments)?;
    }
    Ok(())
}

/// STATUS: the datapath is there and knows its node.
pub(super) fn status(request: &Request) -> Result<(), CniError> {
    let not_available = |message| CniError::new(CniError::NOT_AVAILABLE, message);
    let tables = Tables::open(&request.conf.pin_dir)
        .map_err(|error| not_available(format!("the agent has not set up the network: {error}")))?;
    let config = tables.config().map_err(|error| not_available(error.to_string()))?;
    if config.v4.pods_mask == [0; 1] && config.v6.pods_mask == [0; 4] {
        return Err(not_available("the agent does not know this node's pod range yet".into()));
    }
    Ok(())
}

fn open_tables(request: &Request) -> Result<Tables, CniError> {
    Tables::open(&request.conf.pin_dir).map_err(|error| {
        CniError::new(CniError::TRY_AGAIN, format!("the agent has not set up the network: {error}"))
    })
}

fn detach(
    attachment: &Attachment,
    tables: Option<&Tables>,
    request: &Request,
    attachments: &mut Attachments,
) -> Result<(), CniError> {
    let Attachment { host_device, addresses, .. } = attachment;
    pod::unwire(host_device, addresses, tables, &request.conf.pin_dir)?;
    attachments.remove(&attachment.id)?;
    Ok(())
}

/// The name of the device on the node's side: enough of the sandbox's to recognize it. A sandbox's
/// second device gets a hash in its place.
pub(super) fn host_device(id: &AttachmentId) -> String {
    let room = DEVICE_NAME_BYTES - DEVICE_PREFIX.len();
    // Pin names know no dot.
    let part: String = if id.ifname == "eth0" {
        id.container_id.chars().map(|c| if c == '.' { '_' } else { c }).take(room).collect()
    } else {
        format!("{:016x}", fnv1a(&[&id.container_id, &id.ifname])).chars().take(room).collect()
    };
    format!("{DEVICE_PREFIX}{part}")
}

/// FNV-1a, 64 bits: names must come out the same in every version.
fn fnv1a(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_fit_and_differ() {
        let id = |container_id: &str, ifname: &str| AttachmentId {
            container_id: container_id.into(),
            ifname: ifname.into(),
        };
        let long = "4f1c8e6f0e5d2b7a9c3d";
        assert_eq!(host_device(&id(long, "eth0")), "skep4f1c8e6f0e5");
        assert_eq!(host_device(&id("a.b", "eth0")), "skepa_b");
        let second = host_device(&id(long, "net1"));
        assert!(second.len() <= DEVICE_NAME_BYTES && second.starts_with(DEVICE_PREFIX));
        assert_ne!(second, host_device(&id(long, "net2")));
    }
}
