//! The mounts of a container: its volumes, hosts file and place for last words.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, VolumeMount};
use skep_cri::v1::{Mount, MountPropagation};

use super::{PodFolder, VolumeError, subpath};
use crate::expand::expand;
use crate::identity;
use crate::role::Member;
use crate::spec::container::termination_path;

/// The mounts of `member`, whose environment is known and whose pod's volumes are set up.
pub(crate) fn of(
    pod: &Pod,
    member: &Member,
    folder: &PodFolder,
    environment: &[(String, String)],
    attempt: u32,
) -> Result<Vec<Mount>, VolumeError> {
    let mut mounts = Vec::new();
    let asked = member.container.volume_mounts.as_deref().unwrap_or_default();
    for (index, mount) in asked.iter().enumerate() {
        mounts.push(one(pod, member, folder, environment, index, mount)?);
    }
    let has = |path: &str| asked.iter().any(|mount| mount.mount_path == path);
    if !identity::is_host_network(pod) && !has("/etc/hosts")
        || has_aliases(pod) && !has("/etc/hosts")
    {
        mounts.push(bind(&folder.hosts(), "/etc/hosts"));
    }
    mounts.push(last_words(member, folder, attempt)?);
    Ok(mounts)
}

fn has_aliases(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.host_aliases.iter().flatten().next().is_some())
}

fn bind(host_path: &Path, container_path: &str) -> Mount {
    Mount {
        container_path: container_path.to_owned(),
        host_path: host_path.display().to_string(),
        ..Mount::default()
    }
}

fn one(
    pod: &Pod,
    member: &Member,
    folder: &PodFolder,
    environment: &[(String, String)],
    index: usize,
    mount: &VolumeMount,
) -> Result<Mount, VolumeError> {
    let volume =
        super::of(pod).iter().find(|volume| volume.name == mount.name).ok_or_else(|| {
            VolumeError::Source(format!(
                "volume {:?} is mounted but not part of the pod",
                mount.name
            ))
        })?;
    let whole = folder.volume(volume);
    let part = part(mount, environment).map_err(VolumeError::Source)?;
    let host_path = match part {
        None => whole,
        Some(part) => {
            let target = folder.subpath(&volume.name, member.name(), index);
            subpath::bind(&whole, &part, &target)?;
            target
        }
    };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    Ok(Mount {
        readonly: mount.read_only.unwrap_or(false),
        propagation: propagation.into(),
        ..bind(&host_path, &mount.mount_path)
    })
}

/// The part of the volume that is mounted, checked as the API server checks what needs no expansion.
fn part(mount: &VolumeMount, environment: &[(String, String)]) -> Result<Option<String>, String> {
    let part = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Some(text)) if !text.is_empty() => {
            let find = |name: &str| environment.iter().find(|(key, _)| key == name);
            let missing = std::cell::RefCell::new(None);
            let part = expand(text, |name| {
                let value = find(name).map(|(_, value)| value.clone());
                if value.is_none() {
                    missing.replace(Some(name.to_owned()));
                }
                value
            });
            if let Some(name) = missing.into_inner() {
                return Err(format!("subPathExpr {text:?}: missing value for {name:?}"));
            }
            part
        }
        _ => return Ok(None),
    };
    if part.starts_with('/') {
        return Err(format!("error SubPath `{part}` must not be an absolute path"));
    }
    if part.split('/').any(|name| name == "..") {
        return Err(format!("unable to provision SubPath `{part}`: must not contain '..'"));
    }
    Ok(Some(part))
}

/// The file in which a container may leave its last words.
fn last_words(member: &Member, folder: &PodFolder, attempt: u32) -> Result<Mount, VolumeError> {
    let path = words_path(member.name(), folder, attempt);
    let parent = folder.container(member.name());
    let made = fs::create_dir_all(&parent).and_then(|()| {
        fs::write(&path, "")?;
        // Whoever the container runs as may write it.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
    });
    made.map_err(|error| VolumeError::at(&path, error))?;
    Ok(bind(&path, termination_path(member)))
}

/// Where the node finds the last words of one attempt.
pub(crate) fn words_path(name: &str, folder: &PodFolder, attempt: u32) -> PathBuf {
    folder.container(name).join(attempt.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_are_expanded_and_checked() {
        let environment = [("POD".to_owned(), "web".to_owned()), ("UP".into(), "..".into())];
        for (mount, expected) in [
            (json!({}), Ok(None)),
            (json!({"subPath": "a/b"}), Ok(Some("a/b"))),
            (json!({"subPathExpr": "logs/$(POD)"}), Ok(Some("logs/web"))),
            (json!({"subPathExpr": "$(UP)"}), Err(())),
            (json!({"subPathExpr": "/$(POD)"}), Err(())),
            (json!({"subPathExpr": "$(NONE)"}), Err(())),
        ] {
            let mut object = mount.clone();
            object["name"] = json!("v");
            object["mountPath"] = json!("/v");
            let found = part(&serde_json::from_value(object).unwrap(), &environment);
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(|_| ()), expected, "{mount}");
        }
    }
}
