//! The control groups above containers: one per quality-of-service class and one per pod. Works on
//! version 2 and on version 1, also where a bare version 2 tree hangs beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::CgroupDriver;
use crate::qos::Class;
use crate::resources::Amounts;

const MOUNT: &str = "/sys/fs/cgroup";
/// Version 1 hierarchies that pods are limited in.
const V1: [&str; 3] = ["cpu", "memory", "pids"];

/// Where pods' control groups lie.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    root: String,
    driver: CgroupDriver,
    mount: PathBuf,
}

impl Cgroups {
    pub(crate) fn new(root: &str, driver: CgroupDriver) -> Self {
        Self { root: root.to_owned(), driver, mount: MOUNT.into() }
    }

    /// The parent of a pod's containers, as the runtime takes it.
    pub(crate) fn pod(&self, uid: &str, class: Class) -> String {
        match self.driver {
            CgroupDriver::Cgroupfs => {
                let below = match class {
                    Class::Guaranteed => format!("kubepods/pod{uid}"),
                    Class::Burstable => format!("kubepods/burstable/pod{uid}"),
                    Class::BestEffort => format!("kubepods/besteffort/pod{uid}"),
                };
                match self.root.is_empty() {
                    true => format!("/{below}"),
                    false => format!("/{}/{below}", self.root),
                }
            }
            CgroupDriver::Systemd => {
                let uid = uid.replace('-', "_");
                match class {
                    Class::Guaranteed => format!("kubepods-pod{uid}.slice"),
                    Class::Burstable => format!("kubepods-burstable-pod{uid}.slice"),
                    Class::BestEffort => format!("kubepods-besteffort-pod{uid}.slice"),
                }
            }
        }
    }

    /// Makes the pod's control group with its limits. systemd makes its own.
    pub(crate) fn make(&self, uid: &str, class: Class, amounts: Amounts) -> io::Result<()> {
        if self.driver == CgroupDriver::Systemd {
            return Ok(());
        }
        let path = self.pod(uid, class);
        let path = path.trim_start_matches('/');
        if self.is_v2() { self.make_v2(path, amounts) } else { self.make_v1(path, amounts) }
    }

    /// Removes the pod's control group, whichever class it had.
    pub(crate) fn remove(&self, uid: &str) {
        for class in [Class::Guaranteed, Class::Burstable, Class::BestEffort] {
            let path = self.pod(uid, class);
            for tree in self.trees() {
                remove_tree(&tree.join(path.trim_start_matches('/')));
            }
        }
    }

    fn is_v2(&self) -> bool {
        self.mount.join("cgroup.controllers").exists()
    }

    /// Every hierarchy that a pod's group may be in.
    fn trees(&self) -> Vec<PathBuf> {
        if self.is_v2() {
            return vec![self.mount.clone()];
        }
        let entries = fs::read_dir(&self.mount).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    fn make_v2(&self, path: &str, amounts: Amounts) -> io::Result<()> {
        let mut at = self.mount.clone();
        for part in path.split('/') {
            // A group hands down only what it was told to; some it may not have.
            for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
                let _ = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            at = at.join(part);
            make_folder(&at)?;
        }
        let weight = 1 + (amounts.cpu_shares() - 2) * 9999 / 262_142;
        set(&at.join("cpu.weight"), &weight.to_string())?;
        let quota = amounts.cpu_quota_us().map_or("max".to_owned(), |quota| quota.to_string());
        set(&at.join("cpu.max"), &format!("{quota} 100000"))?;
        let memory = amounts.memory_limit_bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
        set(&at.join("memory.max"), &memory)
    }

    fn make_v1(&self, path: &str, amounts: Amounts) -> io::Result<()> {
        for tree in V1 {
            let tree = self.mount.join(tree);
            if !tree.is_dir() {
                continue;
            }
            let mut at = tree;
            for part in path.split('/') {
                at = at.join(part);
                make_folder(&at)?;
            }
            set(&at.join("cpu.shares"), &amounts.cpu_shares().to_string())?;
            let quota = amounts.cpu_quota_us().unwrap_or(-1);
            set(&at.join("cpu.cfs_quota_us"), &quota.to_string())?;
            let memory = amounts.memory_limit_bytes.unwrap_or(-1);
            set(&at.join("memory.limit_in_bytes"), &memory.to_string())?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes a setting where the controller is there.
fn set(file: &Path, value: &str) -> io::Result<()> {
    match file.exists() {
        true => fs::write(file, value),
        false => Ok(()),
    }
}

/// Groups go from the leaves up; one that still has processes stays.
fn remove_tree(path: &Path) {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path());
    }
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let files = Cgroups::new("skep/n1", CgroupDriver::Cgroupfs);
        assert_eq!(files.pod("a-b", Class::Guaranteed), "/skep/n1/kubepods/poda-b");
        assert_eq!(files.pod("a-b", Class::Burstable), "/skep/n1/kubepods/burstable/poda-b");
        let slices = Cgroups::new("", CgroupDriver::Systemd);
        assert_eq!(slices.pod("a-b", Class::BestEffort), "kubepods-besteffort-poda_b.slice");
    }

    #[test]
    fn limits_are_written_where_there_is_a_controller() {
        let folder = tempfile::tempdir().unwrap();
        let mut cgroups = Cgroups::new("", CgroupDriver::Cgroupfs);
        cgroups.mount = folder.path().into();
        let group = folder.path().join("memory/kubepods/podx");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("memory.limit_in_bytes"), "").unwrap();
        let amounts = Amounts { memory_limit_bytes: Some(4096), ..Amounts::default() };
        cgroups.make("x", Class::Guaranteed, amounts).unwrap();
        assert_eq!(fs::read_to_string(group.join("memory.limit_in_bytes")).unwrap(), "4096");
        assert!(!group.join("cpu.shares").exists());
    }
}
