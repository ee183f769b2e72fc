//! The switch, the namespaces and the links between them.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::layout::{Layout, OUTSIDE, OUTSIDE6, address, address6, node_names};
use crate::command::{capture, command};

/// Makes the namespaces of the switch, the nodes and the outside, and wires them.
///
/// # Errors
/// With ip's words; what was made stays for `down`.
pub(super) fn lay(layout: &Layout, nodes: u8) -> Result<()> {
    let switch = layout.namespace("switch");
    let outside = layout.namespace("outside");
    let mut all = vec![switch.clone(), outside.clone()];
    all.extend(node_names(nodes).map(|node| layout.namespace(&node)));
    batch(None, &all.iter().map(|name| format!("netns add {name}")).collect::<Vec<_>>())?;
    for name in &all {
        batch(Some(name), &["link set lo up".to_owned()])?;
    }
    batch(
        Some(&switch),
        &[
            "link add br0 type bridge".to_owned(),
            "addr add 10.199.0.1/24 dev br0".to_owned(),
            "addr add fd00:10:199::1/64 dev br0 nodad".to_owned(),
            "link set br0 up".to_owned(),
            format!("link add outside type veth peer name eth0 netns {outside}"),
            format!("addr add {OUTSIDE}.1/24 dev outside"),
            format!("addr add {OUTSIDE6}1/64 dev outside nodad"),
            "link set outside up".to_owned(),
        ],
    )?;
    batch(
        Some(&outside),
        &[
            format!("addr add {OUTSIDE}.2/24 dev eth0"),
            format!("addr add {OUTSIDE6}2/64 dev eth0 nodad"),
            "link set eth0 up".to_owned(),
            format!("route add default via {OUTSIDE}.1"),
            format!("route add default via {OUTSIDE6}1"),
        ],
    )?;
    for (number, node) in (1..=nodes).zip(node_names(nodes)) {
        let namespace = layout.namespace(&node);
        batch(
            Some(&switch),
            &[
                format!("link add {node} type veth peer name eth0 netns {namespace}"),
                format!("link set {node} master br0"),
                format!("link set {node} up"),
            ],
        )?;
        batch(
            Some(&namespace),
            &[
                format!("addr add {}/24 dev eth0", address(number)),
                format!("addr add {}/64 dev eth0 nodad", address6(number)),
                "link set eth0 up".to_owned(),
                "route add default via 10.199.0.1".to_owned(),
                "route add default via fd00:10:199::1".to_owned(),
            ],
        )?;
    }
    capture(&mut command([
        "ip",
        "netns",
        "exec",
        &switch,
        "sysctl",
        "-qw",
        "net.ipv4.ip_forward=1",
        "net.ipv6.conf.all.forwarding=1",
    ]))
    .map(drop)
}

/// Removes the namespaces of the cluster, whatever their number, and with them their links.
///
/// # Errors
/// With ip's words.
pub(super) fn cut(layout: &Layout) -> Result<()> {
    for name in namespaces(layout)? {
        capture(&mut command(["ip", "netns", "delete", &name]))?;
    }
    Ok(())
}

/// The cluster's namespaces that there are.
///
/// # Errors
/// When /run/netns cannot be read.
pub(super) fn namespaces(layout: &Layout) -> Result<Vec<String>> {
    let prefix = layout.namespace("");
    let folder = match std::fs::read_dir("/run/netns") {
        Ok(folder) => folder,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("cannot read /run/netns"),
    };
    let names = folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| name.strip_prefix(&prefix).is_some_and(is_member)).collect())
}

fn is_member(rest: &str) -> bool {
    let node = rest.strip_prefix('n').is_some_and(|n| n.parse::<u8>().is_ok());
    rest == "switch" || rest == "outside" || node
}

/// Runs the lines in one `ip -batch`.
fn batch(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    let mut ip = command(["ip"]);
    if let Some(namespace) = namespace {
        ip.args(["-n", namespace]);
    }
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = ip.spawn().context("cannot run ip")?;
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(lines.join("\n").as_bytes())?;
    input.write_all(b"\n")?;
    drop(input);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip -batch: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
