//! Brings up a cluster and proves it.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::layout::{Layout, address, node_names};
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
        machine::ensure_toolchain()?;
    }
    let built = step("build", build::all)?;
    if !running {
        bring_up(&layout, options.nodes, &built).with_context(|| {
            format!(
                "the logs are in {}; `cargo xtask down` removes everything",
                layout.state().display()
            )
        })?;
    }
    let proven = proof::prove(&layout, &built)?;
    println!("\n{proven}");
    println!("up and proven after {:.1} s", start.elapsed().as_secs_f64());
    println!("\nNext:");
    println!("  export KUBECONFIG={}", layout.kubeconfig().display());
    println!("  kubectl get nodes,pods -A -o wide");
    println!("  cargo xtask exec n1 skep net services      # what the kernel of node n1 knows");
    println!("  cargo xtask exec outside curl -s http://10.199.0.12:30080/");
    println!("  cargo xtask down");
    Ok(())
}

/// Kubectl as the cluster's administrator.
pub(crate) fn kubectl(layout: &Layout, words: &[&str]) -> Command {
    let mut kubectl = command(["kubectl", "--kubeconfig"]);
    kubectl.arg(layout.kubeconfig()).args(words);
    kubectl
}

fn is_up(layout: &Layout) -> bool {
    layout.kubeconfig().exists()
        && capture(&mut kubectl(layout, &["get", "--raw", "/readyz"])).is_ok()
}

fn bring_up(layout: &Layout, nodes: u8, built: &Built) -> Result<()> {
    fs::create_dir_all(layout.state())?;
    step("network", || wires::lay(layout, nodes))?;
    step("control plane", || {
        let listener = loopback_listener()?;
        let port = listener.local_addr()?.port();
        for (number, name) in (1..=nodes).zip(node_names(nodes)) {
            let socket = if number == 1 { Some(listener.try_clone()?) } else { None };
            start(layout, built, &name, number, socket)?;
        }
        drop(listener);
        write_kubeconfig(layout, built, port)?;
        wait_for("the control plane", || {
            capture(&mut kubectl(layout, &["get", "--raw", "/readyz"])).map(drop)
        })
    })?;
    step("nodes", || {
        for name in node_names(nodes) {
            join(layout, built, &name)?;
        }
        wait_for("the nodes to be ready", || {
            let words = ["wait", "--for=condition=Ready", "--timeout=5s", "node"];
            let names: Vec<String> = node_names(nodes).collect();
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
    built: &Built,
    name: &str,
    number: u8,
    socket: Option<TcpListener>,
) -> Result<()> {
    fs::create_dir_all(layout.node(name))?;
    let log = File::create(layout.log(name, "node"))?;
    let mut node = command([Path::new("setsid"), &std::env::current_exe()?]);
    node.args(["node", "--cluster", &layout.name, "--name", name, "--address", &address(number)])
        .args(["--server", &format!("https://{}:6443", address(1))])
        .arg("--skep")
        .arg(&built.skep)
        .arg("--images")
        .arg(&built.images)
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(socket) = socket {
        node.arg("--with-server").stdin(Stdio::from(std::os::fd::OwnedFd::from(socket)));
    }
    node.spawn().context("cannot start a node").map(drop)
}

/// The control plane makes its certificates first; the kubeconfig holds one of them.
fn write_kubeconfig(layout: &Layout, built: &Built, port: u16) -> Result<()> {
    let data = layout.node("n1").join("fs/var/lib/skep/server");
    let server = format!("https://127.0.0.1:{port}");
    wait_for("the control plane's certificates", || {
        let text = capture(
            command([&built.skep])
                .args(["kubeconfig", "--server", &server, "--data-dir"])
                .arg(&data),
        )?;
        fs::write(layout.kubeconfig(), text).context("cannot write the kubeconfig")
    })
}

fn join(layout: &Layout, built: &Built, name: &str) -> Result<()> {
    let mut create = command([&built.skep]);
    create.args(["token", "create", "--kubeconfig"]).arg(layout.kubeconfig());
    let token = capture(&mut create)?;
    let (whole, part) = (layout.node(name).join("join"), layout.node(name).join("join.part"));
    fs::write(&part, token)?;
    fs::rename(part, whole).context("cannot hand out the token")
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
