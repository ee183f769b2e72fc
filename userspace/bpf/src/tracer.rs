//! The node's programs in a second load that is bound to the live tables, writes nothing, and tells each
//! look-up: what `skep net explain` runs over made packets. It is attached nowhere.

use std::{
    collections::HashSet,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
    programs,
};
use skep_abi::Trace;

use crate::{
    error::{Error, Result},
    object, pin,
    program::{Kind, Program},
    record::Record as _,
    sys,
    test_run::{self, Outcome},
};

/// Tables that this load has of its own: what is counted, reported and learned here must not be taken for
/// traffic. The ring carries the steps.
const OWN: [&str; 4] = ["counters", "events", "listeners", "next_hops"];

/// The programs.
pub struct Tracer {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    loaded: HashSet<Program>,
}

impl Tracer {
    /// Takes the programs to the tables that are pinned under `pin_dir`; makes and changes none of them.
    pub fn open(pin_dir: &Path) -> Result<Self> {
        let maps = object::maps()?;
        let shared: Vec<(&str, PathBuf)> = maps
            .iter()
            .map(|map| map.name.as_str())
            .filter(|name| !OWN.contains(name))
            .map(|name| (name, pin::maps_dir(pin_dir).join(name)))
            .collect();
        let mut loader = object::loader();
        for (name, path) in &shared {
            // What is not there would be made.
            pin::open(path)?;
            loader.map_pin_path(name, path.as_path());
        }
        let mut ebpf = loader.load(object::traced_bytes())?;
        let ring = ebpf
            .take_map("events")
            .and_then(|map| RingBuf::try_from(map).ok())
            .ok_or_else(|| Error::Abi("table events is not in the object".to_owned()))?;
        Ok(Self { ebpf, ring, loaded: HashSet::new() })
    }

    /// Runs a program over `packet` as if it had come by the device `ifindex`; its steps, the verdict the
    /// last of them.
    ///
    /// # Panics
    /// When the program is one for sockets: the kernel offers no test run of those.
    pub fn run(
        &mut self,
        program: Program,
        packet: &[u8],
        ifindex: u32,
    ) -> Result<(Outcome, Vec<Trace>)> {
        self.load(program)?;
        while self.ring.next().is_some() {}
        let outcome = test_run::run(program, self.fd(program)?, packet, ifindex, 1)?;
        let mut steps = Vec::new();
        while let Some(bytes) = self.ring.next() {
            steps.extend(Trace::from_prefix(&bytes));
        }
        Ok((outcome, steps))
    }

    /// Instructions that the verifier walked to accept a program.
    pub fn verified_instructions(&mut self, program: Program) -> Result<u32> {
        self.load(program)?;
        sys::verified_insns(self.fd(program)?)
            .map_err(|source| Error::TestRun { program: program.name(), source })
    }

    /// A program that is loaded.
    fn fd(&self, program: Program) -> Result<BorrowedFd<'_>> {
        let name = program.name();
        let missing = || Error::Abi(format!("program {name} is not in the object"));
        let fd = self.ebpf.program(name).ok_or_else(missing)?.fd();
        fd.map(AsFd::as_fd)
            .map_err(|source| Error::Program { program: name, source: Box::new(source) })
    }

    /// Hands a program to the kernel, once.
    fn load(&mut self, program: Program) -> Result<()> {
        if !self.loaded.insert(program) {
            return Ok(());
        }
        let name = program.name();
        let missing = || Error::Abi(format!("program {name} is not in the object"));
        let refused = |source| Error::Program { program: name, source: Box::new(source) };
        let loaded = self.ebpf.program_mut(name).ok_or_else(missing)?;
        match program.kind() {
            Kind::Xdp => {
                let xdp: &mut programs::Xdp = loaded.try_into().map_err(refused)?;
                xdp.load().map_err(refused)
            }
            Kind::Tcx => {
                let tc: &mut programs::SchedClassifier = loaded.try_into().map_err(refused)?;
                tc.load().map_err(refused)
            }
            Kind::Socket => panic!("socket programs have no test run"),
        }
    }
}
