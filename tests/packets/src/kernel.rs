//! Running cases on the programs in the kernel, through `BPF_PROG_TEST_RUN`, in a network namespace and
//! on a BPF file system of their own.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::geteuid,
};
use skep_abi::{Family as _, NextHop, RANGE_ALLOWED, V4, V6, next_hop_index};
use skep_bpf::{
    Clock, Datapath, FamilyTables, Kind, Program, Record, Sizes, Table, Tables, TestRun,
};

use crate::{
    case::Fate,
    frame::RECEIVER,
    world::{DEVICES, InConfig, LOOPBACK, NEAR_PEER, NEIGHBOUR, Plan as _, UPLINK, World},
};

/// How the note begins with which XDP hands a packet over to the next hook, in front of the packet.
const NOTE: [u8; 4] = 0x736b_6570_u32.to_ne_bytes();
/// Bytes of that note.
const NOTE_BYTES: usize = 16;
/// `XDP_DROP`.
const XDP_DROP: u32 = 1;
/// `XDP_PASS`.
const XDP_PASS: u32 = 2;
/// `XDP_TX`.
const XDP_TX: u32 = 3;
/// `XDP_REDIRECT`.
const XDP_REDIRECT: u32 = 4;
/// `TCX_NEXT`.
const NEXT: u32 = u32::MAX;
/// `TC_ACT_SHOT`.
const SHOT: u32 = 2;
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

/// A folder with a BPF file system on it; unmounted when dropped.
struct Bpffs(tempfile::TempDir);

impl Bpffs {
    fn mount() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skep-packets-").tempdir()?;
        mount(Some("bpf"), dir.path(), Some("bpf"), MsFlags::empty(), None::<&str>)
            .context("cannot mount a BPF file system")?;
        Ok(Self(dir))
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the mount goes with the thread's namespace.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

/// The programs of one node, loaded.
pub struct KernelNode {
    datapath: Datapath,
    runs: HashMap<Program, TestRun>,
    pin_dir: PathBuf,
    _bpffs: Bpffs,
}

/// A family's tables.
pub trait InTables: InConfig {
    /// Picks them.
    fn of(tables: &Tables) -> &FamilyTables<Self>;
}

impl InTables for V4 {
    fn of(tables: &Tables) -> &FamilyTables<Self> {
        &tables.v4
    }
}

impl InTables for V6 {
    fn of(tables: &Tables) -> &FamilyTables<Self> {
        &tables.v6
    }
}

impl KernelNode {
    /// Moves the calling thread into namespaces of its own, with the devices of the plan, and loads the
    /// programs.
    ///
    /// # Errors
    /// When the caller is not root, or the kernel lacks something.
    pub fn new() -> Result<Self> {
        Self::with_sizes(&Sizes::for_memory(0))
    }

    /// As [`KernelNode::new`], with tables of these sizes.
    pub fn with_sizes(sizes: &Sizes) -> Result<Self> {
        ensure!(geteuid().is_root(), "needs root: eBPF programs are loaded into the kernel");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("cannot make namespaces")?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .context("cannot make mounts private")?;
        let bpffs = Bpffs::mount()?;
        for ifindex in DEVICES {
            make_device(ifindex)?;
        }
        make_neighbour()?;
        let pin_dir = bpffs.0.path().join("node");
        let datapath = Datapath::open_or_load(&pin_dir, sizes)?;
        let mut runs = HashMap::new();
        for program in Program::ALL.into_iter().filter(|program| program.kind() != Kind::Socket) {
            runs.insert(program, TestRun::open(&pin_dir, program)?);
        }
        Ok(Self { datapath, runs, pin_dir, _bpffs: bpffs })
    }

    /// The folder of the pins.
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// The datapath.
    pub fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    /// The program, to run it.
    pub fn program(&self, program: Program) -> &TestRun {
        &self.runs[&program]
    }

    /// Fills the tables with those of a world, after emptying them.
    pub fn set<F: InTables>(&self, world: &World<F>) -> Result<()> {
        let all = self.datapath.tables();
        let tables = F::of(all);
        for table in [&tables.flows, &tables.embryos, &tables.snat] {
            empty(table)?;
        }
        empty(&tables.services)?;
        empty(&tables.endpoints)?;
        empty(&tables.nodes)?;
        empty(&tables.sources)?;
        empty(&tables.fragments)?;
        empty(&tables.ranges)?;
        all.slots.write(0, &world.slots)?;
        for (id, backend) in (1..).zip(&world.backends) {
            tables.backends.set(id, backend)?;
        }
        for (index, peer) in (1..).zip(&world.peers) {
            all.peers.insert(&index, peer)?;
        }
        tables.services.insert_all(&world.services)?;
        tables.endpoints.insert_all(&world.endpoints)?;
        tables.nodes.insert_all(&world.nodes)?;
        for range in &world.ranges {
            tables.ranges.insert(range, &RANGE_ALLOWED)?;
        }
        all.update_config(|config| *config = world.config)?;
        Ok(())
    }

    /// Gives the node's device a way to the world, too.
    pub fn reach_world(&self) -> Result<()> {
        let device = format!("dev{UPLINK}");
        for near in near_nodes() {
            ip(&["route", "replace", "default", "via", &near, "dev", &device, "onlink"])?;
        }
        Ok(())
    }

