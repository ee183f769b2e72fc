//! Brings up a cluster and proves it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::layout::{Layout, address, node_names};
use super::plane::Plane;
use super::{down, wires};
use crate::build::Built;
use crate::command::{capture, command};
use crate::progress::step;
use crate::{build, machine, proof};

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// How to bring a cluster up.
#[derive(Args)]
pub(crate) struct Options {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
}

/// Brings the cluster up, or finds it up, and proves it.
///
/// # Errors
/// Says what failed and where the logs are.
pub(crate) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let layout = Layout::default();
    machine::check()?;
    let running = is_up(&layout);
    if running {
        println!("the cluster is up already; proving it again");
    } else {
        let leftovers = down::leftovers(&layout)?;
        if !leftovers.is_empty() {
            bail!(
                "an earlier cluster was not taken down (`cargo xtask down`): {}",
                leftovers.join(", ")
            );
        }
        machine::install_programs()?;
    }
    let built = step("build", build::all)?;
    if !running {
        let parts =
            Parts { nodes: options.nodes, built: &built, plane: Plane::Skep, upstream: None };
        bring_up(&layout, &parts)?;
    }
    let proven = proof::prove(&layout)?;
    println!("\n{proven}");
    println!("up and proven after {:.1} s", start.elapsed().as_secs_f64());
    println!("\nNext:");
    println!("  export KUBECONFIG={}", layout.kubeconfig().display());
    println!("  kubectl get nodes,pods -A -o wide");
    println!("  cargo xtask exec n1 skep net services      # what the kernel of node n1 knows");
    println!("  cargo xtask exec outside skep-demo fetch http://10.199.0.12:30080/ 9");
    println!("  cargo xtask down");
    Ok(())
}

/// Kubectl as the cluster's administrator, run where the control plane can be reached.
pub(crate) fn kubectl(layout: &Layout, words: &[&str]) -> Command {
    let mut line = Vec::new();
    let config = fs::read_to_string(layout.kubeconfig()).unwrap_or_default();
    if config.contains(&plane_address()) {
        let inside = layout.inside("switch").expect("the switch needs no process");
        line.extend(inside);
    }
    line.push("kubectl".to_owned());
    let mut kubectl = kubectl_environment(layout, command(line));
    kubectl.args(words);
    kubectl
}

fn is_up(layout: &Layout) -> bool {
    layout.kubeconfig().exists()
        && capture(&mut kubectl(layout, &["get", "--raw", "/readyz"])).is_ok()
}

/// What a cluster is made of.
pub(crate) struct Parts<'a> {
    /// How many nodes.
    pub(crate) nodes: u8,
    /// Our programs.
    pub(crate) built: &'a Built,
    /// Who plays the control plane.
    pub(crate) plane: Plane,
    /// The folder of upstream's programs, where the plane wants some.
    pub(crate) upstream: Option<&'a Path>,
}

/// Brings a cluster up until its nodes are ready.
///
/// # Errors
/// Says what failed and where the logs are.
pub(crate) fn bring_up(layout: &Layout, parts: &Parts) -> Result<()> {
    start_all(layout, parts).with_context(|| {
        let state = layout.state();
        format!("the logs are in {}; `cargo xtask down` removes everything", state.display())
    })
}

fn start_all(layout: &Layout, parts: &Parts) -> Result<()> {
    fs::create_dir_all(layout.programs())?;
    let Built { skep, demo, traffic, .. } = parts.built;
    for (name, program) in [("skep", skep), ("skep-demo", demo), ("skep-traffic", traffic)] {
        std::os::unix::fs::symlink(program, layout.programs().join(name))?;
    }
    let nodes: Vec<(u8, String)> = (1..=parts.nodes).zip(node_names(parts.nodes)).collect();
    step("network", || wires::lay(layout, parts.nodes))?;
    step("control plane", || {
        let listener = loopback_listener()?;
        let port = listener.local_addr()?.port();
        for (number, name) in &nodes {
            let socket = if *number == 1 { Some(listener.try_clone()?) } else { None };
            start(layout, parts, name, *number, socket)?;
        }
        drop(listener);
        write_kubeconfig(layout, parts, port)?;
        wait_for("the control plane", || {
            capture(&mut kubectl(layout, &["get", "--raw", "/readyz"])).map(drop)
        })?;
        match parts.plane.rights() {
            Some(rights) => {
                let manifest = build::root().join(rights);
                capture(kubectl(layout, &["apply", "-f"]).arg(manifest)).map(drop)
            }
            None => Ok(()),
        }
    })?;
    step("nodes", || {
        for (_, name) in &nodes {
            join(layout, parts, name)?;
        }
        wait_for("the nodes to be ready", || {
            let words = ["wait", "--for=condition=Ready", "--timeout=5s", "node"];
            let names = nodes.iter().map(|(_, name)| name);
            capture(kubectl(layout, &words).args(names)).map(drop)
        })
    })
}

