//! A pod's /etc/hosts.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::HostAlias;

/// The file of a pod with a network of its own.
pub(crate) fn file(
    addresses: &[IpAddr],
    hostname: &str,
    domain_name: Option<&str>,
    aliases: &[HostAlias],
) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for address in addresses {
        match domain_name {
            Some(domain) => text.push_str(&format!("{address}\t{domain}\t{hostname}\n")),
            None => text.push_str(&format!("{address}\t{hostname}\n")),
        }
    }
    text + &entries(aliases)
}

/// The file of a pod in the node's network: the node's own, and the pod's aliases.
pub(crate) fn file_on_node(of_node: &str, aliases: &[HostAlias]) -> String {
    format!("# Kubernetes-managed hosts file (host network).\n{of_node}{}", entries(aliases))
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = aliases
        .iter()
        .map(|alias| {
            format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"))
        })
        .collect();
    format!("\n# Entries added by HostAliases.\n{}", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases() {
        let alias =
            HostAlias { ip: "192.0.2.1".into(), hostnames: Some(vec!["a".into(), "b".into()]) };
        let text = file(&["10.0.0.5".parse().unwrap()], "web", Some("web.db.shop.svc.x"), &[alias]);
        assert!(text.contains("\n10.0.0.5\tweb.db.shop.svc.x\tweb\n"), "{text}");
        assert!(text.ends_with("\n# Entries added by HostAliases.\n192.0.2.1\ta\tb\n"), "{text}");
    }
}
