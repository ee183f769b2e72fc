//! A node without containers, in a process of its own that can be killed: skep's pod network and proxy,
//! as `skep agent` runs them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use skep_network::topology::Routing;
use tokio_util::sync::CancellationToken;

use crate::node::{CLUSTER_RANGES, Node, SERVICE_RANGES};
use crate::probe::program;

/// The flags of an agent, the kubelet's apart.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Flags {
    /// The API server and who we are
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The node's name
    #[arg(long)]
    hostname_override: String,
    /// The node's address
    #[arg(long)]
    node_ip: Option<IpAddr>,
    #[command(flatten)]
    network: skep_network::Flags,
    #[command(flatten)]
    proxy: skep_proxy::Flags,
}

/// Runs until it is killed.
///
/// # Errors
/// When a part of it ends.
pub fn run(flags: Flags) -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().expect("this is the first call");
    tracing_subscriber::fmt().with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(flags))
}

async fn serve(flags: Flags) -> anyhow::Result<()> {
    let run_dir = flags.network.run_dir.clone();
    let identity = skep_network::Identity {
        node_name: flags.hostname_override.clone(),
        node_ip: flags.node_ip,
    };
    let proxy = skep_proxy::Config::new(&flags.proxy, flags.hostname_override, run_dir)?;
    let network = skep_network::Config::new(flags.network, identity)?;
    let file = Kubeconfig::read_from(&flags.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config)?;
    let host = skep_network::Host::set_up(network.host.clone()).await?;
    let datapath = host.datapath().clone();
    let shutdown = CancellationToken::new();
    tokio::select! {
        ended = skep_network::run(network, host, client.clone(), shutdown.clone()) => ended,
        ended = skep_proxy::run(proxy, datapath, client, shutdown) => ended,
    }
}

/// An agent's process; killed when dropped.
#[derive(Debug)]
pub struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // SIGKILL: it learns nothing of its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    /// Starts the node's agent, in the place of whatever ran before.
    pub fn agent(&self, kubeconfig: &Path) -> Agent {
        let path = |path: PathBuf| path.display().to_string();
        let ranges = |ranges: [&str; 2]| ranges.join(",");
        let routing = match self.routing {
            Routing::Auto => "auto",
            Routing::Direct => "direct",
            Routing::Vxlan => "vxlan",
        };
        let cgroup = self.host().cgroup.clone().expect("a node has a control group");
        let words = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", self.address),
            format!("--cluster-cidr={}", ranges(CLUSTER_RANGES)),
            format!("--service-cluster-ip-range={}", ranges(SERVICE_RANGES)),
            format!("--bpf-dir={}", path(self.pin_dir.clone())),
            format!("--socket-cgroup={}", path(cgroup)),
            format!("--run-dir={}", path(self.state_dir.clone())),
            format!("--cni-conf-dir={}", path(self.state_dir.join("cni-conf"))),
            format!("--cni-bin-dir={}", path(self.state_dir.join("cni-bin"))),
            format!("--routing={routing}"),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        std::fs::create_dir_all(&self.state_dir).expect("the world's folder is writable");
        let log = File::options().create(true).append(true).open(self.agent_log());
        let log = log.expect("the world's folder is writable");
        let mut command = self.host().command(&program("skep-netns-agent"), &words);
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file")).stdout(log);
        Agent(command.spawn().expect("the agent runs"))
    }

    /// What its agent tells Prometheus.
    pub fn metrics(&self) -> String {
        let read = || -> io::Result<String> {
            let mut stream = TcpStream::connect("127.0.0.1:10249")?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        self.namespace.run(read).expect("entered").expect("the agent tells its metrics")
    }

    /// What its agents said.
    pub(crate) fn agent_log(&self) -> PathBuf {
        self.state_dir.join("agent.log")
    }

    /// What `skep net verify` finds wrong: nothing, or its words.
    ///
    /// # Errors
    /// With what it says.
    pub fn verify(&self, kubeconfig: &Path) -> Result<(), String> {
        let mut out = Vec::new();
        let kubeconfig = kubeconfig.display().to_string();
        let verified = self.net_to(&["verify", "--kubeconfig", &kubeconfig], &mut out);
        verified.map_err(|error| format!("{error:#}\n{}", String::from_utf8_lossy(&out)))
    }
}
