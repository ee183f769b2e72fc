//! `skep net status`: the node's datapath at a glance.

use std::net::IpAddr;

use serde::Serialize;
use skep_abi::{Config, Family, FamilyConfig, config_flags};
use skep_bpf::{Links, Tables};

use crate::output::{self, Format};
use crate::{Flags, maps};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    families: Vec<FamilyStatus>,
    uplink_ifindex: u32,
    overlay_ifindex: u32,
    masquerade: bool,
    attachments: Vec<Attachment>,
    services: u64,
    endpoints: u64,
    flows: u64,
    forwarded_packets: u64,
    dropped_packets: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FamilyStatus {
    version: u8,
    node: IpAddr,
    pods: String,
    cluster: String,
    services: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    name: String,
    program: &'static str,
    ifindex: u32,
}

pub(crate) fn print(tables: &Tables, flags: &Flags) -> anyhow::Result<String> {
    let status = collect(tables, flags)?;
    match flags.output {
        Format::Json => Ok(serde_json::to_string_pretty(&status)? + "\n"),
        Format::Yaml => Ok(serde_saphyr::to_string(&status)?),
        Format::Table => Ok(output::align(&lines(&status, false))),
        Format::Wide => Ok(output::align(&lines(&status, true))),
    }
}

fn collect(tables: &Tables, flags: &Flags) -> anyhow::Result<Status> {
    let config = tables.config()?;
    let maps = maps::list(tables)?;
    let counters = tables.counters.all()?;
    let packets = |dropped: bool| {
        let chosen = counters.iter().filter(|(_, reason, _)| reason.is_drop() == dropped);
        chosen.map(|(_, _, counter)| counter.packets).sum()
    };
    let attachment = |link: skep_bpf::Attachment| Attachment {
        name: link.name,
        program: link.program.name(),
        ifindex: link.ifindex,
    };
    Ok(Status {
        families: families(&config),
        uplink_ifindex: config.uplink_ifindex,
        overlay_ifindex: config.overlay_ifindex,
        masquerade: config.flags & config_flags::MASQUERADE != 0,
        attachments: Links::open(&flags.bpf_dir).list()?.into_iter().map(attachment).collect(),
        services: maps::entries(&maps, "services"),
        endpoints: maps::entries(&maps, "endpoints"),
        flows: maps::entries(&maps, "flows"),
        forwarded_packets: packets(false),
        dropped_packets: packets(true),
    })
}

fn families(config: &Config) -> Vec<FamilyStatus> {
    family(&config.v4).into_iter().chain(family(&config.v6)).collect()
}

/// `None` where the family is off.
fn family<F: Family>(config: &FamilyConfig<F>) -> Option<FamilyStatus> {
    if config.node == F::Addr::default() {
        return None;
    }
    let range = |addr: F::Addr, mask: F::Addr| {
        let bits: u32 = mask.as_ref().iter().map(|word| word.count_ones()).sum();
        if bits == 0 { "-".into() } else { format!("{}/{bits}", F::addr_to_ip(addr)) }
    };
    Some(FamilyStatus {
        version: F::VERSION,
        node: F::addr_to_ip(config.node),
        pods: range(config.pods, config.pods_mask),
        cluster: range(config.cluster, config.cluster_mask),
        services: range(config.services, config.services_mask),
    })
}

fn lines(status: &Status, wide: bool) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(vec![format!("{name}:"), value]);
    for family in &status.families {
        line("Node", family.node.to_string());
        line("Pods", family.pods.clone());
        line("Cluster pods", family.cluster.clone());
        line("Service addresses", family.services.clone());
    }
    if status.families.is_empty() {
        line("Node", "not configured yet".into());
    }
    line("Uplink", format!("device {}", status.uplink_ifindex));
    let overlay = match status.overlay_ifindex {
        0 => "off".to_owned(),
        index => format!("device {index}"),
    };
    line("Overlay", overlay);
    line("Masquerade", if status.masquerade { "on" } else { "off" }.into());
    line("Attachments", status.attachments.len().to_string());
    line("Frontends", status.services.to_string());
    line("Endpoints", status.endpoints.to_string());
    line("Flow entries", status.flows.to_string());
    line("Packets forwarded", status.forwarded_packets.to_string());
    line("Packets dropped", status.dropped_packets.to_string());
    if wide {
        for Attachment { name, program, ifindex } in &status.attachments {
            let device = if *ifindex == 0 { String::new() } else { format!(" (device {ifindex})") };
            line("Program", format!("{program} on {name}{device}"));
        }
    }
    lines
}
