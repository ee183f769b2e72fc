//! Loading: from the embedded object to pinned maps and programs. Maps of an earlier run are used
//! again, so that a restart or an upgrade forgets no connection.

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use aya::{Ebpf, programs};
use skep_abi::{Config, PortRange, config_flags};

use crate::{
    chunks,
    clock::{self, Clock},
    error::{Error, Result},
    links::Links,
    object::{self, MapLayout},
    pin,
    program::Program,
    sizes::Sizes,
    sweep::{self, Swept, Timeouts},
    sys,
    tables::Tables,
    usage::{Connections, Counted, Usage},
    verifier,
};

/// `BPF_FS_MAGIC`.
const BPFFS: i64 = 0xcafe_4a11;

/// The datapath of a node: its tables and its attachments. Dropping it detaches nothing.
#[derive(Debug)]
pub struct Datapath {
    tables: Tables,
    links: Links,
    counted: Mutex<Counted>,
}

impl Datapath {
    /// Loads the programs with the tables that are pinned under `pin_dir`, makes those that are not
    /// there, and puts the programs in the place of those that earlier runs attached: packets pass
    /// through the old or the new one, never through none.
    ///
    /// `pin_dir` is made if it does not exist; its parent must be on a BPF file system.
    pub fn open_or_load(pin_dir: &Path, sizes: &Sizes) -> Result<Self> {
        Self::open_or_load_some(pin_dir, sizes, |_| true)
    }

    /// As [`Datapath::open_or_load`], but of the programs only those that are `wanted` or attached: the
    /// kernel's verifier takes most of the time that loading takes.
    pub fn open_or_load_some(
        pin_dir: &Path,
        sizes: &Sizes,
        wanted: impl Fn(Program) -> bool + Sync,
    ) -> Result<Self> {
        // In a thread whose heap goes with it: what loading takes for a moment is a multiple of what a node's
        // agent takes at rest.
        thread::scope(|scope| {
            let load = scope.spawn(|| Self::load(pin_dir, sizes, &wanted));
            load.join().expect("loading does not panic")
        })
    }

    fn load(
        pin_dir: &Path,
        sizes: &Sizes,
        wanted: &(impl Fn(Program) -> bool + Sync),
    ) -> Result<Self> {
        prepare(pin_dir)?;
        let maps = object::maps()?;
        object::check(&maps)?;
        check_layouts(&maps, pin_dir)?;
        // Measuring the clock is waiting, and so costs nothing beside the rest.
        let ticks_per_s = thread::spawn(clock::ticks_per_s);
        let mut ebpf = load(&maps, pin_dir, sizes)?;
        chunks::begin(&pin::maps_dir(pin_dir))?;
        let links = Links::open(pin_dir);
        let attached = links.programs()?;
        let wanted = |program| wanted(program) || attached.contains(&program);
        load_programs(&mut ebpf, pin_dir, wanted)?;
        let tables = Tables::open(pin_dir)?;
        fill_config(&tables, ticks_per_s)?;
        links.upgrade()?;
        Ok(Self { tables, links, counted: Mutex::default() })
    }

    /// The tables and attachments of a datapath that another process loaded.
    pub fn open_pinned(pin_dir: &Path) -> Result<Self> {
        let (tables, links) = (Tables::open(pin_dir)?, Links::open(pin_dir));
        Ok(Self { tables, links, counted: Mutex::default() })
    }

    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Removes the flows of both families that have ended or fallen silent, and counts what stays. To be
    /// called every few seconds.
    pub fn sweep(&self, timeouts: &Timeouts) -> Result<Swept> {
        let clock = Clock::new()?;
        let ticks_per_s = self.tables.config()?.ticks_per_s;
        let (v4, census4) = sweep::sweep(&self.tables.v4, &clock, ticks_per_s, timeouts)?;
        let (v6, census6) = sweep::sweep(&self.tables.v6, &clock, ticks_per_s, timeouts)?;
        let mut counted = self.counted().clone();
        counted.renew(&self.tables, &census4, &census6)?;
        *self.counted() = counted;
        Ok(Swept { kept: v4.kept + v6.kept, removed: v4.removed + v6.removed })
    }

    /// How full the tables were that programs fill, when flows were last swept.
    pub fn usage(&self) -> Vec<Usage> {
        self.counted().usage()
    }

