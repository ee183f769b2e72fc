//! Running the pinned programs over made packets, for tests, measurements and `skep net explain`.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use crate::{
    error::{Error, Result},
    harness::{Flows, Harness},
    pin,
    program::{Kind, Program},
    sys::{self, Instruction, ProgramType},
};

/// Room for what a program leaves of a packet.
const ROOM: usize = 4096;
/// Bytes of the kernel's `__sk_buff`.
const SK_BUFF_BYTES: usize = 192;
/// Where the device stands in it (`ifindex`).
const IFINDEX_OFFSET: usize = 40;

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The number it returned.
    pub verdict: u32,
    /// What it left of the packet.
    pub packet: Vec<u8>,
    /// Mean time of a run, in ns.
    pub duration_ns: u32,
}

/// A program to run over packets. Changes of the tables are real.
#[derive(Debug)]
pub struct TestRun {
    program: Program,
    fd: OwnedFd,
}

impl TestRun {
    /// Opens a program that is pinned under `pin_dir`.
    ///
    /// # Panics
    /// When the program is one for sockets: the kernel offers no test run of those.
    pub fn open(pin_dir: &Path, program: Program) -> Result<Self> {
        assert_ne!(program.kind(), Kind::Socket, "socket programs have no test run");
        let fd = pin::open(&pin::programs_dir(pin_dir).join(program.name()))?;
        Ok(Self { program, fd })
    }

    /// Runs the program `repeat` times over `packet` as if it had come by the device `ifindex`, which
    /// must exist in this network namespace; XDP programs find their packets on loopback.
    ///
    /// The kernel does not restore the packet between repeats.
    pub fn run(&self, packet: &[u8], ifindex: u32, repeat: u32) -> Result<Outcome> {
        run(self.program, self.fd.as_fd(), packet, ifindex, repeat)
    }

    /// Mean time in ns of the program and of one that does nothing, both run `repeat` times over `packet`
    /// as it is, or over it as a packet of each of `flows` in turn.
    ///
    /// The kernel does not restore the packet between repeats, so a small program does that and then
    /// jumps to the one that is measured. What it costs is in both figures: only their difference is of
    /// use.
    pub fn measure(
        &self,
        packet: &[u8],
        ifindex: u32,
        flows: Option<Flows>,
        repeat: u32,
    ) -> Result<Measured> {
        let failed = |source| Error::TestRun { program: self.program.name(), source };
        let kind = self.program_type();
        let nothing = [Instruction::set(0, 0), Instruction::exit()];
        let nothing = sys::load(kind, &nothing).map_err(failed)?;
        let mut out = vec![0; ROOM];
        let context = context(self.program, ifindex);
        let mut runs = [(0, 0); 2];
        for (run, program) in runs.iter_mut().zip([self.fd.as_fd(), nothing.as_fd()]) {
            let harness = Harness::new(kind, program, packet, flows).map_err(failed)?;
            let done = sys::test_run(harness.program(), packet, &context, repeat, &mut out);
            let done = done.map_err(failed)?;
            *run = (done.duration_ns, done.verdict);
        }
        let [(ns, verdict), (nothing_ns, _)] = runs;
        Ok(Measured { ns, nothing_ns, verdict })
    }

    fn program_type(&self) -> ProgramType {
        match self.program.kind() {
            Kind::Xdp => ProgramType::Xdp,
            Kind::Tcx | Kind::Socket => ProgramType::SchedCls,
        }
    }

    /// Instructions that the verifier walked to accept the program.
    pub fn verified_instructions(&self) -> Result<u32> {
        sys::verified_insns(self.fd.as_fd())
            .map_err(|source| Error::TestRun { program: self.program.name(), source })
    }
}

/// Runs a program.
pub(crate) fn run(
    program: Program,
    fd: BorrowedFd<'_>,
    packet: &[u8],
    ifindex: u32,
    repeat: u32,
) -> Result<Outcome> {
    let context = context(program, ifindex);
    let mut out = vec![0; ROOM.max(packet.len())];
    let done = sys::test_run(fd, packet, &context, repeat, &mut out)
        .map_err(|source| Error::TestRun { program: program.name(), source })?;
    out.truncate(done.data_len);
    Ok(Outcome { verdict: done.verdict, packet: out, duration_ns: done.duration_ns })
}

/// The kernel's context of a packet that came by a device.
fn context(program: Program, ifindex: u32) -> Vec<u8> {
    let mut context = vec![];
    if ifindex != 0 && program.kind() == Kind::Tcx {
        context = vec![0; SK_BUFF_BYTES];
        context[IFINDEX_OFFSET..IFINDEX_OFFSET + 4].copy_from_slice(&ifindex.to_ne_bytes());
    }
    context
}

/// Two mean times of the same harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// With the program.
    pub ns: u32,
    /// With one that does nothing in its place.
    pub nothing_ns: u32,
    /// The number that the program returned for the last packet.
    pub verdict: u32,
}
