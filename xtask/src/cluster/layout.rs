//! Names, paths and addresses of a cluster on this machine. Addresses exist only inside its namespaces.

use std::path::{Path, PathBuf};

use crate::machine;

/// Where all clusters of this machine keep their state.
const STATE: &str = "/var/lib/skep-up";

/// A cluster by name.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Begins every namespace's and control group's name.
    pub(crate) name: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self { name: std::env::var("SKEP_UP").unwrap_or_else(|_| "skep".to_owned()) }
    }
}

impl Layout {
    /// Everything of this cluster on disk.
    pub(crate) fn state(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// The folder of all clusters: gone when the last one is.
    pub(crate) fn all_states() -> &'static Path {
        Path::new(STATE)
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }

    /// Links to skep's programs, on the path of what runs inside a node.
    pub(crate) fn programs(&self) -> PathBuf {
        self.state().join("bin")
    }

    /// A node's folder; what its mount namespace shows in place of the machine's lies below.
    pub(crate) fn node(&self, node: &str) -> PathBuf {
        self.state().join(node)
    }

    /// The log of one of a node's programs.
    pub(crate) fn log(&self, node: &str, program: &str) -> PathBuf {
        self.node(node).join(format!("{program}.log"))
    }

    /// Holds the process id of a node's first process.
    pub(crate) fn pid_file(&self, node: &str) -> PathBuf {
        self.node(node).join("pid")
    }

    /// The name of the network namespace of a node, of `switch` or of `outside`.
    pub(crate) fn namespace(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// The path of a node's control group from the root of each hierarchy.
    pub(crate) fn cgroup(&self, node: &str) -> String {
        format!("/{}/{node}", self.name)
    }

    /// The cluster's folder in every mounted cgroup hierarchy, whether it exists or not: version 2 first.
    pub(crate) fn cgroup_folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> =
            machine::cgroup2().map(|root| root.join(&self.name)).into_iter().collect();
        if let Ok(hierarchies) = std::fs::read_dir("/sys/fs/cgroup") {
            let mut more: Vec<PathBuf> = hierarchies
                .flatten()
                .filter(|entry| entry.path().join("cgroup.procs").exists())
                .map(|entry| entry.path().join(&self.name))
                .filter(|folder| !folders.contains(folder))
                .collect();
            folders.append(&mut more);
        }
        folders
    }
}

/// The names of `count` nodes.
pub(crate) fn node_names(count: u8) -> impl Iterator<Item = String> {
    (1..=count).map(node_name)
}

/// The name of the node with this number.
pub(crate) fn node_name(number: u8) -> String {
    format!("n{number}")
}

/// A node's address; the switch is 10.199.0.1.
pub(crate) fn address(number: u8) -> String {
    format!("10.199.0.{}", 10 + number)
}

/// A node's IPv6 address; the switch is fd00:10:199::1.
pub(crate) fn address6(number: u8) -> String {
    format!("fd00:10:199::{}", 10 + number)
}

/// The network beyond the switch: the switch is .1, `outside` is .2.
pub(crate) const OUTSIDE: &str = "10.198.0";
/// The same in IPv6: the switch is 1, `outside` is 2.
pub(crate) const OUTSIDE6: &str = "fd00:10:198::";

/// Ranges of all pods.
pub(crate) const PODS: &str = "10.244.0.0/16,fd00:10:244::/56";
/// Ranges of Services.
pub(crate) const SERVICES: &str = "10.96.0.0/16,fd00:10:96::/112";
