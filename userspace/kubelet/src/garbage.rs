//! Removing what nobody needs any more: dead containers beyond the last of each name, old sandboxes,
//! and everything of pods that are gone.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use skep_cri::v1::{ContainerState, PodSandboxState};

use crate::identity::{self, PodId};
use crate::kubelet::Kubelet;
use crate::observe::Observed;
use crate::volume::{PodFolder, setup};

/// Dead containers of one name that are kept, for `logs --previous`.
const KEPT: usize = 1;

/// Removes containers, sandboxes, folders and logs of a pod that has ended and is gone.
pub(crate) async fn forget_pod(kubelet: &Kubelet, id: &PodId, observed: &Observed) {
    for container in &observed.containers {
        if let Err(error) = kubelet.runtime.remove_container(&container.id).await {
            tracing::warn!(pod = %id, %error, "cannot remove a container");
        }
    }
    for sandbox in &observed.sandboxes {
        if let Err(error) = kubelet.runtime.remove_pod_sandbox(&sandbox.id).await {
            tracing::warn!(pod = %id, %error, "cannot remove a sandbox");
        }
    }
    kubelet.tokens.forget(&id.uid);
    kubelet.cgroups.remove(&id.uid);
    let (folder, logs) = (kubelet.folder(id), kubelet.config.pod_logs.join(id.log_folder()));
    let removed = tokio::task::spawn_blocking(move || {
        let _ = std::fs::remove_dir_all(logs);
        setup::forget(&folder)
    });
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(pod = %id, %error, "cannot remove a pod's folder");
    }
}

/// One round over the whole node. `known`: the pods that have a worker, by uid.
pub(crate) async fn collect(kubelet: &Kubelet, known: &HashSet<String>) -> skep_cri::Result<()> {
    collect_containers(kubelet).await?;
    collect_sandboxes(kubelet, known).await?;
    collect_folders(kubelet, known).await;
    Ok(())
}

async fn collect_containers(kubelet: &Kubelet) -> skep_cri::Result<()> {
    let mut containers = kubelet.runtime.list_containers(HashMap::new()).await?;
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    let mut seen: HashMap<(String, String), usize> = HashMap::new();
    for container in containers {
        let Some(pod) = PodId::from_labels(&container.labels) else { continue };
        let Some(name) = container.labels.get(identity::CONTAINER_NAME) else { continue };
        let newer = seen.entry((pod.uid, name.clone())).or_default();
        let is_newest = *newer == 0;
        *newer += 1;
        let is_dead = container.state() == ContainerState::ContainerExited;
        if is_dead && !is_newest && *newer > KEPT + 1 {
            kubelet.runtime.remove_container(&container.id).await?;
        }
    }
    Ok(())
}

/// Sandboxes of pods without a worker are stopped and removed; of the others the newest stays, and
/// any that still has containers.
async fn collect_sandboxes(kubelet: &Kubelet, known: &HashSet<String>) -> skep_cri::Result<()> {
    let containers = kubelet.runtime.list_containers(HashMap::new()).await?;
    let in_use: HashSet<&str> = containers.iter().map(|c| c.pod_sandbox_id.as_str()).collect();
    let mut sandboxes = kubelet.runtime.list_pod_sandboxes(HashMap::new()).await?;
    sandboxes.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
    let mut seen = HashSet::new();
    for sandbox in sandboxes {
        let Some(pod) = PodId::from_labels(&sandbox.labels) else { continue };
        let is_newest = seen.insert(pod.uid.clone());
        let is_ready = sandbox.state() == PodSandboxState::SandboxReady;
        let is_orphan = !known.contains(&pod.uid);
        if is_orphan {
            tracing::info!(%pod, "ending a pod that the API server does not have");
            kubelet.runtime.stop_pod_sandbox(&sandbox.id).await?;
            kubelet.runtime.remove_pod_sandbox(&sandbox.id).await?;
        } else if !is_newest && !is_ready && !in_use.contains(sandbox.id.as_str()) {
            kubelet.runtime.remove_pod_sandbox(&sandbox.id).await?;
        }
    }
    Ok(())
}

/// Folders of pods that nobody knows.
async fn collect_folders(kubelet: &Kubelet, known: &HashSet<String>) {
    let (root, known) = (kubelet.config.root.clone(), known.clone());
    let logs = kubelet.config.pod_logs.clone();
    let cgroups = kubelet.cgroups.clone();
    let done = tokio::task::spawn_blocking(move || {
        for uid in names(&root.join("pods")).into_iter().filter(|uid| !known.contains(uid)) {
            cgroups.remove(&uid);
            if let Err(error) = setup::forget(&PodFolder::new(&root, &uid)) {
                tracing::warn!(uid, %error, "cannot remove the folder of a pod that is gone");
            }
        }
        for name in names(&logs) {
            let uid = name.rsplit('_').next().unwrap_or_default();
            if name.split('_').count() == 3 && !known.contains(uid) {
                let _ = std::fs::remove_dir_all(logs.join(&name));
            }
        }
    });
    if let Err(error) = done.await {
        tracing::error!(%error, "collecting folders died");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