    /// The answered connections of IPv4 and of IPv6 then.
    pub fn connections(&self) -> [Connections; 2] {
        self.counted().connections()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // It is only ever replaced as a whole.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attachments.
    pub fn links(&self) -> &Links {
        &self.links
    }
}

/// Makes the folders.
fn prepare(pin_dir: &Path) -> Result<()> {
    let error = |source| Error::Pin { action: "make", path: pin_dir.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(pin_dir).map_err(error)?;
    if !is_bpffs(pin_dir).map_err(error)? {
        return Err(Error::NotBpffs(pin_dir.to_path_buf()));
    }
    for dir in [pin::maps_dir(pin_dir), pin::programs_dir(pin_dir), pin::links_dir(pin_dir)] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(error)?;
    }
    Ok(())
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    sys::file_system(path).map(|magic| magic == BPFFS)
}

/// Refuses pinned maps of another layout before anything is changed.
fn check_layouts(maps: &[MapLayout], pin_dir: &Path) -> Result<()> {
    let dir = pin::maps_dir(pin_dir);
    for map in maps {
        let path = dir.join(&map.name);
        if path.exists() {
            let fd = pin::open(&path)?;
            let info = sys::map_info(fd.as_fd()).map_err(|source| Error::Pin {
                action: "inspect",
                path: path.clone(),
                source,
            })?;
            map.compare(&info, path)?;
        }
    }
    Ok(())
}

fn load(maps: &[MapLayout], pin_dir: &Path, sizes: &Sizes) -> Result<Ebpf> {
    let paths: Vec<PathBuf> =
        maps.iter().map(|map| pin::maps_dir(pin_dir).join(&map.name)).collect();
    let mut loader = object::loader();
    for (map, path) in maps.iter().zip(&paths) {
        loader.map_pin_path(&map.name, path.as_path());
        if let Some(entries) = sizes.entries(&map.name) {
            loader.map_max_entries(&map.name, entries);
        }
    }
    Ok(loader.load(object::bytes())?)
}

/// Hands the programs to the kernel and pins them, as many at a time as there are processors: the kernel
/// takes its time to verify each.
fn load_programs(ebpf: &mut Ebpf, pin_dir: &Path, wanted: impl Fn(Program) -> bool) -> Result<()> {
    let known = |(name, loaded)| {
        let program = Program::ALL.into_iter().find(|program| program.name() == name);
        program.map(|program| (program, loaded))
    };
    let mut waiting: Vec<_> = ebpf.programs_mut().filter_map(known).collect();
    for program in Program::ALL {
        if !waiting.iter().any(|(waits, _)| *waits == program) {
            return Err(Error::Abi(format!("program {} is not in the object", program.name())));
        }
    }
    waiting.retain(|(program, _)| wanted(*program));
    // The large ones stand first in the list of programs, and are taken first.
    waiting.sort_by_key(|(program, _)| std::cmp::Reverse(*program));
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some((program, loaded)) = next() {
            load_program(loaded, program, pin_dir)?;
        }
        Ok(())
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(Program::ALL.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("workers do not panic"))
    })
}

/// Hands a program to the kernel and pins it.
fn load_program(loaded: &mut programs::Program, program: Program, pin_dir: &Path) -> Result<()> {
    verifier::hand_over(loaded, program)?;
    let fd = loaded.fd().map_err(|source| verifier::refused(program, source))?;
    pin::replace(fd.as_fd(), &pin::programs_dir(pin_dir).join(program.name()))
}

/// Gives a fresh `config` what does not depend on the cluster.
fn fill_config(tables: &Tables, ticks_per_s: JoinHandle<Result<u32>>) -> Result<()> {
    let mut config = tables.config()?;
    if config.hash_seed == 0 {
        config = Config {
            ticks_per_s: ticks_per_s.join().expect("measuring does not panic")?,
            hash_seed: clock::seed(),
            snat_ports: PortRange { min: 10_000, max: 29_999 },
            node_ports: PortRange { min: 30_000, max: 32_767 },
            flags: config_flags::MASQUERADE,
            ..config
        };
    }
    config.netns_cookie = sys::netns_cookie().map_err(Error::Namespace)?;
    tables.set_whole_config(&config)
}
