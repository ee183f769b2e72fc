//! `skep net verify`: whether the tables of Services are what a fresh start would make of the cluster.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use skep_bpf::Tables;
use skep_network::attachments::Attachments;
use skep_proxy::local_node::LocalNode;
use skep_proxy::names::Names;
use skep_proxy::rows;
use skep_proxy::verify::{self, Cluster};

use crate::output::Row;
use crate::{Flags, names};

/// The kubeconfig that a node's kubelet leaves.
const OF_NODE: &str = "/var/lib/kubelet/pki/kubelet.kubeconfig";

/// What to compare with.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Query {
    #[command(flatten)]
    pub(crate) flags: Flags,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    table: &'static str,
    row: String,
    expected: Option<String>,
    found: Option<String>,
}

impl Row for Difference {
    const COLUMNS: &'static [&'static str] = &["TABLE", "ROW", "EXPECTED", "FOUND"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        vec![self.table.into(), self.row.clone(), or_none(&self.expected), or_none(&self.found)]
    }
}

/// Reads the cluster and the tables, and says where they differ. Changes that the proxy has not heard
/// of yet count as differences too: ask again.
pub(crate) async fn list(tables: &Tables, query: &Query) -> anyhow::Result<Vec<Difference>> {
    let run_dir = &query.flags.run_dir;
    let kubeconfig = query.flags.kubeconfig.clone().unwrap_or_else(|| PathBuf::from(OF_NODE));
    let node = LocalNode::read(run_dir).with_context(|| in_run_dir("the node", run_dir))?;
    let mut cluster = Cluster::read(&names::client(&kubeconfig).await?).await?;
    let plugin = run_dir.join("cni");
    if plugin.exists() {
        let attachments = Attachments::peek(&plugin)
            .with_context(|| in_run_dir("the pods' host ports", run_dir))?;
        cluster.add_host_ports(&attachments, &node);
    }
    let known = Names::read(run_dir).with_context(|| in_run_dir("names", run_dir))?;
    let expected = verify::expected(&cluster, &node, rows::capacity(tables)?);
    let found = verify::found(tables, &known.services)?;
    let differences = verify::compare(&expected, &found).into_iter();
    Ok(differences
        .map(|verify::Difference { table, row, expected, found }| Difference {
            table,
            row,
            expected,
            found,
        })
        .collect())
}

fn in_run_dir(what: &str, run_dir: &Path) -> String {
    format!("--run-dir: cannot read {what} in {}", run_dir.display())
}
