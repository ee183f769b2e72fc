//! Which pods are attached, on disk: what the CNI plugin knows from one call to the next.
//!
//! One file under one lock. It lies where a reboot empties it, as a reboot removes the devices that it
//! speaks of. It is replaced whole, so a crash leaves the old state or the new one.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::netlink::Mac;
use crate::pool;

/// Names an attachment for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentId {
    /// The sandbox, as the runtime calls it.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The device inside it.
    pub ifname: String,
}

/// A port of the node that leads to a port of the pod, in the words of the runtimes' convention.
/// containerd writes their first letters large: readers in Go take either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// The node's port.
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    /// The pod's port.
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`, in any case.
    #[serde(alias = "Protocol")]
    pub protocol: String,
    /// The one address of the node that it is for; all when empty or unspecified.
    #[serde(
        default,
        rename = "hostIP",
        alias = "HostIP",
        skip_serializing_if = "String::is_empty"
    )]
    pub host_ip: String,
}

/// One pod's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its name.
    #[serde(flatten)]
    pub id: AttachmentId,
    /// The device on the node's side.
    pub host_device: String,
    /// The sandbox's network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<PathBuf>,
    /// The link-layer address of the pod's device, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The pod's addresses, one per family.
    pub addresses: Vec<IpAddr>,
    /// Ports of the node that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_mappings: Vec<PortMapping>,
    /// Namespace and name of the pod, when the runtime told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    attachments: Vec<Attachment>,
    /// The address handed out last in each range.
    #[serde(default)]
    last: Vec<IpAddr>,
}

/// The attachments of a node, locked against every other process while this value lives.
#[derive(Debug)]
pub struct Attachments {
    file: PathBuf,
    state: State,
    _lock: Flock<File>,
}

impl Attachments {
    /// Waits for the lock and reads the state in `dir`, which is created if need be.
    pub fn lock(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let lock = dir.join("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let open = open.map_err(Error::file("open", &lock))?;
        let held = Flock::lock(open, FlockArg::LockExclusive)
            .map_err(|(_, errno)| Error::file("lock", &lock)(errno.into()))?;
        let file = dir.join("attachments.json");
        Ok(Self { state: read(&file)?, file, _lock: held })
    }

    /// What is attached, without a lock: for those who only look.
    pub fn peek(dir: &Path) -> Result<Vec<Attachment>> {
        Ok(read(&dir.join("attachments.json"))?.attachments)
    }

    /// When the state was last changed, without a lock; `None` before the first time.
    pub fn changed(dir: &Path) -> Option<std::time::SystemTime> {
        fs::metadata(dir.join("attachments.json")).and_then(|meta| meta.modified()).ok()
    }

    /// All attachments.
    pub fn iter(&self) -> impl Iterator<Item = &Attachment> {
        self.state.attachments.iter()
    }

    /// The attachment with this name.
    pub fn get(&self, id: &AttachmentId) -> Option<&Attachment> {
        self.iter().find(|attachment| attachment.id == *id)
    }

    /// Takes one free address of each range. Nothing is written before [`Attachments::insert`].
    pub fn allocate(&self, ranges: &[IpNet]) -> Result<Vec<IpAddr>> {
        let taken: BTreeSet<IpAddr> = self.iter().flat_map(|a| a.addresses.clone()).collect();
        let last = |range: IpNet| self.state.last.iter().copied().find(|a| range.contains(a));
        let allocate = |&range: &IpNet| {
            pool::next_address(range, last(range), &taken).ok_or_else(|| Error::NoAddress {
                range,
                used: taken.iter().filter(|address| range.contains(*address)).count(),
            })
        };
        ranges.iter().map(allocate).collect()
    }

    /// Adds an attachment and writes the state.
    pub fn insert(&mut self, attachment: Attachment) -> Result<()> {
        self.state.last.clone_from(&attachment.addresses);
        self.state.attachments.retain(|other| other.id != attachment.id);
        self.state.attachments.push(attachment);
        self.write()
    }

    /// Forgets an attachment and writes the state; its addresses are free again.
    pub fn remove(&mut self, id: &AttachmentId) -> Result<Option<Attachment>> {
        let Some(at) = self.state.attachments.iter().position(|a| a.id == *id) else {
            return Ok(None);
        };
        let removed = self.state.attachments.swap_remove(at);
        self.write()?;
        Ok(Some(removed))
    }

    fn write(&self) -> Result<()> {
        let json = serde_json::to_vec_pretty(&self.state)
            .map_err(|source| Error::Damaged { path: self.file.clone(), source })?;
        replace_file(&self.file, &json)
    }
}

fn read(file: &Path) -> Result<State> {
    match fs::read(file) {
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|source| Error::Damaged { path: file.to_path_buf(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(Error::file("read", file)(error)),
    }
}

/// Puts `content` in the place of `file` in one step.
pub(crate) fn replace_file(file: &Path, content: &[u8]) -> Result<()> {
    // Not the final extension: runtimes read every *.conf, *.conflist and *.json of a folder.
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let write = || {
        let mut to = File::create(&fresh)?;
        to.write_all(content)?;
        to.sync_all()?;
        fs::rename(&fresh, file)
    };
    write().map_err(Error::file("write", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(container_id: &str) -> AttachmentId {
        AttachmentId { container_id: container_id.into(), ifname: "eth0".into() }
    }

    fn attach(attachments: &mut Attachments, container_id: &str, range: &str) -> Result<IpAddr> {
        let addresses = attachments.allocate(&[range.parse().expect("a range")])?;
        let address = addresses[0];
        attachments.insert(Attachment {
            id: id(container_id),
            host_device: format!("skep{container_id}"),
            namespace: None,
            mac: None,
            addresses,
            port_mappings: Vec::new(),
            pod: None,
        })?;
        Ok(address)
    }

    #[test]
    fn what_is_attached_survives_the_process() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut attachments = Attachments::lock(dir.path()).expect("locked");
        let first = attach(&mut attachments, "a", "10.244.3.0/24").expect("room");
        drop(attachments);

        let mut attachments = Attachments::lock(dir.path()).expect("locked again");
        assert_eq!(attachments.get(&id("a")).map(|a| a.addresses.clone()), Some(vec![first]));
        let second = attach(&mut attachments, "b", "10.244.3.0/24").expect("room");
        assert_ne!(first, second);
        assert!(attachments.remove(&id("a")).expect("written").is_some());
        assert!(attachments.remove(&id("a")).expect("written").is_none());
        let third = attach(&mut attachments, "c", "10.244.3.0/24").expect("room");
        assert_ne!(first, third, "a returned address rests");
    }

    #[test]
    fn a_full_range_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut attachments = Attachments::lock(dir.path()).expect("locked");
        attach(&mut attachments, "a", "10.244.3.0/30").expect("room for one");
        let error = attach(&mut attachments, "b", "10.244.3.0/30").expect_err("full");
        assert_eq!(error.to_string(), "no free address in 10.244.3.0/30: 1 in use");
    }

    #[test]
    fn a_damaged_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("attachments.json");
        fs::write(&file, "{\"attachments\": [").expect("written");
        assert!(matches!(Attachments::lock(dir.path()), Err(Error::Damaged { .. })));
        assert_eq!(fs::read_to_string(&file).expect("still there"), "{\"attachments\": [");
    }

    #[test]
    fn parallel_processes_get_different_addresses() {
        let dir = tempfile::tempdir().expect("a folder");
        let attach_one = |n: u32| {
            let mut attachments = Attachments::lock(dir.path()).expect("locked");
            attach(&mut attachments, &n.to_string(), "10.244.3.0/24").expect("room")
        };
        let addresses: BTreeSet<IpAddr> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..20).map(|n| scope.spawn(move || attach_one(n))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(addresses.len(), 20);
    }
}
