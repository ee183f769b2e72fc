//! The first process of a node: enters the node's namespaces, shows it folders of its own in place of the
//! machine's, and keeps its programs running as an init system would.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::layout::{Layout, PODS, SERVICES, address, address6, node_name};
use super::plane::{Plane, Service};
use crate::command::{capture, command};
use crate::{images, machine};

/// Folders that a node's programs write: each node has its own.
const OWN_FOLDERS: &[&str] = &[
    "run/containerd",
    "run/netns",
    "run/skep",
    "var/lib/containerd",
    "var/lib/skep",
    "var/lib/kubelet",
    "var/lib/cni",
    "var/log/pods",
    "var/log/containers",
    "etc/cni",
    "opt/cni",
];

/// Version 2 allows processes only in leaves once pods get groups beside them.
pub(super) const SYSTEM_GROUP: &str = "system";

const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// A program that ended is started again after this.
const RESTART: Duration = Duration::from_secs(1);

/// What `up` tells a node.
#[derive(Args)]
pub(crate) struct Options {
    /// The cluster
    #[arg(long)]
    cluster: String,
    /// The node's number, which gives its name and addresses
    #[arg(long)]
    number: u8,
    /// The program skep
    #[arg(long)]
    skep: PathBuf,
    /// The archive of images
    #[arg(long)]
    images: PathBuf,
    /// Run this control plane here; standard input is a listening socket for it
    #[arg(long)]
    plane: Option<Plane>,
    /// The folder of upstream's programs
    #[arg(long)]
    upstream: Option<PathBuf>,
}

/// Runs a node until it is killed.
///
/// # Errors
/// When the node cannot be set up; its programs' ends are only logged.
pub(crate) fn run(options: &Options) -> Result<()> {
    let layout = Layout { name: options.cluster.clone() };
    let node = &Node { options, name: node_name(options.number), layout: &layout };
    node.join_control_groups()?;
    node.enter_namespaces()?;
    fs::write(layout.pid_file(&node.name), std::process::id().to_string())?;
    std::thread::scope(|scope| {
        scope.spawn(|| node.keep("containerd", || node.containerd()));
        for service in node.services() {
            scope.spawn(move || node.keep(service.name, || node.service(&service)));
        }
        node.import_images()?;
        node.wait_for("the control plane's token", || {
            layout.node(&node.name).join("join").exists()
        })?;
        node.keep("agent", || node.agent());
        Ok(())
    })
}

struct Node<'a> {
    options: &'a Options,
    name: String,
    layout: &'a Layout,
}

