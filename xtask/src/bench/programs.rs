//! What each BPF program costs a packet, over a program that does nothing in the same run; and, beside
//! it, what Katran's and Cilium's cost, by a harness of theirs that measures in the same way.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::build::{self, cargo};
use crate::command::capture;

/// What is compared: our program, path and moment, and the name of the others' case. Flows last: ours
/// are in the first column of the figures.
const COMPARED: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("node_xdp", ENCAPSULATED, "established", "4", "1", "katran v4 TCP, LRU hit, 1 flow"),
    ("node_xdp", ENCAPSULATED, "established", "6", "1", "katran v6 TCP, LRU hit, 1 flow"),
    ("node_xdp", ENCAPSULATED, "established", "4", "65536", "katran v4 TCP, LRU hit, 65536 flows"),
    (
        "node_xdp",
        ENCAPSULATED,
        "new",
        "4",
        "1",
        "katran v4 TCP SYN, fresh 5-tuple (ring + LRU insert)",
    ),
    (
        "node_xdp",
        ENCAPSULATED,
        "new",
        "6",
        "1",
        "katran v6 TCP SYN, fresh 5-tuple (ring + LRU insert)",
    ),
    ("node_xdp", TRANSLATED, "established", "4", "1", "cilium XDP SNAT v4 TCP established, 1 flow"),
    ("node_xdp", TRANSLATED, "established", "6", "1", "cilium XDP SNAT v6 TCP established, 1 flow"),
    ("node_xdp", TRANSLATED, "new", "4", "1", "cilium XDP SNAT v4 TCP SYN, fresh 5-tuple"),
    (
        "pod_ingress",
        "pod to ClusterIP, backend on another node",
        "established",
        "4",
        "1",
        "cilium lxc per-packet LB: pod -> ClusterIP -> remote pod, est.",
    ),
    (
        "pod_ingress",
        "pod to ClusterIP, backend here",
        "established",
        "4",
        "1",
        "cilium lxc per-packet LB: pod -> ClusterIP -> local pod, est.",
    ),
];
const ENCAPSULATED: &str = "to a remote backend, encapsulated";
const TRANSLATED: &str = "to a remote backend, translated";

/// The table of the packet tests' own benchmark; with `peers`, the folder of a harness whose `run.sh`
/// writes `results.txt` into the folder `OUT`, also that of the ratios.
///
/// # Errors
/// When the programs cannot be loaded, or the harness fails.
pub(super) fn measure(peers: Option<&Path>) -> Result<String> {
    let words = ["run", "--quiet", "--package", "skep-packets-tests", "--example", "costs"];
    let costs = capture(cargo().args(words))?;
    let mut text = own(&costs)?;
    if let Some(peers) = peers {
        let out = build::root().join("target/peers");
        let mut run = std::process::Command::new(peers.join("run.sh"));
        run.env("OUT", &out).env("ONLY", "katran xdp lxc");
        if let Err(error) = capture(&mut run) {
            eprintln!("the harness did not get to its end (it needs KATRAN_REPO): {error:#}");
        }
        let results = std::fs::read_to_string(out.join("results.txt"))?;
        text.push_str(&ratios(&costs, &results)?);
    }
    Ok(text)
}

fn own(costs: &str) -> Result<String> {
    let mut table = String::from(
        "| program | path | packet | IP | flows | Services | ns | verified |\n\
         | --- | --- | --- | --: | --: | --: | --: | --: |\n",
    );
    for line in costs.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [program, path, moment, ip, flows, services, ns, _, verified] = fields[..] {
            writeln!(
                table,
                "| {program} | {path} | {moment} | {ip} | {flows} | {services} | {ns} | {verified} |"
            )?;
        }
    }
    Ok(table)
}

fn ratios(costs: &str, results: &str) -> Result<String> {
    let mut table =
        String::from("\n| ours | theirs | ns | ns | ratio |\n| --- | --- | --: | --: | --: |\n");
    for (program, path, moment, ip, flows, theirs) in COMPARED {
        let own = costs.lines().find_map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let found = fields.len() == 9 && fields[..5] == [*program, *path, *moment, *ip, *flows];
            found.then(|| fields[6].parse::<f64>().ok()).flatten()
        });
        let own = own.with_context(|| format!("no figure for {program}, {path}"))?;
        // The columns after the name: least, median, median over nothing.
        let other = results.lines().find_map(|line| {
            let figures = line.strip_prefix(theirs)?;
            figures.split_whitespace().nth(2)?.parse::<f64>().ok()
        });
        // Not every compiler's build of theirs passes the verifier.
        let Some(other) = other else {
            writeln!(table, "| {program}, IPv{ip}: {path}, {moment} | {theirs} | {own} | - | - |")?;
            continue;
        };
        writeln!(
            table,
            "| {program}, IPv{ip}: {path}, {moment}, {flows} flows | {theirs} | {own} | {other} | {:.2} |",
            own / other
        )?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_medians_over_nothing() {
        let mut costs = String::new();
        let mut results = String::from("case   min  median  net\n");
        for (program, path, moment, ip, flows, theirs) in COMPARED {
            costs += &format!("{program}\t{path}\t{moment}\t{ip}\t{flows}\t1\t50\t28\t1000\n");
            results += &format!("{theirs}     120     128     100     4.6  TX\n");
        }
        let table = ratios(&costs, &results).expect("all figures are there");
        assert_eq!(table.matches("| 50 | 100 | 0.50 |").count(), COMPARED.len(), "{table}");
        let table = ratios(&costs, "").expect("theirs may be missing");
        assert_eq!(table.matches("| 50 | - | - |").count(), COMPARED.len(), "{table}");
        assert!(ratios("", &results).is_err());
    }
}
