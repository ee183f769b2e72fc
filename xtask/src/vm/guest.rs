//! A virtual machine for one program: boots, runs it over this machine's files, tells what it printed and how it
//! ended, and is gone.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::kernel::Files;
use crate::command::{capture, command, find};

/// How long a program may take, the boot included: emulated, a minute's work takes several.
const PATIENCE: Duration = Duration::from_secs(900);
/// The last line of the output.
const STATUS: &str = "status ";

/// What the first process does. The files of the machine come by 9P; folders that a program writes to are in
/// memory. The second serial line carries the program's output alone.
const INIT: &str = "#!/bin/busybox sh
busybox mkdir -p /proc /dev /host
busybox mount -t proc proc /proc
busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do busybox insmod $module; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host
busybox mount -t proc proc /host/proc
busybox mount -t sysfs sysfs /host/sys
busybox mount -t devtmpfs devtmpfs /host/dev
busybox mount -t tmpfs tmpfs /host/run
busybox mount -t bpf bpf /host/sys/fs/bpf
busybox mount -t cgroup2 cgroup2 /host/sys/fs/cgroup
busybox ip link set lo up
busybox stty -F /dev/ttyS1 raw
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run HOME=/run
busybox chroot /host COMMAND >/dev/ttyS1 2>&1
echo \"status $?\" >/dev/ttyS1
busybox poweroff -f
";

/// How a program ended.
#[derive(Debug, Clone)]
pub(super) struct Output {
    /// What it printed.
    pub(super) text: String,
    /// Its status.
    pub(super) status: i32,
}

/// Runs a program of this machine under another kernel, as root.
///
/// # Errors
/// When the virtual machine does not come up, or not to an end.
pub(super) fn run(files: &Files, program: &Path, words: &[&str]) -> Result<Output> {
    let initramfs = initramfs(files, program, words)?;
    let (console, output) = (files.folder.join("console"), files.folder.join("output"));
    let mut machine = command(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max"]);
    machine
        .args(["-smp", "2", "-m", "1536", "-display", "none", "-no-reboot", "-nodefaults"])
        .arg("-kernel")
        .arg(&files.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 quiet panic=-1"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", output.display()))
        .args([
            "-virtfs",
            "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ]);
    wait(&mut machine).with_context(|| format!("{} tells more", console.display()))?;
    let text = std::fs::read_to_string(&output)?;
    let (text, status) = text
        .rsplit_once(STATUS)
        .with_context(|| format!("it died in the middle: {} tells more", console.display()))?;
    Ok(Output { text: text.to_owned(), status: status.trim().parse()? })
}

fn wait(machine: &mut Command) -> Result<()> {
    let mut child = machine.spawn().context("cannot start qemu-system-x86_64")?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("the virtual machine was not done after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// A file system in memory with busybox, the modules and the first process.
fn initramfs(files: &Files, program: &Path, words: &[&str]) -> Result<std::path::PathBuf> {
    let root = files.folder.join("initramfs");
    let _ = std::fs::remove_dir_all(&root);
    for folder in ["bin", "modules"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    let busybox = find("busybox").context("busybox is missing")?;
    std::fs::copy(busybox, root.join("bin/busybox"))?;
    for module in &files.modules {
        let name = module.file_name().context("a module has a name")?;
        std::fs::copy(module, root.join("modules").join(name))?;
    }
    let program = program.display().to_string();
    let line: Vec<&str> = std::iter::once(program.as_str()).chain(words.iter().copied()).collect();
    let init = root.join("init");
    std::fs::write(&init, INIT.replace("COMMAND", &line.join(" ")))?;
    capture(command(["chmod", "+x"]).arg(&init))?;
    let archive = files.folder.join("initramfs.cpio");
    let script = "cd \"$0\" && find . | busybox cpio -o -H newc >\"$1\"";
    capture(command(["sh", "-c", script]).arg(&root).arg(&archive))?;
    Ok(archive)
}
