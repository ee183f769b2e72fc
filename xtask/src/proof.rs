//! Proves a running cluster: a Deployment of three replicas behind a Service answers by HTTP and UDP from a pod,
//! from nodes and from outside, and each replica is among those that answered.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cluster::layout::{Layout, address, address6};
use crate::cluster::up::kubectl;
use crate::command::{capture, command};
use crate::progress::step;

/// From the repository's root.
const MANIFEST: &str = "tests/cluster/manifests/proof.yaml";
const NODE_PORT: u16 = 30080;
/// So many that a replica which takes its share is not missed: (2/3)^60 is 3 in 10^11.
const TIMES: u32 = 60;
/// How long an answer may take, in milliseconds: what is lost shows, what stands still for a moment does not.
const PATIENCE_MS: &str = "10000";

/// What was proven, for people.
#[derive(Debug)]
pub(crate) struct Proven(Vec<String>);

impl Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "proven:")?;
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// A sender of requests.
struct Sender<'a> {
    name: String,
    /// The command before `fetch` or `udp`.
    program: Box<dyn Fn() -> Result<Command> + 'a>,
}

impl<'a> Sender<'a> {
    /// The demo's program in the pod `client`.
    fn pod(layout: &'a Layout, node: &str) -> Self {
        let words = ["exec", "client", "--", "/bin/skep-demo"];
        Self {
            name: format!("a pod on {node}"),
            program: Box::new(move || Ok(kubectl(layout, &words))),
        }
    }

    /// The demo's program run inside `place`: a node or `outside`.
    fn place(layout: &'a Layout, place: &'a str) -> Self {
        let program = move || {
            let mut words = command(layout.inside(place)?);
            words.arg("skep-demo");
            Ok(words)
        };
        Self { name: place.to_owned(), program: Box::new(program) }
    }
}

/// Deploys the proof and asks from everywhere.
///
/// # Errors
/// Says which path failed or which replica never answered.
pub(crate) fn prove(layout: &Layout) -> Result<Proven> {
    let manifest = build::root().join(MANIFEST);
    step("deployment", || {
        capture(kubectl(layout, &["apply", "-f"]).arg(&manifest))?;
        let rollout = ["rollout", "status", "--timeout=60s", "deployment/page"];
        capture(&mut kubectl(layout, &rollout))?;
        capture(&mut kubectl(
            layout,
            &["wait", "--for=condition=Ready", "--timeout=60s", "pod/client"],
        ))
    })?;
    let replicas = names(layout, &["get", "pods", "-l", "app=page", "-o", "name"])?;
    let nodes = names(layout, &["get", "nodes", "-o", "name"])?;
    let services = capture(&mut kubectl(
        layout,
        &["get", "service", "page", "-o", "jsonpath={.spec.clusterIPs[*]}"],
    ))?;
    let client_node = capture(&mut kubectl(
        layout,
        &["get", "pod", "client", "-o", "jsonpath={.spec.nodeName}"],
    ))?;
    let elsewhere = capture(&mut kubectl(
        layout,
        &["get", "pods", "-l", "app=page", "-o", "jsonpath={.items[*].spec.nodeName}"],
    ))?;
    if elsewhere.split_whitespace().all(|node| node == client_node) && nodes.len() > 1 {
        bail!(
            "no replica runs on another node than the client's, {client_node}: nothing crosses nodes"
        );
    }

    let mut paths = Vec::new();
    for address in services.split_whitespace() {
        let inside = SocketAddr::new(address.parse()?, 80);
        paths.push((Sender::pod(layout, &client_node), inside));
        for node in &nodes {
            paths.push((Sender::place(layout, node), inside));
        }
    }
    for number in 1..=u8::try_from(nodes.len()).context("too many nodes")? {
        for address in [address(number), address6(number)] {
            let target = SocketAddr::new(address.parse()?, NODE_PORT);
            paths.push((Sender::place(layout, "outside"), target));
        }
    }
    let mut lines = Vec::new();
    for (sender, target) in &paths {
        for (how, url) in [("fetch", format!("http://{target}/")), ("udp", target.to_string())] {
            let name = format!("{how:<5} {target} from {}", sender.name);
            let seen = step(&name, || answered(sender, how, &url, &replicas))?;
            lines.push(format!("{name}: {TIMES} answers, {seen} replicas"));
        }
    }
    Ok(Proven(lines))
}

/// Asks many times; how many replicas answered, which must be all.
fn answered(
    sender: &Sender,
    how: &str,
    target: &str,
    replicas: &BTreeSet<String>,
) -> Result<usize> {
    let times = TIMES.to_string();
    let output = capture((sender.program)()?.args([how, target, &times, PATIENCE_MS]))?;
    let seen: BTreeSet<String> =
        output.lines().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    let silent: Vec<&str> = replicas.difference(&seen).map(String::as_str).collect();
    if !silent.is_empty() {
        bail!("never answered: {}\n{output}", silent.join(", "));
    }
    Ok(seen.len())
}

/// Names without their kind.
fn names(layout: &Layout, words: &[&str]) -> Result<BTreeSet<String>> {
    let output = capture(&mut kubectl(layout, words))?;
    Ok(output.lines().filter_map(|line| line.split('/').nth(1)).map(str::to_owned).collect())
}
