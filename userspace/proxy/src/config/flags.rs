//! The command line: kube-proxy's flags, and skep's own.

use std::path::PathBuf;

use skep_network::Xdp;

use super::{ForwardingMode, LocalMode};

/// Flags of the proxy, alone or in an agent.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Serve node ports only on addresses in these ranges, or, with "primary", on the address by which
    /// the cluster knows the node; on all of the node's when not given
    #[arg(long, value_delimiter = ',')]
    pub nodeport_addresses: Vec<String>,
    /// Address and port of the proxy's health check; empty for none
    #[arg(long = "healthz-bind-address", id = "proxy-healthz", default_value = "0.0.0.0:10256")]
    pub healthz_bind_address: String,
    /// Address and port of the proxy's and the datapath's metrics; empty for none
    #[arg(long = "metrics-bind-address", id = "proxy-metrics", default_value = "127.0.0.1:10249")]
    pub metrics_bind_address: String,
    /// Give every client of a cluster address the node's address
    #[arg(long)]
    pub masquerade_all: bool,
    /// How packets from outside get back: through this node, or straight from the backend's (a Service
    /// can choose for itself, by the annotation skep.dev/forwarding-mode)
    #[arg(long, value_enum, default_value_t)]
    pub forwarding_mode: ForwardingMode,
}

/// Flags of the proxy in a process of its own, over somebody else's pod network.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct AloneFlags {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub proxy: Flags,
    /// KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); flags that it has fields for are then
    /// ignored, as upstream ignores them
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The API server and who we are; without it the service account of the pod we run in
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server, instead of the kubeconfig's
    #[arg(long)]
    pub master: Option<String>,
    /// How to tell which clients of cluster addresses are this node's pods; everybody else gets the
    /// node's address
    #[arg(long, value_enum)]
    pub detect_local_mode: Option<LocalMode>,
    /// Ranges of all pods, at most one per family, for --detect-local-mode ClusterCIDR
    #[arg(long, value_delimiter = ',')]
    pub cluster_cidr: Vec<String>,
    /// The pods' bridge, for --detect-local-mode BridgeInterface
    #[arg(long)]
    pub pod_bridge_interface: Option<String>,
    /// How the names of the pods' devices begin, for --detect-local-mode InterfaceNamePrefix
    #[arg(long)]
    pub pod_interface_name_prefix: Option<String>,
    /// The node's name in the API; the host's name when not given
    #[arg(long)]
    pub hostname_override: Option<String>,
    /// The node's address; that of its default route's device when not given
    #[arg(long)]
    pub bind_address: Option<String>,
    /// How unwilling the kernel is to end this process when memory runs out (-1000 to 1000)
    #[arg(long, allow_hyphen_values = true)]
    pub oom_score_adj: Option<i32>,
    /// Detach everything, remove all tables and end
    #[arg(long)]
    pub cleanup: bool,
    /// Folder of a BPF file system for this node's tables, programs and links; one is mounted if none is
    #[arg(long, default_value = "/sys/fs/bpf/skep")]
    pub bpf_dir: PathBuf,
    /// Folder of the cgroup2 tree whose sockets see Services; the root of the tree when not given
    #[arg(long)]
    pub socket_cgroup: Option<PathBuf>,
    /// Where packets from outside are taken off the devices; what XDP does not take, TCX does
    #[arg(long, value_enum, default_value_t)]
    pub xdp: Xdp,
    /// Where names for the tools are kept
    #[arg(long, default_value = "/run/skep")]
    pub run_dir: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would print it as help")]
    pub ignored: IgnoredFlags,
}

/// Declares flags that are taken and have no effect.
macro_rules! ignored_flags {
    ($($field:ident $flag:literal,)*) => {
        /// kube-proxy's flags about things that are not here: netfilter, its connection tracking, IPVS,
        /// how its client and its log work.
        #[derive(Debug, Clone, Default, clap::Args)]
        #[group(skip)]
        pub struct IgnoredFlags {
            $(
                #[arg(
                    long = $flag,
                    hide = true,
                    num_args = 0..=1,
                    default_missing_value = "true",
                    allow_hyphen_values = true
                )]
                $field: Option<String>,
            )*
        }

        impl IgnoredFlags {
            /// Those that were given.
            pub fn given(&self) -> Vec<&'static str> {
                let all = [$((concat!("--", $flag), &self.$field),)*];
                all.into_iter().filter(|(_, value)| value.is_some()).map(|(flag, _)| flag).collect()
            }
        }
    };
}

ignored_flags! {
    bind_address_hard_fail "bind-address-hard-fail",
    config_sync_period "config-sync-period",
    conntrack_max_per_core "conntrack-max-per-core",
    conntrack_min "conntrack-min",
    conntrack_tcp_be_liberal "conntrack-tcp-be-liberal",
    conntrack_tcp_timeout_close_wait "conntrack-tcp-timeout-close-wait",
    conntrack_tcp_timeout_established "conntrack-tcp-timeout-established",
    conntrack_udp_timeout "conntrack-udp-timeout",
    conntrack_udp_timeout_stream "conntrack-udp-timeout-stream",
    feature_gates "feature-gates",
    init_only "init-only",
    iptables_localhost_nodeports "iptables-localhost-nodeports",
    iptables_masquerade_bit "iptables-masquerade-bit",
    iptables_min_sync_period "iptables-min-sync-period",
    iptables_sync_period "iptables-sync-period",
    ipvs_exclude_cidrs "ipvs-exclude-cidrs",
    ipvs_min_sync_period "ipvs-min-sync-period",
    ipvs_scheduler "ipvs-scheduler",
    ipvs_strict_arp "ipvs-strict-arp",
    ipvs_sync_period "ipvs-sync-period",
    ipvs_tcp_timeout "ipvs-tcp-timeout",
    ipvs_tcpfin_timeout "ipvs-tcpfin-timeout",
    ipvs_udp_timeout "ipvs-udp-timeout",
    kube_api_burst "kube-api-burst",
    kube_api_content_type "kube-api-content-type",
    kube_api_qps "kube-api-qps",
    log_flush_frequency "log-flush-frequency",
    log_json_info_buffer_size "log-json-info-buffer-size",
    log_json_split_stream "log-json-split-stream",
    log_text_info_buffer_size "log-text-info-buffer-size",
    log_text_split_stream "log-text-split-stream",
    logging_format "logging-format",
    profiling "profiling",
    proxy_mode "proxy-mode",
    show_hidden_metrics_for_version "show-hidden-metrics-for-version",
    vmodule "vmodule",
}
