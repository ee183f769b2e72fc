//! The images that skep makes for itself: the sandbox's and the demo's, both with userspace/demo's program;
//! and, for tests that want a shell, one with the machine's static busybox.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use skep_image::{Entry, Image};

use crate::build;

/// What containerd is told to hold sandboxes with.
pub(crate) const PAUSE: &str = "skep.local/pause:1";
/// What the proof deploys.
pub(crate) const DEMO: &str = "skep.local/demo:1";
/// What benchmarks load a path with.
pub(crate) const TRAFFIC: &str = "skep.local/traffic:1";
/// For tests: busybox.
pub(crate) const BUSYBOX: &str = "skep.local/busybox:1";

/// Where Debian's busybox-static keeps its program.
const BUSYBOX_PROGRAM: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "sh", "ash", "cat", "cp", "date", "dd", "echo", "env", "false", "grep", "head", "hostname",
    "id", "ip", "kill", "ls", "md5sum", "mkdir", "mount", "nc", "nslookup", "ping", "ps", "pwd",
    "rm", "sed", "seq", "sleep", "stat", "tail", "tar", "test", "top", "touch", "tr", "true",
    "umount", "wc", "wget",
];

/// Writes the archive of all images into the target folder and returns its path.
///
/// # Errors
/// When a program is not there or the archive cannot be written.
pub(crate) fn write(demo: &Path, traffic: &Path) -> Result<PathBuf> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let demo = read(demo)?;
    let mut images = vec![
        image(PAUSE, "skep-demo", &demo, &["pause"]),
        image(DEMO, "skep-demo", &demo, &["serve"]),
        image(TRAFFIC, "skep-traffic", &read(traffic)?, &[]),
    ];
    if let Ok(program) = std::fs::read(BUSYBOX_PROGRAM) {
        images.push(busybox(&program));
    }
    let path = build::target_dir().join("images.tar");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    skep_image::write(&images, build::go_architecture(), file)?;
    Ok(path)
}

fn image(reference: &str, name: &str, program: &[u8], arguments: &[&str]) -> Image {
    Image {
        reference: reference.to_owned(),
        entries: vec![
            Entry::Folder("bin".to_owned(), 0o755),
            Entry::File(format!("bin/{name}"), 0o755, program.to_vec()),
            Entry::Link("bin/tar".to_owned(), name.to_owned()),
            Entry::Folder("tmp".to_owned(), 0o1777),
        ],
        entrypoint: vec![format!("/bin/{name}")],
        arguments: arguments.iter().map(ToString::to_string).collect(),
        environment: vec!["PATH=/bin".to_owned()],
        user: "65534:65534".to_owned(),
    }
}

fn busybox(program: &[u8]) -> Image {
    let mut entries = vec![
        Entry::Folder("bin".to_owned(), 0o755),
        Entry::File("bin/busybox".to_owned(), 0o755, program.to_vec()),
        Entry::Folder("etc".to_owned(), 0o755),
        Entry::File("etc/passwd".to_owned(), 0o644, b"root:x:0:0:root:/:/bin/sh\n".to_vec()),
        Entry::File("etc/group".to_owned(), 0o644, b"root:x:0:\n".to_vec()),
        Entry::Folder("tmp".to_owned(), 0o1777),
    ];
    entries.extend(
        APPLETS.iter().map(|name| Entry::Link(format!("bin/{name}"), "busybox".to_owned())),
    );
    Image {
        reference: BUSYBOX.to_owned(),
        entries,
        entrypoint: Vec::new(),
        arguments: vec!["sh".to_owned()],
        environment: vec!["PATH=/bin".to_owned()],
        user: String::new(),
    }
}