impl Node<'_> {
    /// All that the node starts inherits its groups: whoever removes the node finds every process there.
    fn join_control_groups(&self) -> Result<()> {
        let me = std::process::id().to_string();
        for cluster in self.layout.cgroup_folders() {
            let node = cluster.join(&self.name);
            let folder = node.join(SYSTEM_GROUP);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            // A cpuset group of version 1 is born empty and takes no process until it has both.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                for level in [&cluster, &node, &folder] {
                    let parent = level.parent().expect("a group has a parent");
                    if let Ok(value) = fs::read_to_string(parent.join(file)) {
                        // Version 2 keeps these files read-only without the controller: nothing to do there.
                        let _ = fs::write(level.join(file), value.trim());
                    }
                }
            }
            fs::write(folder.join("cgroup.procs"), &me)
                .with_context(|| format!("cannot join {}", folder.display()))?;
        }
        Ok(())
    }

    fn enter_namespaces(&self) -> Result<()> {
        let own = self.layout.node(&self.name).join("fs");
        let path = Path::new("/run/netns").join(self.layout.namespace(&self.name));
        let net = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        setns(net, CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
            .context("cannot leave the machine's mount namespace")?;
        nix::unistd::sethostname(&self.name)?;
        propagation("/", MsFlags::MS_PRIVATE)?;
        for folder in OWN_FOLDERS {
            let (source, target) = (own.join(folder), Path::new("/").join(folder));
            fs::create_dir_all(&source)?;
            fs::create_dir_all(&target)?;
            bind(&source, &target)?;
        }
        // Nothing is to be asked of a name server that is not there: one that refuses beats one that is silent.
        let resolver = own.join("resolv.conf");
        fs::write(&resolver, "nameserver 127.0.0.1\n")?;
        bind(&resolver, Path::new("/etc/resolv.conf"))?;
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a BPF file system")?;
        // Containers' mounts come from here and must follow later ones.
        propagation("/", MsFlags::MS_SHARED)
    }

    fn containerd(&self) -> Result<Command> {
        let config = self.layout.node(&self.name).join("containerd.toml");
        fs::write(&config, containerd_config())?;
        let mut containerd = command(["containerd", "--config"]);
        containerd.arg(config);
        Ok(containerd)
    }

    fn services(&self) -> Vec<Service> {
        let Options { plane, skep, upstream, number, .. } = self.options;
        let upstream = upstream.clone().unwrap_or_default();
        plane.map(|plane| plane.services(skep, &upstream, &address(*number))).unwrap_or_default()
    }

    /// The shell gives the socket the number that socket activation expects (sd_listen_fds(3)).
    fn service(&self, service: &Service) -> Result<Command> {
        let mut program = command(["sh", "-c"]);
        if service.listens {
            program.arg(format!(
                "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; {}",
                service.line
            ));
            program.stdin(Stdio::from(std::io::stdin().as_fd().try_clone_to_owned()?));
        } else {
            program.arg(&service.line);
        }
        Ok(program)
    }

    fn agent(&self) -> Result<Command> {
        let join = fs::read_to_string(self.layout.node(&self.name).join("join"))?;
        let mut agent = command([&self.options.skep]);
        agent.arg("agent").args(join.split_whitespace());
        agent.args(["--hostname-override", &self.name, "--node-ip"]);
        agent.arg(format!("{},{}", address(self.options.number), address6(self.options.number)));
        agent.args(["--cluster-cidr", PODS, "--service-cluster-ip-range", SERVICES]);
        let group = self.layout.cgroup(&self.name);
        let sockets = machine::cgroup2().context("no cgroup2 file system is mounted")?;
        agent.arg("--socket-cgroup").arg(sockets.join(group.trim_start_matches('/')));
        agent.args(["--cgroup-root", &group]);
        agent.args(["--resolv-conf", "/etc/resolv.conf"]);
        Ok(agent)
    }

    fn import_images(&self) -> Result<()> {
        self.wait_for("containerd", || Path::new(CONTAINERD_SOCKET).exists())?;
        let mut import = command(["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"]);
        import.args(["images", "import", "--no-unpack"]).arg(&self.options.images);
        capture(&mut import).map(drop)
    }

    fn wait_for(&self, what: &str, done: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !done() {
            if start.elapsed() > PATIENCE {
                bail!("{}: gave up waiting for {what}", self.name);
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Starts a program again and again, its output appended to its log.
    fn keep(&self, name: &str, make: impl Fn() -> Result<Command>) {
        let path = self.layout.log(&self.name, name);
        loop {
            let ended = File::options()
                .create(true)
                .append(true)
                .open(&path)
                .context("cannot open the log")
                .and_then(|log| {
                    let mut program = make()?;
                    program.stdout(log.try_clone()?).stderr(log);
                    Ok(program.spawn()?.wait()?)
                });
            match ended {
                Ok(status) => println!("{name} ended with {status}"),
                Err(error) => println!("{name}: {error:#}"),
            }
            std::thread::sleep(RESTART);
        }
    }
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot mount {} on {}", source.display(), target.display()))
}

fn propagation(path: &str, kind: MsFlags) -> Result<()> {
    mount(None::<&str>, path, None::<&str>, kind | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("cannot change how mounts below {path} propagate"))
}

/// Version 2 of the configuration is read by containerd 1.5 to 2.x.
fn containerd_config() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
"#,
        images::PAUSE
    )
}
