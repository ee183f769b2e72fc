//! The proof Deployment on mixed clusters: upstream's controllers over skep's API server, and skep's
//! controllers, scheduler and nodes over upstream's API server.

use anyhow::{Context, Result};

use crate::build;
use crate::cluster::layout::Layout;
use crate::cluster::plane::Plane;
use crate::cluster::temporary::Temporary;
use crate::cluster::up::{self, Parts};
use crate::command::capture;
use crate::progress::step;
use crate::{proof, upstream};

const PLANES: [Plane; 2] = [Plane::UpstreamControllers, Plane::UpstreamApiserver];

/// Builds upstream's programs and proves each mixed cluster.
///
/// # Errors
/// Says which cluster failed where; none is left behind.
pub(crate) fn run() -> Result<()> {
    if let Some(obstacle) = upstream::obstacle() {
        anyhow::bail!("upstream's programs cannot be built here: {obstacle}");
    }
    let built = build::all()?;
    let programs = step("upstream's programs", upstream::build)?;
    for plane in PLANES {
        println!("--- {plane:?}");
        let cluster = Temporary::new("skep-interop")?;
        let parts = Parts { nodes: 2, built: &built, plane, upstream: Some(&programs) };
        prove(&cluster.0, &parts).with_context(|| format!("{plane:?}"))?;
    }
    Ok(())
}

fn prove(layout: &Layout, parts: &Parts) -> Result<()> {
    up::bring_up(layout, parts)?;
    if parts.plane == Plane::UpstreamControllers {
        step("serving certificates", || approve_serving(layout, parts.nodes.into()))?;
    }
    println!("{}", proof::prove(layout)?);
    Ok(())
}

/// Upstream's controllers leave the kubelets' requests for serving certificates to an administrator.
fn approve_serving(layout: &Layout, nodes: usize) -> Result<()> {
    let serving = "--field-selector=spec.signerName=kubernetes.io/kubelet-serving";
    up::wait_for("the kubelets' requests for serving certificates", || {
        let list = capture(&mut up::kubectl(layout, &["get", "csr", "-o", "name", serving]))?;
        let names: Vec<&str> = list.lines().collect();
        anyhow::ensure!(names.len() >= nodes, "{} of {nodes} are there", names.len());
        capture(up::kubectl(layout, &["certificate", "approve"]).args(names)).map(drop)
    })
}
