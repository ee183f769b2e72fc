//! What only upstream's programs can prove: the proof Deployment on mixed clusters (upstream's controllers
//! over skep's API server, and skep's controllers, scheduler and nodes over upstream's API server), and
//! Services through upstream's kube-proxy and skep's side by side.

use std::path::Path;

use anyhow::{Context, Result};

use crate::build::{self, cargo};
use crate::cluster::layout::Layout;
use crate::cluster::plane::Plane;
use crate::cluster::temporary::Temporary;
use crate::cluster::up::{self, Parts};
use crate::command::{capture, show};
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
    side_by_side(&built.skep, &programs.join("kube-proxy"))?;
    for plane in PLANES {
        println!("--- {plane:?}");
        let cluster = Temporary::new("skep-interop")?;
        let parts = Parts { nodes: 2, built: &built, plane, upstream: Some(&programs) };
        prove(&cluster.0, &parts).with_context(|| format!("{plane:?}"))?;
    }
    Ok(())
}

/// The same Services, endpoints and packets through both proxies (tests/interop).
fn side_by_side(skep: &Path, kube_proxy: &Path) -> Result<()> {
    println!("--- Services beside upstream's kube-proxy");
    let words = ["run", "--quiet", "--package", "skep-interop-tests", "--", "compare", "--skep"];
    show(cargo().args(words).arg(skep).arg("--kube-proxy").arg(kube_proxy))
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
