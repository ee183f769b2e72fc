//! A cluster of several nodes on one machine: each node is a network, mount and UTS namespace with its own
//! containerd, agent and control groups, wired to one switch; `outside` is a namespace for traffic from
//! elsewhere. Nothing of it is global to the machine but names that begin with the cluster's.

pub(crate) mod down;
pub(crate) mod layout;
pub(crate) mod node;
pub(crate) mod plane;
pub(crate) mod temporary;
pub(crate) mod up;
mod wires;

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result, bail};

use crate::command::command;
use crate::machine;
use layout::Layout;

/// Replaces this process by `words`, run inside `node` of the running cluster.
///
/// # Errors
/// When there is no such node, or the command cannot start.
pub(crate) fn exec(node: &str, words: &[String]) -> Result<()> {
    let layout = Layout::default();
    let prefix = layout.inside(node)?;
    let error = command(prefix.iter().chain(words)).stdin(std::process::Stdio::inherit()).exec();
    Err(error).with_context(|| format!("cannot run {}", words.join(" ")))
}

impl Layout {
    /// The words before a command that make it run inside `node` (or `outside`, or `switch`).
    ///
    /// # Errors
    /// When the cluster does not run or has no such node.
    pub(crate) fn inside(&self, node: &str) -> Result<Vec<String>> {
        let net = format!("--net=/run/netns/{}", self.namespace(node));
        if node == "outside" || node == "switch" {
            let path = format!("PATH={}:{}", self.programs().display(), std::env::var("PATH")?);
            return Ok(vec!["env".to_owned(), path, "nsenter".to_owned(), net, "--".to_owned()]);
        }
        let Ok(pid) = std::fs::read_to_string(self.pid_file(node)) else {
            bail!("no node {node} runs here: `cargo xtask up` brings up n1, n2, ...");
        };
        // The socket hooks see what runs in the node's control group.
        let group = machine::cgroup2().context("no cgroup2 file system is mounted")?;
        let group = group.join(self.cgroup(node).trim_start_matches('/')).join(node::SYSTEM_GROUP);
        let enter = format!(
            "echo $$ >{}/cgroup.procs && PATH={}:$PATH exec nsenter -t {} -m -u -n --wd=/ -- \"$@\"",
            group.display(),
            self.programs().display(),
            pid.trim()
        );
        Ok(vec!["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()])
    }
}
