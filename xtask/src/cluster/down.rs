//! Takes a cluster down, however far it came: everything is found by its name, not by what `up` remembered.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout::Layout;
use super::wires;
use crate::progress::step;

const PATIENCE: Duration = Duration::from_secs(20);

/// Takes the cluster down.
///
/// # Errors
/// Names what could not be removed.
pub(crate) fn run() -> Result<()> {
    if !take(&Layout::default())? {
        println!("no cluster is up");
    }
    Ok(())
}

/// Takes this cluster down; whether there was one.
///
/// # Errors
/// Names what could not be removed.
pub(crate) fn take(layout: &Layout) -> Result<bool> {
    if leftovers(layout)?.is_empty() {
        return Ok(false);
    }
    step("down: processes and control groups", || {
        end_processes(layout.cgroup_folders().into_iter())
    })?;
    step("down: namespaces and links", || wires::cut(layout))?;
    step("down: files", || remove_files(layout))?;
    Ok(true)
}

/// Everything of the cluster that is still there: control groups, namespaces, files.
///
/// # Errors
/// When the places cannot be read.
pub(crate) fn leftovers(layout: &Layout) -> Result<Vec<String>> {
    let mut found: Vec<String> = layout
        .cgroup_folders()
        .into_iter()
        .chain([layout.state()])
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    found.extend(wires::namespaces(layout)?.into_iter().map(|name| format!("namespace {name}")));
    Ok(found)
}

/// Pulls a node's plug: all its processes end at once, and nothing starts them again.
///
/// # Errors
/// When there is no such node.
pub(crate) fn kill(node: &str) -> Result<()> {
    let layout = Layout::default();
    layout.inside(node)?;
    end_processes(layout.cgroup_folders().iter().map(|folder| folder.join(node)))
}

/// A node's processes are all in its control groups; the kernel kills a version 2 group as a whole.
fn end_processes(folders: impl Iterator<Item = PathBuf>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    for folder in folders.filter(|folder| folder.exists()) {
        loop {
            let kill = folder.join("cgroup.kill");
            if kill.exists() {
                fs::write(&kill, "1")
                    .with_context(|| format!("cannot write {}", kill.display()))?;
            } else {
                kill_each(&folder);
            }
            if remove_groups(&folder).is_ok() {
                break;
            }
            if Instant::now() > deadline {
                bail!("processes in {} do not end", folder.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn kill_each(folder: &Path) {
    for group in groups(folder) {
        for pid in fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Ok(pid) = pid.parse() {
                let pid = nix::unistd::Pid::from_raw(pid);
                // It may have ended by itself since.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

fn remove_groups(folder: &Path) -> std::io::Result<()> {
    groups(folder).iter().try_for_each(|group| match fs::remove_dir(group) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// `folder` and all below it, the deepest first.
fn groups(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(groups(&entry.path()));
        }
    }
    found.push(folder.to_owned());
    found
}

fn remove_files(layout: &Layout) -> Result<()> {
    match fs::remove_dir_all(layout.state()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("cannot remove {}", layout.state().display()));
        }
        _ => {}
    }
    // Another cluster may still be there.
    let _ = fs::remove_dir(Layout::all_states());
    Ok(())
}
