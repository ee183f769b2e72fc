//! Debian's kernels: fetched as packages, unpacked without being installed, kept in the target folder as far as
//! a virtual machine needs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::target_dir;
use crate::command::{capture, command};
use crate::machine;

/// Modules that a virtual machine loads, with what they depend on. Those that are built in are passed over.
///
/// No module names `crc32c_generic`, which SCTP's checksum asks for as it is loaded.
const MODULES: &[&str] = &[
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "veth",
    "bridge",
    "vxlan",
    "crc32c_generic",
    "sctp",
    "sctp_diag",
];

/// A kernel by the package that depends on its newest build.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    /// Major and minor.
    pub(crate) version: &'static str,
    /// The package.
    pub(crate) package: &'static str,
}

/// What is kept of a kernel.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    /// Where.
    pub(super) folder: PathBuf,
    /// What boots.
    pub(super) image: PathBuf,
    /// Modules, in the order in which they can be loaded.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// The files; fetched if they are not there yet.
    ///
    /// # Errors
    /// With the words of Debian's tools.
    pub(super) fn fetch(&self) -> Result<Files> {
        let folder = target_dir().join("vm").join(self.version);
        if !folder.exists() {
            let part = folder.with_extension("part");
            // What an interrupted run left.
            let _ = std::fs::remove_dir_all(&part);
            let kept = part.join("kept");
            std::fs::create_dir_all(&kept)?;
            self.unpack(&part)?;
            keep(&part, &kept)?;
            std::fs::rename(&kept, &folder)?;
            std::fs::remove_dir_all(&part)?;
        }
        let mut modules: Vec<PathBuf> = std::fs::read_dir(folder.join("modules"))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        modules.sort_unstable();
        Ok(Files { image: folder.join("vmlinuz"), modules, folder })
    }

    fn unpack(&self, part: &Path) -> Result<()> {
        machine::apt_get(&["update"])?;
        let text = capture(&mut command(["apt-cache", "depends", self.package]))?;
        let name = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-"))
            .with_context(|| format!("package {} names no kernel", self.package))?;
        capture(command(["apt-get", "--quiet=2", "download", name]).current_dir(part))?;
        let package =
            files(part)?.into_iter().find(|file| file.extension().is_some_and(|e| e == "deb"));
        let package = package.with_context(|| format!("{name} was not downloaded"))?;
        capture(command(["dpkg", "-x"]).arg(package).arg(part)).map(drop)
    }
}

/// Copies the image, and the modules that are wanted, uncompressed and numbered in their order.
fn keep(unpacked: &Path, kept: &Path) -> Result<()> {
    let is_image = |file: &&PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    };
    let boot = files(&unpacked.join("boot"))?;
    let image = boot.iter().find(is_image).context("the package has no kernel image")?;
    std::fs::copy(image, kept.join("vmlinuz"))?;
    let library = ["lib/modules", "usr/lib/modules"].map(|folder| unpacked.join(folder));
    let library = library.iter().find(|folder| folder.exists()).context("no modules")?;
    let all: BTreeMap<String, PathBuf> =
        files(library)?.into_iter().filter_map(|file| Some((module_name(&file)?, file))).collect();
    let mut order: Vec<(String, Vec<u8>)> = Vec::new();
    for module in MODULES {
        gather(module, &all, &mut order)?;
    }
    let folder = kept.join("modules");
    std::fs::create_dir(&folder)?;
    for (number, (name, bytes)) in order.iter().enumerate() {
        std::fs::write(folder.join(format!("{number:02}-{name}.ko")), bytes)?;
    }
    Ok(())
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// `some-module.ko` or `.ko.xz` is known as `some_module`.
fn module_name(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_str()?;
    let stem = name.strip_suffix(".ko").or_else(|| name.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

/// Adds a module after those that it depends on.
fn gather(
    name: &str,
    all: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let Some(file) = all.get(name) else { return Ok(()) };
    if order.iter().any(|(own, _)| own == name) {
        return Ok(());
    }
    let bytes = if file.extension().is_some_and(|extension| extension == "xz") {
        let output = command(["xz", "--decompress", "--stdout"]).arg(file).output()?;
        anyhow::ensure!(output.status.success(), "cannot uncompress {}", file.display());
        output.stdout
    } else {
        std::fs::read(file)?
    };
    for needed in dependencies(&bytes) {
        gather(&needed, all, order)?;
    }
    order.push((name.to_owned(), bytes));
    Ok(())
}

/// What a module says about itself: `depends=one,two`, ended by a zero.
fn dependencies(module: &[u8]) -> Vec<String> {
    const MARK: &[u8] = b"\0depends=";
    let Some(start) = module.windows(MARK.len()).position(|window| window == MARK) else {
        return Vec::new();
    };
    let text = module[start + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_depends_on() {
        let module = b"\x7fELF\0license=GPL\0depends=libcrc32c,udp-tunnel\0name=sctp\0";
        assert_eq!(dependencies(module), ["libcrc32c", "udp_tunnel"]);
        assert_eq!(dependencies(b"\0depends=\0name=veth\0"), [""; 0]);
    }
}
