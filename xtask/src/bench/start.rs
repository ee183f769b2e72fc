//! From the first process of a cluster to what a user waits for.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::build;
use crate::cluster::layout::Layout;
use crate::cluster::up::{kubectl, wait_for};
use crate::command::{capture, command};

const MANIFEST: &str = "tests/cluster/manifests/proof.yaml";

/// Brings a cluster up with `bring_up` and prints when what was there, in seconds from the beginning.
///
/// # Errors
/// When something does not come.
pub(super) fn measure(
    bring_up: impl FnOnce() -> Result<()> + Send,
    layout: &Layout,
) -> Result<String> {
    let begin = Instant::now();
    let passed = || begin.elapsed().as_secs_f64();
    let (ready, bound) = std::thread::scope(|scope| {
        let upbringing = scope.spawn(bring_up);
        wait_for("the control plane", || {
            capture(&mut kubectl(layout, &["get", "--raw", "/readyz"])).map(drop)
        })?;
        let ready = passed();
        let manifest = build::root().join(MANIFEST);
        wait_for("the API to take a pod", || {
            capture(kubectl(layout, &["apply", "-f"]).arg(&manifest)).map(drop)
        })?;
        wait_for("a bound pod", || {
            let words = ["get", "pod", "client", "-o", "jsonpath={.spec.nodeName}"];
            match capture(&mut kubectl(layout, &words))?.is_empty() {
                true => bail!("it is not bound"),
                false => Ok(()),
            }
        })?;
        let bound = passed();
        match upbringing.join() {
            Ok(result) => result.map(|()| (ready, bound)),
            Err(_) => bail!("bringing the cluster up panicked"),
        }
    })?;
    let nodes = passed();
    wait_for("an answer through the Service", || {
        let mut fetch = command(layout.inside("outside")?);
        capture(fetch.args(["skep-demo", "fetch", "http://10.199.0.11:30080/"])).map(drop)
    })?;
    let answered = passed();
    capture(kubectl(layout, &["delete", "-f"]).arg(build::root().join(MANIFEST)))?;
    Ok(format!(
        "| after the first process's start | s |\n| --- | --: |\n| control plane ready | {ready:.1} |\n| first \
         pod bound | {bound:.1} |\n| nodes ready | {nodes:.1} |\n| first answer through the Service, from \
         outside | {answered:.1} |\n"
    ))
}
