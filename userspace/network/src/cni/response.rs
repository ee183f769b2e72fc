//! What the plugin answers: results and errors in the caller's version of the specification.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::Error;
use crate::pod;

/// A version of the specification that the plugin speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0: results name interfaces.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: addresses without a version.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As it stands in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version with this text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

/// The version that the input asks for, as far as it can be told.
pub(super) fn version_of(input: &[u8]) -> Version {
    serde_json::from_slice::<Value>(input)
        .ok()
        .and_then(|conf| Version::parse(conf.get("cniVersion")?.as_str()?))
        .unwrap_or(Version::V1_1_0)
}

/// The answer to VERSION.
pub(super) fn supported_versions() -> Value {
    json!({
        "cniVersion": Version::V1_1_0.as_str(),
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}

/// One end of what was attached.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mac: [u8; 6],
    pub(super) mtu: u32,
    /// The namespace's file, for the end inside the sandbox.
    pub(super) sandbox: Option<String>,
}

/// The result of ADD: `interfaces[1]` is the one that has the addresses.
pub(super) fn result(version: Version, interfaces: &[Interface], addresses: &[IpAddr]) -> Value {
    let interface = |interface: &Interface| {
        let [a, b, c, d, e, f] = interface.mac;
        let mut json = json!({
            "name": interface.name,
            "mac": format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        });
        if let Some(sandbox) = &interface.sandbox {
            json["sandbox"] = json!(sandbox);
        }
        if version >= Version::V1_1_0 {
            json["mtu"] = json!(interface.mtu);
        }
        json
    };
    let address_json = |&address: &IpAddr| {
        let mut json = json!({
            "address": pod::single(address).to_string(),
            "gateway": pod::gateway(address),
            "interface": interfaces.len() - 1,
        });
        if version < Version::V1_0_0 {
            json["version"] = json!(if address.is_ipv4() { "4" } else { "6" });
        }
        json
    };
    let route = |&address: &IpAddr| {
        let everything = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        json!({ "dst": everything, "gw": pod::gateway(address) })
    };
    json!({
        "cniVersion": version.as_str(),
        "interfaces": interfaces.iter().map(interface).collect::<Vec<_>>(),
        "ips": addresses.iter().map(address_json).collect::<Vec<_>>(),
        "routes": addresses.iter().map(route).collect::<Vec<_>>(),
        "dns": {},
    })
}

/// An error as the specification numbers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CniError {
    /// The specification's or the plugin's number.
    pub code: u32,
    /// What went wrong and what to do about it.
    pub message: String,
}

impl CniError {
    /// The configuration asks for a version that the plugin does not speak.
    pub(super) const INCOMPATIBLE_VERSION: u32 = 1;
    /// An environment variable is missing or wrong.
    pub(super) const INVALID_ENVIRONMENT: u32 = 4;
    /// Something could not be read or written.
    pub(super) const IO: u32 = 5;
    /// The configuration is not JSON.
    pub(super) const DECODING: u32 = 6;
    /// The configuration makes no sense.
    pub(super) const INVALID_CONF: u32 = 7;
    /// Trying again later will help.
    pub(super) const TRY_AGAIN: u32 = 11;
    /// The plugin cannot serve ADD now.
    pub(super) const NOT_AVAILABLE: u32 = 50;
    /// What CHECK finds is not what ADD left.
    pub(super) const CHECK_FAILED: u32 = 100;

    pub(super) fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn io(message: impl Into<String>) -> Self {
        Self::new(Self::IO, message)
    }

    /// The error as the runtime expects it.
    pub fn to_json(&self, version: Version) -> Value {
        json!({ "cniVersion": version.as_str(), "code": self.code, "msg": self.message })
    }
}

impl From<Error> for CniError {
    fn from(error: Error) -> Self {
        let code = match error {
            // A pod that ends gives its address back.
            Error::NoAddress { .. } => Self::TRY_AGAIN,
            // The agent has not pinned tables and programs yet.
            Error::Tables(skep_bpf::Error::Pin { .. }) => Self::TRY_AGAIN,
            _ => Self::IO,
        };
        Self::new(code, error.to_string())
    }
}
