//! What the runtime asks: environment variables and the configuration on standard input.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::response::{CniError, Version};
use crate::attachments::{AttachmentId, PortMapping};

/// An operation of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a sandbox.
    Add,
    /// Detach it.
    Del,
    /// Is it still attached as it was?
    Check,
    /// Detach whatever the runtime does not name.
    Gc,
    /// Could a sandbox be attached now?
    Status,
    /// Which versions are spoken?
    Version,
}

/// The operation that the environment names.
pub(super) fn command(environment: impl Fn(&str) -> Option<String>) -> Result<Command, CniError> {
    match environment("CNI_COMMAND").as_deref() {
        Some("ADD") => Ok(Command::Add),
        Some("DEL") => Ok(Command::Del),
        Some("CHECK") => Ok(Command::Check),
        Some("GC") => Ok(Command::Gc),
        Some("STATUS") => Ok(Command::Status),
        Some("VERSION") => Ok(Command::Version),
        Some(other) => Err(CniError::new(
            CniError::INVALID_ENVIRONMENT,
            format!("CNI_COMMAND: unknown operation {other:?}"),
        )),
        None => Err(CniError::new(
            CniError::INVALID_ENVIRONMENT,
            "CNI_COMMAND is not set: this program is called by a container runtime",
        )),
    }
}

/// The plugin's part of the configuration, as the agent writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conf {
    /// The version of the specification to speak.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cni_version: String,
    /// The network's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The plugin's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Ranges of this node's pods, one per family.
    #[serde(default, rename = "podCIDRs")]
    pub pod_ranges: Vec<IpNet>,
    /// The largest packet that a pod may send.
    #[serde(default)]
    pub mtu: u32,
    /// Where attachments are remembered.
    #[serde(default)]
    pub state_dir: PathBuf,
    /// Where tables and programs are pinned.
    #[serde(default)]
    pub pin_dir: PathBuf,
    /// What the runtime may add for each pod.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What it added for this one.
    #[serde(default, skip_serializing_if = "RuntimeConfig::is_empty")]
    pub runtime_config: RuntimeConfig,
    /// What ADD answered, for CHECK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_result: Option<PrevResult>,
    /// What to keep, for GC.
    #[serde(
        default,
        rename = "cni.dev/valid-attachments",
        skip_serializing_if = "Option::is_none"
    )]
    pub valid_attachments: Option<Vec<AttachmentId>>,
    /// The same, by the name that early runtimes used.
    #[serde(default, rename = "cni.dev/attachments", skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Vec<AttachmentId>>,
}

impl Conf {
    /// Whether this is the plugin that switches on a sandbox's loopback device.
    pub(super) fn is_loopback(&self) -> bool {
        self.kind == "loopback"
    }

    fn validate(&self) -> Result<(), CniError> {
        let invalid = |field: &str| {
            CniError::new(CniError::INVALID_CONF, format!("the configuration lacks {field:?}"))
        };
        if self.is_loopback() {
            return Ok(());
        }
        if self.pod_ranges.is_empty() {
            return Err(invalid("podCIDRs"));
        }
        if self.mtu == 0 {
            return Err(invalid("mtu"));
        }
        if self.state_dir.as_os_str().is_empty() {
            return Err(invalid("stateDir"));
        }
        if self.pin_dir.as_os_str().is_empty() {
            return Err(invalid("pinDir"));
        }
        Ok(())
    }
}

/// What the runtime may tell for each pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Ports of the node that lead to the pod.
    #[serde(default)]
    pub port_mappings: bool,
}

/// What the runtime told for one pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    /// Ports of the node that lead to the pod.
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

impl RuntimeConfig {
    fn is_empty(&self) -> bool {
        self.port_mappings.is_empty()
    }
}

/// The part of an ADD's result that CHECK compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PrevResult {
    /// The addresses.
    #[serde(default)]
    pub ips: Vec<PrevAddress>,
}

/// An address in an ADD's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrevAddress {
    /// With its prefix.
    pub address: IpNet,
}

