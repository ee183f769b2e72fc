//! What a test makes on the machine beside processes, and its end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::command::{run, try_ip, try_run};

/// Where each world has a folder: state of its nodes, and a BPF file system of its own.
const RUN: &str = "/run";

/// The name that begins every namespace, folder and control group of one world; removes all of them when
/// dropped, and what killed runs left behind when made.
#[derive(Debug)]
pub struct Guard {
    name: String,
    cgroup_root: PathBuf,
}

impl Guard {
    /// A name of its own that begins with `prefix`; a folder with a BPF file system is there.
    pub fn new(prefix: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
        assert!(root, "namespaces need root: run `cargo xtask test` as root");
        let cgroup_root = cgroup2_root();
        remove_leftovers(prefix, &cgroup_root);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let guard = Self { name: format!("{prefix}{}x{count}", std::process::id()), cgroup_root };
        let bpf = guard.folder().join("bpf");
        std::fs::create_dir_all(&bpf).expect("/run is writable");
        run("mount", &["-t", "bpf", "bpf", &bpf.to_string_lossy()]);
        guard
    }

    /// What every name begins with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder; a BPF file system is mounted on `bpf` in it.
    pub fn folder(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// Makes a control group.
    pub fn cgroup(&self, short: &str) -> PathBuf {
        let cgroup = self.cgroup_root.join(format!("{}-{short}", self.name));
        std::fs::create_dir(&cgroup).expect("the cgroup2 tree is writable");
        cgroup
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        remove(&self.name, &self.cgroup_root);
    }
}

/// Removes everything whose name begins so.
fn remove(name: &str, cgroup_root: &Path) {
    for folder in entries(Path::new(RUN), name) {
        // Programs and tables end with the last pin.
        try_run("umount", &[&folder.join("bpf").to_string_lossy()]);
        let _ = std::fs::remove_dir_all(folder);
    }
    for namespace in entries(Path::new("/run/netns"), name) {
        let namespace = namespace.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = try_ip(&format!("netns delete {namespace}"));
    }
    for folder in entries(cgroup_root, name) {
        let _ = std::fs::remove_dir(folder);
    }
}

/// Removes what processes that are no more have left.
fn remove_leftovers(prefix: &str, cgroup_root: &Path) {
    for folder in [Path::new("/run/netns"), Path::new(RUN), cgroup_root] {
        for path in entries(folder, prefix) {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rest = &file[prefix.len()..];
            let Some((pid, _)) = rest.split_once('x') else { continue };
            if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
                remove(&format!("{prefix}{pid}x"), cgroup_root);
            }
        }
    }
}

fn entries(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

fn cgroup2_root() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc is mounted");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.find(|fields| fields.get(2) == Some(&"cgroup2")).expect("a cgroup2 tree");
    PathBuf::from(mount[1])
}
