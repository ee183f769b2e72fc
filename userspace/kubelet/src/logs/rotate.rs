//! Keeping log files bounded: a full one is put aside, the runtime opens a new one, the oldest go.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use skep_cri::v1::{Container, ContainerState};
use tokio_util::sync::CancellationToken;

use crate::identity::{self, PodId};
use crate::kubelet::Kubelet;

const LOOK: Duration = Duration::from_secs(10);

/// Looks at every running container's log until the kubelet stops.
pub(crate) async fn run(kubelet: Arc<Kubelet>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        match kubelet.runtime.list_containers(HashMap::new()).await {
            Ok(containers) => {
                for container in &containers {
                    if container.state() == ContainerState::ContainerRunning {
                        look(&kubelet, container).await;
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "cannot look at logs"),
        }
    }
}

async fn look(kubelet: &Kubelet, container: &Container) {
    let Some(path) = path(&kubelet.config.pod_logs, container) else { return };
    let size = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
    if size < kubelet.config.log_max_bytes {
        return;
    }
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let Ok(aside) = put_aside(&path, &now, kubelet.config.log_max_files) else { return };
    if let Err(error) = kubelet.runtime.reopen_container_log(&container.id).await {
        tracing::warn!(container = container.id, %error, "cannot rotate a log");
        // The runtime still writes to the old file: it keeps its name.
        let _ = fs::rename(aside, path);
    }
}

fn path(root: &Path, container: &Container) -> Option<PathBuf> {
    let pod = PodId::from_labels(&container.labels)?;
    let name = container.labels.get(identity::CONTAINER_NAME)?;
    let attempt = container.metadata.as_ref()?.attempt;
    Some(root.join(pod.log_folder()).join(name).join(format!("{attempt}.log")))
}

/// Renames a full file, and removes the oldest so that `files` are left with the new one.
fn put_aside(path: &Path, now: &str, files: usize) -> std::io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(path);
    let aside = folder.join(format!("{name}.{now}"));
    fs::rename(path, &aside)?;
    let mut old: Vec<PathBuf> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|old| {
            old.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{name}.")))
        })
        .collect();
    old.sort();
    let most = files.saturating_sub(1);
    for old in &old[..old.len().saturating_sub(most)] {
        fs::remove_file(old)?;
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for now in ["20260101-000001", "20260101-000002", "20260101-000003"] {
            fs::write(&path, now).unwrap();
            put_aside(&path, now, 3).unwrap();
        }
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["0.log.20260101-000002", "0.log.20260101-000003"]);
    }
}
