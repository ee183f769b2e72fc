//! KubeProxyConfiguration, `kubeproxy.config.k8s.io/v1alpha1`: every field that upstream knows is taken,
//! any other is refused with its line.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{ConfigError, LocalMode};

const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";
const KIND: &str = "KubeProxyConfiguration";

/// What the file says, as far as it means something here.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) client_connection: ClientConnection,
    #[serde(default)]
    pub(super) hostname_override: String,
    #[serde(default)]
    pub(super) bind_address: String,
    #[serde(default)]
    pub(super) healthz_bind_address: Option<String>,
    #[serde(default)]
    pub(super) metrics_bind_address: Option<String>,
    #[serde(default)]
    pub(super) iptables: Backend,
    #[serde(default)]
    pub(super) nftables: Backend,
    #[serde(default)]
    pub(super) detect_local_mode: Mode,
    #[serde(default)]
    pub(super) detect_local: DetectLocal,
    #[serde(default, rename = "clusterCIDR")]
    pub(super) cluster_cidr: String,
    #[serde(default)]
    pub(super) node_port_addresses: Option<Vec<String>>,
    #[serde(default, rename = "oomScoreAdj")]
    pub(super) oom_score_adj: Option<i32>,
    #[serde(default, rename = "ipvs")]
    ipvs: Ipvs,
    #[serde(default)]
    winkernel: Winkernel,
    #[serde(default)]
    conntrack: Conntrack,
    feature_gates: Option<IgnoredAny>,
    logging: Option<IgnoredAny>,
    bind_address_hard_fail: Option<IgnoredAny>,
    enable_profiling: Option<IgnoredAny>,
    show_hidden_metrics_for_version: Option<IgnoredAny>,
    mode: Option<IgnoredAny>,
    config_sync_period: Option<IgnoredAny>,
    port_range: Option<IgnoredAny>,
    windows_run_as_service: Option<IgnoredAny>,
}

/// `clientConnection`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClientConnection {
    pub(super) kubeconfig: String,
    accept_content_types: Option<IgnoredAny>,
    content_type: Option<IgnoredAny>,
    qps: Option<IgnoredAny>,
    burst: Option<IgnoredAny>,
}

/// `iptables` and `nftables`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Backend {
    pub(super) masquerade_all: bool,
    masquerade_bit: Option<IgnoredAny>,
    localhost_node_ports: Option<IgnoredAny>,
    sync_period: Option<IgnoredAny>,
    min_sync_period: Option<IgnoredAny>,
}

/// `detectLocalMode`: empty for upstream's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Mode {
    #[default]
    #[serde(rename = "")]
    Default,
    #[serde(rename = "ClusterCIDR")]
    ClusterCidr,
    #[serde(rename = "NodeCIDR")]
    NodeCidr,
    BridgeInterface,
    InterfaceNamePrefix,
}

impl From<Mode> for LocalMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Default | Mode::ClusterCidr => Self::ClusterCidr,
            Mode::NodeCidr => Self::NodeCidr,
            Mode::BridgeInterface => Self::BridgeInterface,
            Mode::InterfaceNamePrefix => Self::InterfaceNamePrefix,
        }
    }
}

/// `detectLocal`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct DetectLocal {
    pub(super) bridge_interface: String,
    pub(super) interface_name_prefix: String,
}

