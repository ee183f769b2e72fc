//! What serves Services on node1.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::programs::Programs;
use crate::shape::{Endpoint, Hint, Shape, Spot, State};
use crate::terms::{Address, Family, Protocol, Sender};
use crate::world::World;
use crate::{api, ask, asker, plan};

/// How long a proxy may take for its first pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service proxy, and the pod network below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Stack {
    /// Upstream's kube-proxy in nftables mode, on plain routes.
    #[value(skip)]
    KubeProxy,
    /// skep's proxy and pod network, as in an agent.
    Agent,
    /// `skep proxy` alone, on plain routes.
    Proxy,
}

impl Stack {
    /// A world in which it serves `shapes`; a Service's number is its place.
    pub(crate) fn world(self, programs: &Programs, shapes: &[Shape]) -> Result<World> {
        let mut shapes = shapes.to_vec();
        shapes.push(last());
        ensure!(shapes.len() <= plan::MOST, "at most {} Services", plan::MOST);
        let mut world = World::new();
        api::start(&mut world, programs)?;
        api::write_nodes(&world)?;
        world.plain_far_pods();
        if self == Self::Agent {
            start_agent(&mut world)?;
            world.near_pods(|world, namespace| attach(world, programs, namespace))?;
        } else {
            world.plain_near_pods();
        }
        world.serve()?;
        api::write_services(&world, &shapes)?;
        let (name, command) = match self {
            Self::KubeProxy => ("kube-proxy", kube_proxy(&world, programs)),
            Self::Proxy => ("proxy", skep_proxy(&world, programs)),
            Self::Agent => {
                await_last(&world, shapes.len()).with_context(|| world.tail("agent"))?;
                return Ok(world);
            }
        };
        world.start(name, command)?;
        await_last(&world, shapes.len()).with_context(|| world.tail(name))?;
        Ok(world)
    }
}

/// The Service that tells that all others are served.
fn last() -> Shape {
    let endpoint = Endpoint { at: Spot::NearOther, state: State::Ready, hint: Hint::None };
    let endpoints = vec![endpoint];
    Shape { name: "last".to_owned(), families: &Family::ALL, endpoints, ..Shape::default() }
}

fn await_last(world: &World, count: usize) -> Result<()> {
    let number = u16::try_from(count - 1)?;
    let to = plan::target(number, Address::Cluster, Family::V6);
    let question = asker::Question { protocol: Protocol::Tcp, to, tries: 1 };
    let start = Instant::now();
    loop {
        let answers = ask::ask(
            world,
            Sender::Pod,
            std::slice::from_ref(&question),
            Duration::from_millis(250),
        )?;
        if answers
            .iter()
            .flatten()
            .any(|answer| matches!(answer, crate::outcome::Answer::From { .. }))
        {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            bail!("the last Service, {to}, is not served: {answers:?}");
        }
    }
}

fn both(of: impl Fn(Family) -> &'static str) -> String {
    Family::ALL.map(of).join(",")
}

fn kube_proxy(world: &World, programs: &Programs) -> Command {
    let config = format!("--kubeconfig={}", api::kubeconfig(world).display());
    world.place("node1").command(
        &programs.kube_proxy,
        &[
            &config,
            "--hostname-override=node1",
            "--proxy-mode=nftables",
            // Of pods, only the node's own are in it: all others are as good as outside.
            "--detect-local-mode=NodeCIDR",
            // The first address only, without this: skep serves all unless told otherwise.
            "--nodeport-addresses=0.0.0.0/0,::/0",
            // Settings of the whole machine stay as they are.
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ],
    )
}

fn skep_proxy(world: &World, programs: &Programs) -> Command {
    let mut words = datapath_words(world);
    words.push("--detect-local-mode=NodeCIDR".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    world.place("node1").command(&programs.skep, &[&["proxy"], &*words].concat())
}

/// Flags that `skep proxy` and an agent have in common.
fn datapath_words(world: &World) -> Vec<String> {
    let folder = world.folder();
    let at = |name: &str| folder.join(name).display().to_string();
    vec![
        format!("--kubeconfig={}", at("kubeconfig")),
        "--hostname-override=node1".to_owned(),
        format!("--cluster-cidr={}", both(plan::cluster_range)),
        format!("--bpf-dir={}", at("bpf/node1")),
        format!("--socket-cgroup={}", world.cgroup().display()),
        format!("--run-dir={}", at("run")),
    ]
}

/// Starts proxy and pod network, and waits until pods can be attached.
fn start_agent(world: &mut World) -> Result<()> {
    let folder = world.folder();
    let mut words = vec!["agent".to_owned()];
    words.extend(datapath_words(world));
    words.push(format!("--cni-conf-dir={}", conf_dir(&folder).display()));
    words.push(format!("--cni-bin-dir={}", folder.join("cni-bin").display()));
    words.push("--routing=direct".to_owned());
    words.push(format!("--service-cluster-ip-range={}", both(plan::service_range)));
    // What pods look like to the world is the pod network's business, which kube-proxy has none of.
    words.push("--masquerade=false".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = world.place("node1").command(&std::env::current_exe()?, &words);
    world.start("agent", command)?;
    let start = Instant::now();
    while plugin_conf(&folder).is_none() {
        if start.elapsed() > PATIENCE {
            bail!("the agent offers no network plugin: {}", world.tail("agent"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn conf_dir(folder: &Path) -> std::path::PathBuf {
    folder.join("cni-conf")
}

/// What the agent tells a runtime to call its plugin with.
fn plugin_conf(folder: &Path) -> Option<Value> {
    let file = std::fs::read_dir(conf_dir(folder))
        .ok()?
        .flatten()
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "conflist"))?;
    let list: Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    let mut conf = list["plugins"][0].clone();
    conf["name"] = list["name"].clone();
    conf["cniVersion"] = "1.1.0".into();
    Some(conf)
}

/// Calls the network plugin as a runtime does; the pod's addresses.
fn attach(world: &World, programs: &Programs, namespace: &str) -> Result<Vec<IpAddr>> {
    let conf = plugin_conf(&world.folder()).context("the plugin's configuration has gone")?;
    let input = world.folder().join("cni-input");
    std::fs::write(&input, conf.to_string())?;
    let output = world
        .place("node1")
        .command(&programs.skep, &["cni"])
        .env("CNI_COMMAND", "ADD")
        // Sandboxes' names differ in their beginnings.
        .env("CNI_CONTAINERID", namespace.chars().rev().collect::<String>())
        .env("CNI_NETNS", format!("/run/netns/{namespace}"))
        .env("CNI_IFNAME", "eth0")
        .stdin(std::fs::File::open(input)?)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "ADD for {namespace}: {text}");
    let result: Value = serde_json::from_str(&text)?;
    let nets =
        result["ips"].as_array().into_iter().flatten().filter_map(|ip| ip["address"].as_str());
    nets.map(|net| Ok(net.parse::<ipnet::IpNet>()?.addr())).collect()
}
