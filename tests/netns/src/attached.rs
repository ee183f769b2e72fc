//! What the kernel tells of a node's pins: which program each link runs, and which programs and maps there
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aya::maps::{MapInfo, loaded_maps};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramInfo, loaded_programs};

use crate::node::Node;

/// What the kernel calls a link, and the program that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attached {
    /// The link: another one was attached anew.
    pub link: u32,
    /// The program.
    pub program: u32,
}

/// The links under a pin folder, by the names of their pins; none where there is no folder.
pub fn attached(pin_dir: &Path) -> BTreeMap<String, Attached> {
    let links = pins(&pin_dir.join("links")).into_iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The pin stays; only the handle goes.
        let link = FdLink::from(PinnedLink::from_pin(&path).expect("a pinned link"));
        let info = link.info().expect("the kernel tells");
        (name, Attached { link: info.id(), program: info.program_id() })
    });
    links.collect()
}

/// Programs and maps by what the kernel calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Objects {
    /// Those under a pin folder.
    pub fn pinned(pin_dir: &Path) -> Self {
        let program = |path| ProgramInfo::from_pin(path).expect("a pinned program").id();
        let map = |path| MapInfo::from_pin(path).expect("a pinned map").id();
        Self {
            programs: pins(&pin_dir.join("programs")).into_iter().map(program).collect(),
            maps: pins(&pin_dir.join("maps")).into_iter().map(map).collect(),
        }
    }

    /// How many programs and maps these are.
    pub fn count(&self) -> (usize, usize) {
        (self.programs.len(), self.maps.len())
    }

    /// Those that are still there.
    pub fn remaining(&self) -> Self {
        // Others may come and go meanwhile.
        let programs = loaded_programs().flatten().map(|program| program.id());
        let maps = loaded_maps().flatten().map(|map| map.id());
        Self {
            programs: programs.filter(|id| self.programs.contains(id)).collect(),
            maps: maps.filter(|id| self.maps.contains(id)).collect(),
        }
    }
}

fn pins(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("a folder").path()).collect()
}

impl Node {
    /// All attachments of the node's agent.
    pub fn attached(&self) -> BTreeMap<String, Attached> {
        attached(&self.pin_dir)
    }
}
