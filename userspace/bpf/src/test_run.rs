//! Running the pinned programs over made packets, for tests, measurements and `skep net explain`.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use crate::{
    error::{Error, Result},
    pin,
    program::{Kind, Program},
    sys,
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

    /// Runs the program `repeat` times over `packet` as if it had come by the device `ifindex` (which
    /// must exist in this network namespace; 0: loopback).
    ///
    /// The kernel does not restore the packet between repeats.
    pub fn run(&self, packet: &[u8], ifindex: u32, repeat: u32) -> Result<Outcome> {
        let mut context = vec![];
        if ifindex != 0 && self.program.kind() == Kind::Tcx {
            context = vec![0; SK_BUFF_BYTES];
            context[IFINDEX_OFFSET..IFINDEX_OFFSET + 4].copy_from_slice(&ifindex.to_ne_bytes());
        }
        let mut out = vec![0; ROOM.max(packet.len())];
        let done = sys::test_run(self.fd.as_fd(), packet, &context, repeat, &mut out)
            .map_err(|source| Error::TestRun { program: self.program.name(), source })?;
        out.truncate(done.data_len);
        Ok(Outcome { verdict: done.verdict, packet: out, duration_ns: done.duration_ns })
    }

    /// Mean time in ns of a run over `packet` as it is. Each of `repeat` runs is a call of its own, in
    /// which the kernel runs the program once, so that none sees what another left.
    pub fn run_restored(&self, packet: &[u8], ifindex: u32, repeat: u32) -> Result<u32> {
        let mut total = 0_u64;
        for _ in 0..repeat {
            total += u64::from(self.run(packet, ifindex, 1)?.duration_ns);
        }
        Ok((total / u64::from(repeat.max(1))) as u32)
    }

    /// Instructions that the verifier walked to accept the program.
    pub fn verified_instructions(&self) -> Result<u32> {
        sys::verified_insns(self.fd.as_fd())
            .map_err(|source| Error::TestRun { program: self.program.name(), source })
    }
}

/// Mean time in ns of an XDP program that passes every packet: what all others are measured against.
pub fn trivial_ns(repeat: u32) -> Result<u32> {
    const XDP_PASS: i32 = 2;
    let failed = |source| Error::TestRun { program: "trivial", source };
    let program = [sys::Instruction::result(XDP_PASS), sys::Instruction::exit()];
    let fd = sys::load_xdp(&program).map_err(failed)?;
    let done = sys::test_run(fd.as_fd(), &[0; 64], &[], repeat, &mut [0; 64]).map_err(failed)?;
    Ok(done.duration_ns)
}
