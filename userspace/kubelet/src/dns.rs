//! A pod's resolv.conf: the cluster's name servers, the node's, or the pod's own.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use skep_cri::v1::DnsConfig;

use crate::identity;

/// The most that resolvers take.
const MOST_SERVERS: usize = 3;

/// The DNS settings of a pod. `of_node` is the text of the node's resolver configuration.
pub(crate) fn config(pod: &Pod, cluster_dns: &[IpAddr], domain: &str, of_node: &str) -> DnsConfig {
    let spec = pod.spec.as_ref();
    let asked = spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst");
    let cluster_first = match asked {
        "ClusterFirst" => !identity::is_host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut config = if asked == "None" {
        DnsConfig::default()
    } else if cluster_first && !cluster_dns.is_empty() {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut searches =
            vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
        searches.extend(parse(of_node).searches);
        DnsConfig {
            servers: cluster_dns.iter().map(ToString::to_string).collect(),
            searches,
            options: vec!["ndots:5".into()],
        }
    } else {
        parse(of_node)
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        config.servers.extend(own.nameservers.iter().flatten().cloned());
        config.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            config.options.retain(|old| old.split(':').next() != Some(name));
            config.options.push(match option.value.as_deref() {
                None | Some("") => name.clone(),
                Some(value) => format!("{name}:{value}"),
            });
        }
    }
    unique(&mut config.servers);
    unique(&mut config.searches);
    config.servers.truncate(MOST_SERVERS);
    config
}

fn unique(list: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    list.retain(|entry| seen.insert(entry.clone()));
}

fn parse(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                config.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
                config.searches.retain(|word| !word.is_empty());
            }
            Some("options") => config.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NODE: &str =
        "# made by hand\nnameserver 192.0.2.53\nsearch lab.example.\noptions edns0\n";

    #[test]
    fn policies() {
        let cluster = ["shop.svc.c.l", "svc.c.l", "c.l", "lab.example"];
        for (case, spec, servers, searches) in [
            ("default", json!({"containers": []}), vec!["10.96.0.10"], cluster.to_vec()),
            (
                "host network falls back to the node",
                json!({"containers": [], "hostNetwork": true}),
                vec!["192.0.2.53"],
                vec!["lab.example"],
            ),
            (
                "host network with the cluster's",
                json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                vec!["10.96.0.10"],
                cluster.to_vec(),
            ),
            (
                "node's",
                json!({"containers": [], "dnsPolicy": "Default"}),
                vec!["192.0.2.53"],
                vec!["lab.example"],
            ),
            (
                "its own",
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["x"]}}),
                vec!["1.1.1.1"],
                vec!["x"],
            ),
        ] {
            let pod =
                serde_json::from_value(json!({"metadata": {"namespace": "shop"}, "spec": spec}))
                    .unwrap();
            let config = config(&pod, &["10.96.0.10".parse().unwrap()], "c.l", NODE);
            assert_eq!(config.servers, servers, "{case}");
            assert_eq!(config.searches, searches, "{case}");
        }
    }

    #[test]
    fn own_options_replace() {
        let pod = serde_json::from_value(
            json!({"metadata": {"namespace": "shop"}, "spec": {"containers": [],
            "dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}}),
        )
        .unwrap();
        let config = config(&pod, &["10.96.0.10".parse().unwrap()], "c.l", NODE);
        assert_eq!(config.options, ["ndots:2", "edns0"]);
    }
}
