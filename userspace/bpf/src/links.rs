//! Attachments: which program sits on which device or cgroup. Each is pinned, so that it outlives the
//! process that made it, and is updated in place when the program is.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    pin,
    program::{Kind, Program},
    sys,
};

/// The attachments under a pin folder. Needs no loading: the programs are pinned there too.
#[derive(Clone, Debug)]
pub struct Links {
    pin_dir: PathBuf,
}

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The name it was given: a device's, or `cgroup`.
    pub name: String,
    /// The program.
    pub program: Program,
    /// The device; 0 for cgroups and when the device is gone.
    pub ifindex: u32,
}

impl Attachment {
    /// Whether it sits on sockets, not on a device.
    pub fn is_cgroup(&self) -> bool {
        self.name == CGROUP
    }
}

/// How XDP sits on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// Not at all.
    Off,
    /// In the kernel's own receive path, whatever the driver: slow, for tests.
    Generic,
    /// In the driver.
    Native,
}

/// `XDP_FLAGS_SKB_MODE`.
const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const XDP_NATIVE: u32 = 1 << 2;

/// How long after its last pin the kernel may still have a link, which it takes away in the background.
const DETACHING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Name of the attachments at a cgroup.
const CGROUP: &str = "cgroup";

impl Links {
    /// The attachments under `pin_dir`.
    pub fn open(pin_dir: &Path) -> Self {
        Self { pin_dir: pin_dir.to_path_buf() }
    }

    /// Attaches the programs for the host side of a pod's veth pair, in this network namespace.
    /// Attaching again under the same name replaces what was there.
    pub fn attach_pod(&self, name: &str, ifindex: u32) -> Result<()> {
        self.attach_device(Program::PodEgress, name, ifindex)?;
        self.attach_device(Program::PodIngress, name, ifindex)
    }

    /// Attaches the programs for a device of the node.
    pub fn attach_node(&self, name: &str, ifindex: u32) -> Result<()> {
        self.attach_device(Program::NodeEgress, name, ifindex)?;
        self.attach_device(Program::NodeIngress, name, ifindex)
    }

    /// Attaches the XDP program to a device of the node in this mode, or detaches it. XDP is never needed:
    /// what it does, the programs of [`Links::attach_node`] do as well.
    ///
    /// A device that hands over packets without their checksums (a veth pair) must be off.
    pub fn attach_xdp(&self, name: &str, ifindex: u32, mode: XdpMode) -> Result<()> {
        let path = self.path(name, Program::Xdp);
        // The mode of a link cannot be changed in place, nor seen.
        pin::remove(&path)?;
        match mode {
            XdpMode::Off => Ok(()),
            XdpMode::Generic => self.create(&path, Program::Xdp, ifindex, XDP_GENERIC, name),
            XdpMode::Native => self.create(&path, Program::Xdp, ifindex, XDP_NATIVE, name),
        }
    }

    /// Attaches the programs for the overlay device.
    pub fn attach_overlay(&self, name: &str, ifindex: u32) -> Result<()> {
        self.attach_device(Program::OverlayEgress, name, ifindex)?;
        self.attach_device(Program::OverlayIngress, name, ifindex)
    }

    /// Attaches the programs for sockets to a cgroup (of version 2) and all below it.
    pub fn attach_cgroup(&self, cgroup: &Path) -> Result<()> {
        let folder = File::open(cgroup).map_err(|source| Error::Attach {
            program: Program::Connect4.name(),
            target: cgroup.display().to_string(),
            source,
        })?;
        for program in Program::SOCKETS {
            let path = self.path(CGROUP, program);
            if self.update_pinned(&path, program)?.is_some() {
                continue;
            }
            // A folder's descriptor is a small positive number.
            let target = folder.as_fd().as_raw_fd().cast_unsigned();
            self.create(&path, program, target, 0, &cgroup.display().to_string())?;
        }
        Ok(())
    }

    /// Detaches everything under this name; whether there was anything.
    pub fn detach(&self, name: &str) -> Result<bool> {
        let mut found = false;
        for program in Program::ALL {
            found |= pin::remove(&self.path(name, program))?;
        }
        Ok(found)
    }

    /// Detaches what sits on sockets.
    pub fn detach_cgroup(&self) -> Result<bool> {
        self.detach(CGROUP)
    }

