//! The plugin that older runtimes run before any other: it switches on the sandbox's loopback device.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::request::{Command, Request};
use super::response::{CniError, Version};
use crate::namespace::Namespace;
use crate::netlink::Netlink;

pub(super) fn serve(request: &Request) -> Result<Option<Value>, CniError> {
    match request.command {
        Command::Add => {
            let sandbox = request.namespace()?;
            Namespace::open(sandbox)?.block_on(|| async {
                let netlink = Netlink::open()?;
                let device = netlink.device("lo").await?;
                netlink.set_up(device.index).await
            })?;
            Ok(Some(result(request.version, &sandbox.to_string_lossy())))
        }
        Command::Check => {
            let up = Namespace::open(request.namespace()?)?
                .block_on(|| async { Ok(Netlink::open()?.device("lo").await?.up) })?;
            if up {
                return Ok(None);
            }
            Err(CniError::new(CniError::CHECK_FAILED, "the loopback device is switched off"))
        }
        // The device goes with its namespace.
        Command::Del | Command::Gc | Command::Status | Command::Version => Ok(None),
    }
}

fn result(version: Version, sandbox: &str) -> Value {
    let mut address = json!({ "address": format!("{}/8", Ipv4Addr::LOCALHOST), "interface": 0 });
    if version < Version::V1_0_0 {
        address["version"] = json!("4");
    }
    json!({
        "cniVersion": version.as_str(),
        "interfaces": [{ "name": "lo", "mac": "00:00:00:00:00:00", "sandbox": sandbox }],
        "ips": [address],
        "dns": {},
    })
}