impl PrevResult {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.ips.iter().map(|ip| ip.address.addr()).collect()
    }
}

/// A whole call.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// The version to answer in.
    pub version: Version,
    /// The configuration.
    pub conf: Conf,
    /// Sandbox and device; absent for GC and STATUS.
    pub id: Option<AttachmentId>,
    /// The sandbox's namespace; DEL may come without.
    pub namespace: Option<PathBuf>,
    /// Namespace and name of the pod, when the runtime told.
    pub pod: Option<String>,
}

impl Request {
    /// Parses a call; errors name the variable or the field.
    pub fn parse(
        environment: impl Fn(&str) -> Option<String>,
        input: &[u8],
    ) -> Result<Self, CniError> {
        let command = command(&environment)?;
        let conf: Conf = serde_json::from_slice(input).map_err(|error| {
            let code = if error.is_data() { CniError::INVALID_CONF } else { CniError::DECODING };
            CniError::new(code, format!("cannot read the configuration: {error}"))
        })?;
        let version = Version::parse(&conf.cni_version).ok_or_else(|| {
            let version = &conf.cni_version;
            let known = Version::ALL.map(Version::as_str).join(", ");
            CniError::new(
                CniError::INCOMPATIBLE_VERSION,
                format!("cniVersion {version:?} is not spoken here, these are: {known}"),
            )
        })?;
        let oldest = match command {
            Command::Check => Version::V0_4_0,
            Command::Gc | Command::Status => Version::V1_1_0,
            _ => Version::V0_3_0,
        };
        if version < oldest {
            let message = format!("{command:?} needs cniVersion {} or later", oldest.as_str());
            return Err(CniError::new(CniError::INCOMPATIBLE_VERSION, message));
        }
        conf.validate()?;
        let with_sandbox = matches!(command, Command::Add | Command::Del | Command::Check);
        Ok(Self {
            command,
            version,
            id: if with_sandbox { Some(attachment_id(&environment)?) } else { None },
            namespace: namespace(command, &environment)?,
            pod: environment("CNI_ARGS").as_deref().and_then(pod_name),
            conf,
        })
    }

    /// Sandbox and device of ADD, DEL and CHECK.
    pub(super) fn id(&self) -> Result<&AttachmentId, CniError> {
        self.id.as_ref().ok_or_else(|| {
            CniError::new(CniError::INVALID_ENVIRONMENT, "CNI_CONTAINERID is not set")
        })
    }

    /// The sandbox's namespace of ADD and CHECK.
    pub(super) fn namespace(&self) -> Result<&PathBuf, CniError> {
        self.namespace
            .as_ref()
            .ok_or_else(|| CniError::new(CniError::INVALID_ENVIRONMENT, "CNI_NETNS is not set"))
    }
}

fn attachment_id(environment: impl Fn(&str) -> Option<String>) -> Result<AttachmentId, CniError> {
    let invalid = |message: String| CniError::new(CniError::INVALID_ENVIRONMENT, message);
    let required = |name: &str| {
        environment(name)
            .filter(|v| !v.is_empty())
            .ok_or_else(|| invalid(format!("{name} is not set")))
    };
    let container_id = required("CNI_CONTAINERID")?;
    let begins = container_id.starts_with(|c: char| c.is_ascii_alphanumeric());
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !begins || !container_id.chars().all(allowed) {
        return Err(invalid(format!("CNI_CONTAINERID: {container_id:?} is not an identifier")));
    }
    let ifname = required("CNI_IFNAME")?;
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace();
    if ifname.len() > 15 || ifname == "." || ifname == ".." || ifname.contains(forbidden) {
        return Err(invalid(format!("CNI_IFNAME: {ifname:?} cannot be a device's name")));
    }
    Ok(AttachmentId { container_id, ifname })
}