/// The socket on the machine's loopback through which its own programs reach the control plane: the nodes'
/// addresses exist only inside their namespaces.
fn loopback_listener() -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", 6443))
        .or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
        .context("cannot listen on 127.0.0.1")
}

fn start(
    layout: &Layout,
    parts: &Parts,
    name: &str,
    number: u8,
    socket: Option<TcpListener>,
) -> Result<()> {
    fs::create_dir_all(layout.node(name))?;
    let log = File::create(layout.log(name, "node"))?;
    let mut node = command([Path::new("setsid"), &std::env::current_exe()?]);
    node.args(["node", "--cluster", &layout.name, "--number", &number.to_string()])
        .arg("--skep")
        .arg(&parts.built.skep)
        .arg("--images")
        .arg(&parts.built.images)
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(socket) = socket {
        let plane = parts.plane.to_possible_value().expect("no plane is hidden");
        node.args(["--plane", plane.get_name()]);
        if let Some(programs) = parts.upstream {
            node.arg("--upstream").arg(programs);
        }
        node.stdin(Stdio::from(OwnedFd::from(socket)));
    }
    node.spawn().context("cannot start a node").map(drop)
}

/// The control plane makes its certificates first; the kubeconfig holds one of them.
fn write_kubeconfig(layout: &Layout, parts: &Parts, port: u16) -> Result<()> {
    let data = data_dir(layout);
    let server = match parts.plane {
        // Knows no socket activation: its clients go into the namespaces.
        Plane::UpstreamApiserver => plane_address(),
        _ => format!("https://127.0.0.1:{port}"),
    };
    wait_for("the control plane's certificates", || {
        if !data.join("pki/admin.key").exists() {
            bail!("{} has no certificates", data.display());
        }
        let mut print = command([&parts.built.skep]);
        print.args(["kubeconfig", "--server", &server, "--advertise-address", &address(1)]);
        let text = capture(print.arg("--data-dir").arg(&data))?;
        fs::write(layout.kubeconfig(), text).context("cannot write the kubeconfig")
    })
}

/// Hands a node the flags by which its agent joins.
fn join(layout: &Layout, parts: &Parts, name: &str) -> Result<()> {
    let flags = match parts.plane {
        Plane::UpstreamApiserver => {
            let mut print = command([&parts.built.skep]);
            print.args([
                "kubeconfig",
                "--user",
                &format!("node:{name}"),
                "--server",
                &plane_address(),
            ]);
            print.args(["--advertise-address", &address(1), "--data-dir"]);
            let text = capture(print.arg(data_dir(layout)))?;
            let file = layout.node(name).join("kubeconfig");
            fs::write(&file, text)?;
            let authority = layout.node(name).join("ca.crt");
            fs::copy(data_dir(layout).join("pki/ca.crt"), &authority)?;
            format!("--kubeconfig {} --client-ca-file {}", file.display(), authority.display())
        }
        _ => {
            let mut create = kubectl_environment(layout, command([&parts.built.skep]));
            let token = capture(create.args(["token", "create"]))?;
            format!("--server {} --token {}", plane_address(), token.trim())
        }
    };
    let (whole, part) = (layout.node(name).join("join"), layout.node(name).join("join.part"));
    fs::write(&part, flags)?;
    fs::rename(part, whole).context("cannot hand out the token")
}

fn data_dir(layout: &Layout) -> PathBuf {
    layout.node("n1").join("fs/var/lib/skep/server")
}

fn plane_address() -> String {
    format!("https://{}:6443", address(1))
}

fn kubectl_environment(layout: &Layout, mut client: Command) -> Command {
    client.env("KUBECONFIG", layout.kubeconfig());
    client
}

/// Tries until it works.
///
/// # Errors
/// After [`PATIENCE`], that of the last try.
pub(crate) fn wait_for(what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("gave up waiting for {what}"));
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
