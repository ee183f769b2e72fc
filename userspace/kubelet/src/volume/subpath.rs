//! Parts of a volume, found without ever leaving it: a container that plants links in a shared
//! volume cannot make the next one mount the node's files.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};

use super::VolumeError;

/// Binds `part` of `volume` at `target`, making missing folders on the way.
pub(crate) fn bind(volume: &Path, part: &str, target: &Path) -> Result<(), VolumeError> {
    let found =
        resolve(volume, part).map_err(|error| VolumeError::at(&volume.join(part), error))?;
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    let is_folder =
        fs::metadata(&source).map_err(|error| VolumeError::at(&volume.join(part), error))?.is_dir();
    let parent = target.parent().unwrap_or(target);
    unmount(target);
    let made = fs::create_dir_all(parent).and_then(|()| match is_folder {
        true => fs::create_dir_all(target),
        false => fs::write(target, ""),
    });
    made.map_err(|error| VolumeError::at(target, error))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source.as_str()), target, None::<&str>, flags, None::<&str>)
        .map_err(|error| VolumeError::at(target, error))
}

/// Takes away whatever is mounted at `path`; nothing mounted is fine.
pub(crate) fn unmount(path: &Path) {
    while umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
}

fn resolve(volume: &Path, part: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(volume, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut prefix = String::new();
    let mut at = openat2(&root, ".", how)?;
    for name in part.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if name == ".." {
            return Err(nix::Error::EINVAL);
        }
        prefix = format!("{prefix}/{name}");
        at = match openat2(&root, prefix.as_str(), how) {
            Err(nix::Error::ENOENT) => {
                mkdirat(&at, name, Mode::from_bits_truncate(0o750))?;
                openat2(&root, prefix.as_str(), how)?
            }
            other => other?,
        };
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_do_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        symlink("../secret", volume.join("up")).unwrap();
        symlink("/etc", volume.join("absolute")).unwrap();
        assert!(resolve(&volume, "../secret").is_err());
        // Followed inside the volume's own root, where there is no such file.
        for part in ["up", "absolute/passwd"] {
            let outside = resolve(&volume, part)
                .ok()
                .map(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap());
            assert!(outside.is_none_or(|path| path.starts_with(&volume)), "{part}");
        }
    }

    #[test]
    fn missing_folders_are_made() {
        let folder = tempfile::tempdir().unwrap();
        resolve(folder.path(), "a/b/c").unwrap();
        assert!(folder.path().join("a/b/c").is_dir());
    }
}