fn namespace(
    command: Command,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Option<PathBuf>, CniError> {
    let namespace = environment("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from);
    if namespace.is_none() && matches!(command, Command::Add | Command::Check) {
        return Err(CniError::new(CniError::INVALID_ENVIRONMENT, "CNI_NETNS is not set"));
    }
    Ok(namespace)
}

/// Kubernetes runtimes tell `K8S_POD_NAMESPACE=..;K8S_POD_NAME=..`.
fn pod_name(arguments: &str) -> Option<String> {
    let value = |key: &str| {
        arguments.split(';').find_map(|pair| pair.split_once('=').filter(|(k, _)| *k == key))
    };
    let (_, namespace) = value("K8S_POD_NAMESPACE")?;
    let (_, name) = value("K8S_POD_NAME")?;
    Some(format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(
        pairs: &'static [(&'static str, &'static str)],
    ) -> impl Fn(&str) -> Option<String> {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    const ADD: &[(&str, &str)] = &[
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1"),
    ];

    fn conf() -> serde_json::Value {
        serde_json::json!({
            "cniVersion": "1.0.0", "name": "skep", "type": "skep-cni",
            "podCIDRs": ["10.244.3.0/24"], "mtu": 1500,
            "stateDir": "/run/skep/cni", "pinDir": "/sys/fs/bpf/skep",
        })
    }

    #[test]
    fn a_whole_call_is_understood() {
        let request =
            Request::parse(environment(ADD), conf().to_string().as_bytes()).expect("a request");
        assert_eq!(request.command, Command::Add);
        assert_eq!(request.version, Version::V1_0_0);
        assert_eq!(request.pod.as_deref(), Some("shop/web-1"));
        assert_eq!(request.id().map(|id| id.container_id.as_str()), Ok("abc"));
    }

    #[test]
    fn host_ports_are_read_as_the_convention_and_as_containerd_write_them() {
        let wanted = PortMapping {
            host_port: 8080,
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: "10.0.0.1".into(),
        };
        let convention = serde_json::json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "10.0.0.1"});
        let containerd = serde_json::json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": "10.0.0.1"});
        for mapping in [convention, containerd] {
            let mut conf = conf();
            conf["runtimeConfig"] = serde_json::json!({"portMappings": [mapping]});
            let request = Request::parse(environment(ADD), conf.to_string().as_bytes());
            let told = request.expect("a request").conf.runtime_config.port_mappings;
            assert_eq!(told, std::slice::from_ref(&wanted));
        }
    }

    #[test]
    fn bad_calls_are_told_what_is_wrong() {
        let without = |name: &str| {
            let name = name.to_owned();
            move |key: &str| (key != name).then(|| environment(ADD)(key)).flatten()
        };
        let changed = |field: &str, value: serde_json::Value| {
            let mut conf = conf();
            conf[field] = value;
            conf.to_string()
        };
        let good = conf().to_string();
        // (code, part of the message, variable to leave out, configuration)
        let cases = [
            (4, "CNI_COMMAND", "CNI_COMMAND", good.clone()),
            (4, "CNI_CONTAINERID", "CNI_CONTAINERID", good.clone()),
            (4, "CNI_IFNAME", "CNI_IFNAME", good.clone()),
            (4, "CNI_NETNS", "CNI_NETNS", good),
            (6, "cannot read", "", "{".into()),
            (7, "podCIDRs", "", changed("podCIDRs", serde_json::json!([]))),
            (7, "podCIDRs", "", changed("podCIDRs", serde_json::json!(["10.0.0.0/33"]))),
            (7, "mtu", "", changed("mtu", 0.into())),
            (1, "0.2.0", "", changed("cniVersion", "0.2.0".into())),
        ];
        for (code, part, missing, conf) in cases {
            let error = Request::parse(without(missing), conf.as_bytes()).expect_err(part);
            assert_eq!(error.code, code, "{error}");
            let named = error.message.contains(part) || code == 7;
            assert!(named, "{error} does not name {part}");
        }
    }

    #[test]
    fn garbage_collection_needs_its_version() {
        let gc = environment(&[("CNI_COMMAND", "GC")]);
        let error = Request::parse(gc, conf().to_string().as_bytes()).expect_err("too old");
        assert_eq!(error.code, CniError::INCOMPATIBLE_VERSION);
    }
}