    /// Writes what XDP programs learn of the way to the near node when the device that it is reached by
    /// is the one that packets come in by, as on a node with one device.
    pub fn near_by_same_device(&self) -> Result<()> {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (NEIGHBOUR, RECEIVER);
        let hop = NextHop {
            ifindex: LOOPBACK,
            asked_ticks: Clock::new()?.ticks()?,
            macs: [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_ne_bytes),
        };
        let table = &self.datapath.tables().next_hops;
        table.insert(&next_hop_index::<V4>(NEAR_PEER), &hop)?;
        table.insert(&next_hop_index::<V6>(NEAR_PEER), &hop)?;
        Ok(())
    }

    /// Whether the number that a program returned means that the packet is sent on, or passed to the
    /// stack because XDP does not reach into pods.
    pub fn is_sent(&self, program: Program, verdict: u32) -> bool {
        match program {
            Program::Xdp => [XDP_TX, XDP_REDIRECT, XDP_PASS].contains(&verdict),
            _ => verdict == REDIRECT,
        }
    }

    /// What becomes of a packet, and what is left of it.
    pub fn run(&self, program: Program, ifindex: u32, packet: &[u8]) -> Result<(Fate, Vec<u8>)> {
        let outcome = self.program(program).run(packet, ifindex, 1)?;
        let fate = match (program, outcome.verdict) {
            (Program::Xdp, XDP_PASS) => Fate::Pass,
            (Program::Xdp, XDP_DROP) => Fate::Drop,
            (Program::Xdp, XDP_TX | XDP_REDIRECT) => Fate::Redirect,
            (_, NEXT) => Fate::Pass,
            (_, SHOT) => Fate::Drop,
            (_, REDIRECT) => Fate::Redirect,
            (_, other) => bail!("{} returned {other}", program.name()),
        };
        let mut packet = outcome.packet;
        if program == Program::Xdp && packet.starts_with(&NOTE) {
            packet.drain(..NOTE_BYTES);
        }
        Ok((fate, packet))
    }
}

fn empty<K: Record, V: Record>(table: &Table<K, V>) -> Result<()> {
    for (key, _) in table.entries()? {
        table.remove(&key)?;
    }
    Ok(())
}

/// Makes a device with this index; its peer stays unused.
fn make_device(ifindex: u32) -> Result<()> {
    let (device, peer) = (format!("dev{ifindex}"), format!("peer{ifindex}"));
    let index = ifindex.to_string();
    ip(&["link", "add", &device, "index", &index, "type", "veth", "peer", "name", &peer])
}

/// Lets the kernel know where the near node is: XDP programs ask it.
fn make_neighbour() -> Result<()> {
    let (device, peer) = (format!("dev{UPLINK}"), format!("peer{UPLINK}"));
    ip(&["link", "set", &device, "address", &mac(RECEIVER)])?;
    for device in ["lo", &device, &peer] {
        ip(&["link", "set", device, "up"])?;
    }
    for near in near_nodes() {
        ip(&["route", "replace", &near, "dev", &device])?;
        let permanent = ["lladdr", &mac(NEIGHBOUR), "dev", &device, "nud", "permanent"];
        ip(&[&["neigh", "replace", &near][..], &permanent].concat())?;
    }
    for key in ["ipv4/conf/all/forwarding", "ipv6/conf/all/forwarding"] {
        std::fs::write(Path::new("/proc/sys/net").join(key), "1")
            .with_context(|| format!("cannot set {key}"))?;
    }
    Ok(())
}

/// The near node's address in each family.
fn near_nodes() -> [String; 2] {
    [V4::addr_to_ip(V4::near_node()), V6::addr_to_ip(V6::near_node())].map(|ip| ip.to_string())
}

fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn ip(words: &[&str]) -> Result<()> {
    let output =
        Command::new("ip").args(words).output().context("cannot run ip: install iproute2")?;
    ensure!(output.status.success(), "ip: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Everything that the tables of a family hold, and the counters, in lines.
pub fn dump<F: InTables>(tables: &Tables) -> Result<Vec<String>> {
    fn of<K: Record + std::fmt::Debug, V: Record + std::fmt::Debug>(
        table: &Table<K, V>,
        lines: &mut Vec<String>,
    ) -> Result<()> {
        let entries = table.entries()?;
        lines.extend(entries.iter().map(|entry| format!("{}: {entry:?}", table.name())));
        Ok(())
    }
    let (mut lines, family) = (Vec::new(), F::of(tables));
    of(&family.services, &mut lines)?;
    of(&family.sources, &mut lines)?;
    of(&family.flows, &mut lines)?;
    of(&family.embryos, &mut lines)?;
    of(&family.snat, &mut lines)?;
    of(&family.endpoints, &mut lines)?;
    of(&family.nodes, &mut lines)?;
    of(&family.ranges, &mut lines)?;
    of(&family.sockets, &mut lines)?;
    for counter in tables.counters.all()? {
        lines.push(format!("counters: {counter:?}"));
    }
    lines.sort();
    Ok(lines)
}
