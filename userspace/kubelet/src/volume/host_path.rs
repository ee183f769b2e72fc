//! hostPath volumes: the node's own files, checked to be what the pod expects.

use std::fs::{self, File, Metadata, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

use super::VolumeError;

/// Makes what is asked for where that is allowed, and checks the rest.
pub(crate) fn prepare(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path).ok();
    let made = match (kind, &found) {
        ("DirectoryOrCreate", None) => fs::create_dir_all(path)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755))),
        ("FileOrCreate", None) => {
            File::create(path).and_then(|file| file.set_permissions(Permissions::from_mode(0o644)))
        }
        _ => Ok(()),
    };
    made.map_err(|error| VolumeError::at(path, error))?;
    let found = found.or_else(|| fs::metadata(path).ok());
    let fits: fn(&Metadata) -> bool = match kind {
        "" => return Ok(()),
        "DirectoryOrCreate" | "Directory" => Metadata::is_dir,
        "FileOrCreate" | "File" => Metadata::is_file,
        "Socket" => |found| found.file_type().is_socket(),
        "CharDevice" => |found| found.file_type().is_char_device(),
        "BlockDevice" => |found| found.file_type().is_block_device(),
        other => return Err(VolumeError::Source(format!("{other:?} is no hostPath type"))),
    };
    match found.is_some_and(|found| fits(&found)) {
        true => Ok(()),
        false => Err(VolumeError::Source(format!(
            "hostPath type check failed: {} is not a {}",
            source.path,
            noun(kind)
        ))),
    }
}

fn noun(kind: &str) -> &'static str {
    match kind {
        "DirectoryOrCreate" | "Directory" => "directory",
        "FileOrCreate" | "File" => "file",
        "Socket" => "socket file",
        "CharDevice" => "character device",
        _ => "block device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_checked_and_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for (kind, path, accepted) in [
            ("", "nothing", true),
            ("Directory", "nothing", false),
            ("Directory", "file", false),
            ("File", "file", true),
            ("Socket", "file", false),
            ("DirectoryOrCreate", "made", true),
            ("Directory", "made", true),
            ("FileOrCreate", "made-file", true),
            ("Color", "file", false),
        ] {
            let source = HostPathVolumeSource {
                path: folder.path().join(path).display().to_string(),
                type_: Some(kind.into()),
            };
            assert_eq!(prepare(&source).is_ok(), accepted, "{kind} {path}");
        }
    }
}
