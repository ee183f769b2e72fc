//! Replacing a set of files at once: readers see all old or all new ones, never a mixture.
//!
//! The layout is upstream's, which programs rely on: `..data` points at a folder named for its time,
//! every visible name points into `..data`, and a change is one rename of that link.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

/// One file of the set, by relative path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    /// The user and group that the file belongs to, where not the kubelet's own.
    pub(crate) owner: (Option<u32>, Option<u32>),
}

/// The whole content of a volume.
pub(crate) type Files = BTreeMap<String, File>;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `folder` show exactly `files`; true if something changed.
pub(crate) fn write(folder: &Path, files: &Files, name: &str) -> io::Result<bool> {
    for path in files.keys() {
        check(path)?;
    }
    let old = fs::read_link(folder.join(DATA)).ok().map(|name| folder.join(name));
    if let Some(old) = &old
        && is_same(old, files)?
    {
        return Ok(false);
    }
    let fresh = folder.join(format!("..{name}"));
    fs::create_dir_all(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.data)?;
        fs::set_permissions(&target, Permissions::from_mode(file.mode))?;
        if file.owner != (None, None) {
            chown(&target, file.owner.0, file.owner.1)?;
        }
    }
    let link = folder.join(NEW_DATA);
    remove_if_there(&link)?;
    symlink(format!("..{name}"), &link)?;
    fs::rename(&link, folder.join(DATA))?;
    show(folder, files)?;
    if let Some(old) = old.filter(|old| *old != fresh) {
        fs::remove_dir_all(old)?;
    }
    Ok(true)
}

/// Links every top-level name into the data folder and removes the names that are gone.
fn show(folder: &Path, files: &Files) -> io::Result<()> {
    let mut names: Vec<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    names.dedup();
    for name in &names {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with("..") && !names.contains(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_same(folder: &Path, files: &Files) -> io::Result<bool> {
    let mut found = Vec::new();
    list(folder, Path::new(""), &mut found)?;
    if found.len() != files.len() {
        return Ok(false);
    }
    for path in found {
        let Some(file) = path.to_str().and_then(|path| files.get(path)) else { return Ok(false) };
        let full = folder.join(&path);
        if fs::metadata(&full)?.permissions().mode() & 0o7777 != file.mode
            || fs::read(&full)? != file.data
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(folder, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A path that stays inside and does not look like our own names.
fn check(path: &str) -> io::Result<()> {
    let mut parts = Path::new(path).components();
    let plain = !path.is_empty()
        && !path.starts_with("..")
        && parts.all(|part| matches!(part, Component::Normal(_)));
    match plain {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{path:?} is no path inside a volume"),
        )),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(path, text)| {
                let file = File { data: text.as_bytes().into(), mode: 0o644, owner: (None, None) };
                ((*path).to_owned(), file)
            })
            .collect()
    }

    #[test]
    fn shows_exactly_the_new_set() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(write(folder.path(), &files(&[("a", "1"), ("d/b", "2")]), "one").unwrap());
        assert_eq!(fs::read_to_string(at("d/b")).unwrap(), "2");
        assert_eq!(fs::read_link(at("a")).unwrap(), Path::new("..data/a"));
        assert!(!write(folder.path(), &files(&[("a", "1"), ("d/b", "2")]), "two").unwrap());
        assert!(write(folder.path(), &files(&[("a", "3"), ("c", "4")]), "two").unwrap());
        assert_eq!(fs::read_to_string(at("a")).unwrap(), "3");
        assert!(!at("d").exists() && !at("..one").exists());
    }

    #[test]
    fn an_interrupted_change_is_made_good() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("..one")).unwrap();
        symlink("..one", folder.path().join(NEW_DATA)).unwrap();
        assert!(write(folder.path(), &files(&[("a", "1")]), "one").unwrap());
        assert_eq!(fs::read_to_string(folder.path().join("a")).unwrap(), "1");
    }

    #[test]
    fn paths_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../x", "/etc/passwd", "a/../../x", "..data", ""] {
            assert!(write(folder.path(), &files(&[(path, "1")]), "one").is_err(), "{path}");
        }
    }
}