/// Declares a part of the file in which nothing has a meaning here.
macro_rules! meaningless {
    ($name:ident: $($field:ident $key:literal,)*) => {
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct $name {
            $(#[serde(rename = $key)] $field: Option<IgnoredAny>,)*
        }

        impl $name {
            fn is_said(&self) -> bool {
                [$(self.$field.is_some(),)*].contains(&true)
            }
        }
    };
}

meaningless! { Ipvs:
    sync_period "syncPeriod", min_sync_period "minSyncPeriod", scheduler "scheduler",
    exclude_cidrs "excludeCIDRs", strict_arp "strictARP", tcp_timeout "tcpTimeout",
    tcp_fin_timeout "tcpFinTimeout", udp_timeout "udpTimeout",
}

meaningless! { Winkernel:
    network_name "networkName", source_vip "sourceVip", enable_dsr "enableDSR",
    root_hns_endpoint_name "rootHnsEndpointName",
    forward_health_check_vip "forwardHealthCheckVip",
}

meaningless! { Conntrack:
    max_per_core "maxPerCore", min "min", tcp_established_timeout "tcpEstablishedTimeout",
    tcp_close_wait_timeout "tcpCloseWaitTimeout", tcp_be_liberal "tcpBeLiberal",
    udp_timeout "udpTimeout", udp_stream_timeout "udpStreamTimeout",
}

impl Backend {
    fn says_more(&self) -> bool {
        self.masquerade_bit.is_some()
            || self.localhost_node_ports.is_some()
            || self.sync_period.is_some()
            || self.min_sync_period.is_some()
    }
}

impl File {
    /// Reads the file; an error names it, and the line where that is known.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::File { path: path.into(), source })?;
        Self::parse(&text).map_err(|problem| ConfigError::Contents { path: path.into(), problem })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if (file.api_version.as_str(), file.kind.as_str()) != (API_VERSION, KIND) {
            let (found, kind) = (&file.api_version, &file.kind);
            return Err(format!("{found} {kind} is not {API_VERSION} {KIND}"));
        }
        Ok(file)
    }

    /// The parts of it that say something without a meaning here.
    pub(super) fn ignored(&self) -> Vec<&'static str> {
        let client = &self.client_connection;
        let parts = [
            ("bindAddressHardFail", self.bind_address_hard_fail.is_some()),
            ("clientConnection.acceptContentTypes", client.accept_content_types.is_some()),
            ("clientConnection.burst", client.burst.is_some()),
            ("clientConnection.contentType", client.content_type.is_some()),
            ("clientConnection.qps", client.qps.is_some()),
            ("configSyncPeriod", self.config_sync_period.is_some()),
            ("conntrack", self.conntrack.is_said()),
            ("enableProfiling", self.enable_profiling.is_some()),
            ("featureGates", self.feature_gates.is_some()),
            ("iptables", self.iptables.says_more()),
            ("ipvs", self.ipvs.is_said()),
            ("logging", self.logging.is_some()),
            ("mode", self.mode.is_some()),
            ("nftables", self.nftables.says_more()),
            ("portRange", self.port_range.is_some()),
            ("showHiddenMetricsForVersion", self.show_hidden_metrics_for_version.is_some()),
            ("windowsRunAsService", self.windows_run_as_service.is_some()),
            ("winkernel", self.winkernel.is_said()),
        ];
        parts.into_iter().filter(|(_, said)| *said).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kubeadm writes into the ConfigMap `kube-proxy`.
    const KUBEADM: &str = "
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: \"\"
  burst: 0
  contentType: \"\"
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: \"\"
  interfaceNamePrefix: \"\"
detectLocalMode: \"\"
enableProfiling: false
healthzBindAddress: \"\"
hostnameOverride: \"\"
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: \"\"
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options: {json: {infoBufferSize: \"0\"}, text: {infoBufferSize: \"0\"}}
  verbosity: 0
metricsBindAddress: \"\"
mode: \"\"
nftables:
  masqueradeAll: true
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: \"\"
showHiddenMetricsForVersion: \"\"
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: \"\"
  rootHnsEndpointName: \"\"
  sourceVip: \"\"
";

    #[test]
    fn the_file_that_kubeadm_writes_is_taken() {
        let file = File::parse(KUBEADM).expect("upstream's own");
        assert_eq!(file.client_connection.kubeconfig, "/var/lib/kube-proxy/kubeconfig.conf");
        assert_eq!(file.cluster_cidr, "10.244.0.0/16");
        assert!(file.nftables.masquerade_all && !file.iptables.masquerade_all);
        assert!(file.ignored().contains(&"conntrack"), "{:?}", file.ignored());
    }

    #[test]
    fn what_upstream_does_not_know_is_refused_with_its_line() {
        let top = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
        for (text, words) in [
            ("clusterCIRD: 10.0.0.0/8\n", ["clusterCIRD", "line 3"]),
            ("conntrack:\n  maximum: 3\n", ["maximum", "line 4"]),
            ("detectLocalMode: Nobody\n", ["Nobody", "line 3"]),
        ] {
            let problem = File::parse(&format!("{top}{text}")).expect_err(text);
            assert!(words.iter().all(|word| problem.contains(word)), "{problem}");
        }
        let problem = File::parse("apiVersion: v1\nkind: Pod\n").expect_err("another kind");
        assert!(problem.contains("v1 Pod"), "{problem}");
    }
}