    /// All attachments, in the order of their names.
    pub fn list(&self) -> Result<Vec<Attachment>> {
        let mut all = Vec::new();
        for (name, program) in self.pinned()? {
            let link = pin::open(&self.path(&name, program))?;
            let ifindex = if name == CGROUP { 0 } else { self.ifindex(&link, &name)? };
            all.push(Attachment { name, program, ifindex });
        }
        all.sort_by(|left, right| (&left.name, left.program).cmp(&(&right.name, right.program)));
        Ok(all)
    }

    /// The programs that are attached anywhere.
    pub(crate) fn programs(&self) -> Result<BTreeSet<Program>> {
        Ok(self.pinned()?.into_iter().map(|(_, program)| program).collect())
    }

    /// Puts the pinned programs in the place of those in the links, and removes links whose device is
    /// gone.
    pub(crate) fn upgrade(&self) -> Result<()> {
        for (name, program) in self.pinned()? {
            let path = self.path(&name, program);
            match self.update_pinned(&path, program)? {
                Some(0) if name != CGROUP => drop(pin::remove(&path)?),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, name: &str, program: Program) -> PathBuf {
        pin::links_dir(&self.pin_dir).join(format!("{}-{}", pin::name(name), program.name()))
    }

    fn program(&self, program: Program) -> Result<OwnedFd> {
        pin::open(&pin::programs_dir(&self.pin_dir).join(program.name()))
    }

    fn ifindex(&self, link: &OwnedFd, name: &str) -> Result<u32> {
        sys::link_ifindex(link.as_fd()).map_err(|source| Error::Pin {
            action: "inspect",
            path: pin::links_dir(&self.pin_dir).join(name),
            source,
        })
    }

    /// Names and programs of the pinned links.
    fn pinned(&self) -> Result<Vec<(String, Program)>> {
        let dir = pin::links_dir(&self.pin_dir);
        let error = |source| Error::Pin { action: "list", path: dir.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(error)? {
            let file = entry.map_err(error)?.file_name().to_string_lossy().into_owned();
            let parsed = file.rsplit_once('-').and_then(|(name, program)| {
                let program = Program::ALL.into_iter().find(|known| known.name() == program)?;
                Some((name.to_owned(), program))
            });
            found.extend(parsed);
        }
        Ok(found)
    }

    fn attach_device(&self, program: Program, name: &str, ifindex: u32) -> Result<()> {
        let path = self.path(name, program);
        match self.update_pinned(&path, program)? {
            Some(attached) if attached == ifindex => return Ok(()),
            // The name's former device.
            Some(_) => drop(pin::remove(&path)?),
            None => {}
        }
        self.create(&path, program, ifindex, 0, name)
    }

    /// Puts the current program into the link at `path`; the link's device, if there is a link.
    fn update_pinned(&self, path: &Path, program: Program) -> Result<Option<u32>> {
        let link = match sys::obj_get(path) {
            Ok(link) => link,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(Error::Pin { action: "open", path: path.to_path_buf(), source });
            }
        };
        let ifindex = self.ifindex(&link, &path.display().to_string())?;
        if let Err(source) = sys::link_update(link.as_fd(), self.program(program)?.as_fd()) {
            // The device is gone: there is nothing to update.
            if source.raw_os_error() == Some(libc::ENOLINK) {
                return Ok(Some(0));
            }
            return Err(Error::Pin { action: "update", path: path.to_path_buf(), source });
        }
        Ok(Some(ifindex))
    }

    fn create(
        &self,
        path: &Path,
        program: Program,
        target: u32,
        flags: u32,
        target_name: &str,
    ) -> Result<()> {
        // A link that was pinned half way, by an agent that was killed, would be in the way.
        pin::remove(path)?;
        let fd = self.program(program)?;
        let began = Instant::now();
        let attach = || sys::link_create(fd.as_fd(), target, program.attach_type(), flags);
        let mut link = attach();
        while let Err(error) = &link
            && matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY))
            && began.elapsed() < DETACHING
        {
            std::thread::sleep(PAUSE);
            link = attach();
        }
        let link = link.map_err(|source| match (program.kind(), source.raw_os_error()) {
            // The device exists, or the error were ENODEV: the kernel does not know the hook.
            (Kind::Tcx, Some(libc::EINVAL)) => Error::Kernel {
                feature: "TCX, the hook for packets of a device",
                hint: "Linux 6.6 or newer has it",
            },
            _ => Error::Attach { program: program.name(), target: target_name.to_owned(), source },
        })?;
        pin::replace(link.as_fd(), path)
    }
}
