//! Throughput, requests, connections and datagrams through a Service, against the direct path of the same hops in
//! the same run: the paths take turns, and the medians over the rounds are compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::cluster::layout::{Layout, address};
use crate::cluster::up::kubectl;
use crate::command::{capture, command};

const MANIFEST: &str = "tests/cluster/manifests/traffic.yaml";
const METRICS: [(&str, &str); 4] = [
    ("stream", "Gbit/s"),
    ("requests", "pairs/s"),
    ("connects", "connections/s"),
    ("datagrams", "datagrams/s"),
];

struct Path<'a> {
    name: &'static str,
    /// The path that it is compared with.
    floor: &'static str,
    client: Box<dyn Fn() -> Result<Command> + 'a>,
    target: String,
}

/// A table of medians and of ratios to the direct paths.
///
/// # Errors
/// When a path does not work.
pub(super) fn measure(layout: &Layout, rounds: u32, seconds: f64) -> Result<String> {
    deploy(layout)?;
    let paths = paths(layout)?;
    let mut figures: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        for (metric, _) in METRICS {
            for turn in 0..paths.len() {
                let path = &paths[(turn + round as usize) % paths.len()];
                let mut client = (path.client)()?;
                let text = capture(client.args([metric, &path.target, &seconds.to_string()]))
                    .with_context(|| format!("{}: {metric}", path.name))?;
                let figure =
                    text.trim().parse().with_context(|| format!("{text:?} is no figure"))?;
                figures.entry((path.name, metric)).or_default().push(figure);
            }
        }
    }
    let median = |path, metric| {
        let all = figures.get(&(path, metric));
        all.map_or(f64::NAN, |all| {
            let mut all = all.clone();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        })
    };
    let mut table = String::from("| path |");
    for (metric, unit) in METRICS {
        write!(table, " {metric}, {unit} | ratio |")?;
    }
    table.push_str("\n| --- |");
    table.push_str(&" --: | --: |".repeat(METRICS.len()));
    for path in &paths {
        write!(table, "\n| {} |", path.name)?;
        for (metric, _) in METRICS {
            let (figure, floor) = (median(path.name, metric), median(path.floor, metric));
            write!(table, " {figure:.1} | {:.2} |", figure / floor)?;
        }
    }
    table.push('\n');
    Ok(table)
}

fn deploy(layout: &Layout) -> Result<()> {
    capture(kubectl(layout, &["apply", "-f"]).arg(build::root().join(MANIFEST)))?;
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=60s",
        "pod/server",
        "pod/host-server",
        "pod/client",
    ];
    capture(&mut kubectl(layout, &wait))?;
    // From outside to node n2 by way of n1 and back, as a node port of n1 with its endpoint on n2 goes.
    let switch = layout.namespace("switch");
    let there = format!("route replace {}/32 via {}", address(2), address(1));
    capture(command(["ip", "-n", &switch]).args(there.split(' ')))?;
    let node = layout.namespace("n2");
    let back = format!("route replace 10.198.0.0/24 via {}", address(1));
    capture(command(["ip", "-n", &node]).args(back.split(' '))).map(drop)
}

fn paths(layout: &Layout) -> Result<Vec<Path<'_>>> {
    let get = |object: &str, field: &str| {
        capture(&mut kubectl(layout, &["get", object, "-o", &format!("jsonpath={{{field}}}")]))
    };
    let pod = get("pod/server", ".status.podIP")?;
    let service = get("service/traffic", ".spec.clusterIP")?;
    let inside = || {
        let words = ["exec", "client", "--", "/bin/skep-traffic"];
        Box::new(move || Ok(kubectl(layout, &words))) as Box<dyn Fn() -> Result<Command>>
    };
    let outside = || {
        Box::new(move || {
            let mut words = command(layout.inside("outside")?);
            words.arg("skep-traffic");
            Ok(words)
        }) as Box<dyn Fn() -> Result<Command>>
    };
    let (direct, forwarded) = ("pod to pod, other node", "outside to host of n2 by way of n1");
    Ok(vec![
        Path { name: direct, floor: direct, client: inside(), target: format!("{pod}:7777") },
        Path {
            name: "pod to ClusterIP, same endpoint",
            floor: direct,
            client: inside(),
            target: format!("{service}:7777"),
        },
        Path {
            name: forwarded,
            floor: forwarded,
            client: outside(),
            target: format!("{}:7778", address(2)),
        },
        Path {
            name: "outside to node port of n1, endpoint on n2",
            floor: forwarded,
            client: outside(),
            target: format!("{}:30777", address(1)),
        },
    ])
}
