//! Making a pod's volumes ready, keeping the live ones current, and taking them down.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};
use kube::Client;
use nix::mount::{MsFlags, mount};

use super::payload::{self, Fetched, Reader};
use super::{PodFolder, VolumeError, atomic, host_path, is_live, subpath};
use crate::identity::PodId;
use crate::objects::Objects;
use crate::quantity;
use crate::spec::fields::NodeAmounts;
use crate::tokens::Tokens;
use crate::trust_bundles;

/// Where volumes draw their content from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) client: &'a Client,
    pub(crate) objects: &'a Objects,
    pub(crate) tokens: &'a Tokens,
    pub(crate) node_name: &'a str,
    pub(crate) node: NodeAmounts,
}

/// Makes every volume ready; done again, it brings the live ones up to date and leaves the rest.
pub(crate) async fn set_up(
    pod: &Pod,
    id: &PodId,
    folder: &PodFolder,
    sources: Sources<'_>,
) -> Result<(), VolumeError> {
    for volume in super::of(pod) {
        set_up_one(pod, id, folder, volume, sources).await?;
    }
    Ok(())
}

/// Brings the volumes that show objects up to date.
pub(crate) async fn refresh(
    pod: &Pod,
    id: &PodId,
    folder: &PodFolder,
    sources: Sources<'_>,
) -> Result<(), VolumeError> {
    for volume in super::of(pod).iter().filter(|volume| is_live(volume)) {
        set_up_one(pod, id, folder, volume, sources).await?;
    }
    Ok(())
}

/// Unmounts everything of a pod and removes its volumes; the logs are elsewhere and stay.
pub(crate) fn take_down(folder: &PodFolder) -> Result<(), VolumeError> {
    let mut below: Vec<PathBuf> =
        mounted().into_iter().filter(|p| p.starts_with(folder.path())).collect();
    below.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in &below {
        subpath::unmount(path);
    }
    for name in ["volumes", "volume-subpaths"] {
        remove(&folder.path().join(name))?;
    }
    Ok(())
}

/// Removes what is left of a pod's folder.
pub(crate) fn forget(folder: &PodFolder) -> Result<(), VolumeError> {
    take_down(folder)?;
    remove(folder.path())
}

fn remove(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VolumeError::at(path, error))
        }
        _ => Ok(()),
    }
}

async fn set_up_one(
    pod: &Pod,
    id: &PodId,
    folder: &PodFolder,
    volume: &Volume,
    sources: Sources<'_>,
) -> Result<(), VolumeError> {
    let path = folder.volume(volume);
    if let Some(source) = &volume.host_path {
        return host_path::prepare(source);
    }
    if let Some(source) = &volume.empty_dir {
        return empty_dir(pod, &path, source);
    }
    if !is_live(volume) {
        return Err(VolumeError::Unsupported(volume.name.clone()));
    }
    let fetched = fetch(pod, id, volume, sources).await?;
    let files = payload::files(pod, volume, &fetched, sources.node_name, sources.node, reader(pod))
        .map_err(VolumeError::Source)?;
    make_folder(&path, 0o755)?;
    if holds_secrets(volume) && !is_mounted(&path) {
        mount_memory(&path, None)?;
    }
    let name = Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f").to_string();
    atomic::write(&path, &files, &name).map_err(|error| VolumeError::at(&path, error))?;
    Ok(())
}

async fn fetch(
    pod: &Pod,
    id: &PodId,
    volume: &Volume,
    sources: Sources<'_>,
) -> Result<Fetched, VolumeError> {
    let needs = payload::needs(volume);
    let mut fetched = Fetched::default();
    let failed = |error: kube::Error| VolumeError::Source(error.to_string());
    for name in needs.config_maps {
        let found = sources.objects.config_map(&id.namespace, &name).await.map_err(failed)?;
        fetched.config_maps.insert(name, found);
    }
    for name in needs.secrets {
        let found = sources.objects.secret(&id.namespace, &name).await.map_err(failed)?;
        fetched.secrets.insert(name, found);
    }
    for wish in needs.tokens {
        let token = sources.tokens.token(pod, id, &wish).await.map_err(failed)?;
        fetched.tokens.insert((wish.audience, wish.expiration_seconds), token);
    }
    for wish in needs.trust_bundles {
        let bundle =
            trust_bundles::fetch(sources.client, &wish).await.map_err(VolumeError::Source)?;
        fetched.trust_bundles.insert(wish.path, bundle);
    }
    Ok(fetched)
}

/// Who reads: the pod's group, and its user where all containers agree on one.
fn reader(pod: &Pod) -> Reader {
    let Some(spec) = &pod.spec else { return Reader::default() };
    let context = spec.security_context.clone().unwrap_or_default();
    let mut users =
        spec.init_containers.iter().flatten().chain(&spec.containers).map(|container| {
            let own = container.security_context.as_ref().and_then(|own| own.run_as_user);
            own.or(context.run_as_user)
        });
    let first = users.next().flatten();
    let user = first.filter(|first| users.all(|user| user == Some(*first)));
    let id = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    Reader { user: id(user), fs_group: id(context.fs_group) }
}

fn empty_dir(pod: &Pod, path: &Path, source: &EmptyDirVolumeSource) -> Result<(), VolumeError> {
    let fresh = !path.exists();
    let in_memory = source.medium.as_deref() == Some("Memory");
    if !fresh && (!in_memory || is_mounted(path)) {
        return Ok(());
    }
    make_folder(path, 0o777)?;
    if in_memory {
        mount_memory(path, source.size_limit.as_ref().and_then(quantity::units))?;
        set_mode(path, 0o777)?;
    }
    if let Some(group) = reader(pod).fs_group {
        chown(path, None, Some(group)).map_err(|error| VolumeError::at(path, error))?;
        set_mode(path, 0o2777)?;
    }
    Ok(())
}

/// What must never reach a disk.
fn holds_secrets(volume: &Volume) -> bool {
    volume.secret.is_some() || volume.projected.is_some()
}

fn make_folder(path: &Path, mode: u32) -> Result<(), VolumeError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| VolumeError::at(path, error))?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| VolumeError::at(path, error))
}

fn mount_memory(path: &Path, bytes: Option<i64>) -> Result<(), VolumeError> {
    let options = match bytes.filter(|bytes| *bytes > 0) {
        Some(bytes) => format!("mode=0755,size={bytes}"),
        None => "mode=0755".to_owned(),
    };
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|error| VolumeError::at(path, error))
}

fn is_mounted(path: &Path) -> bool {
    mounted().iter().any(|mounted| mounted == path)
}

/// Every mount point that this process sees.
fn mounted() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let field = |line: &str| line.split(' ').nth(4).map(unescape);
    table.lines().filter_map(field).map(PathBuf::from).collect()
}

/// The kernel writes blanks in mount points as octal escapes.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}
