//! Running the pinned programs over made packets, for tests, measurements and `skep net explain`.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use crate::{
    error::{Error, Result},
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
        let context = self.context(ifindex);
        let mut out = vec![0; ROOM.max(packet.len())];
        let done = sys::test_run(self.fd.as_fd(), packet, &context, repeat, &mut out)
            .map_err(|source| Error::TestRun { program: self.program.name(), source })?;
        out.truncate(done.data_len);
        Ok(Outcome { verdict: done.verdict, packet: out, duration_ns: done.duration_ns })
    }

    /// Mean time in ns of the program and of one that does nothing, both run `repeat` times over `packet`
    /// as it is.
    ///
    /// The kernel does not restore the packet between repeats, so a small program does that and then
    /// jumps to the one that is measured. What it costs is in both figures: only their difference is of
    /// use.
    pub fn measure(&self, packet: &[u8], ifindex: u32, repeat: u32) -> Result<Measured> {
        let failed = |source| Error::TestRun { program: self.program.name(), source };
        let kind = self.program_type();
        let nothing = [Instruction::set(0, 0), Instruction::exit()];
        let nothing = sys::load(kind, &nothing).map_err(failed)?;
        let mut out = vec![0; ROOM];
        let context = self.context(ifindex);
        let mut times = [0; 2];
        for (time, program) in times.iter_mut().zip([self.fd.as_fd(), nothing.as_fd()]) {
            let (harness, _array) = harness(kind, program, packet).map_err(failed)?;
            let done = sys::test_run(harness.as_fd(), packet, &context, repeat, &mut out);
            *time = done.map_err(failed)?.duration_ns;
        }
        Ok(Measured { ns: times[0], nothing_ns: times[1] })
    }

    fn program_type(&self) -> ProgramType {
        match self.program.kind() {
            Kind::Xdp => ProgramType::Xdp,
            Kind::Tcx | Kind::Socket => ProgramType::SchedCls,
        }
    }

    fn context(&self, ifindex: u32) -> Vec<u8> {
        let mut context = vec![];
        if ifindex != 0 && self.program.kind() == Kind::Tcx {
            context = vec![0; SK_BUFF_BYTES];
            context[IFINDEX_OFFSET..IFINDEX_OFFSET + 4].copy_from_slice(&ifindex.to_ne_bytes());
        }
        context
    }

    /// Instructions that the verifier walked to accept the program.
    pub fn verified_instructions(&self) -> Result<u32> {
        sys::verified_insns(self.fd.as_fd())
            .map_err(|source| Error::TestRun { program: self.program.name(), source })
    }
}

/// Two mean times of the same harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// With the program.
    pub ns: u32,
    /// With one that does nothing in its place.
    pub nothing_ns: u32,
}

/// A program that puts `packet` back as it was and jumps to `program`, and the table it jumps through.
fn harness(
    kind: ProgramType,
    program: BorrowedFd<'_>,
    packet: &[u8],
) -> io::Result<(OwnedFd, OwnedFd)> {
    const SKB_STORE_BYTES: i32 = 9;
    const XDP_STORE_BYTES: i32 = 190;
    const TAIL_CALL: i32 = 12;
    let array = sys::program_array(program)?;
    let words: Vec<i32> = packet
        .chunks(4)
        .map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            i32::from_ne_bytes(word)
        })
        .collect();
    let base = -(words.len() as i16 * 4);
    let mut code = vec![Instruction::copy(6, 1)];
    code.extend((0..).zip(&words).map(|(place, word)| Instruction::push(base + place * 4, *word)));
    code.extend([Instruction::set(2, 0), Instruction::copy(3, 10)]);
    code.extend([Instruction::add(3, i32::from(base)), Instruction::set(4, packet.len() as i32)]);
    if kind == ProgramType::SchedCls {
        code.extend([Instruction::set(5, 0), Instruction::call(SKB_STORE_BYTES)]);
    } else {
        code.push(Instruction::call(XDP_STORE_BYTES));
    }
    code.push(Instruction::copy(1, 6));
    code.extend(Instruction::map(2, array.as_fd()));
    code.extend([Instruction::set(3, 0), Instruction::call(TAIL_CALL)]);
    code.extend([Instruction::set(0, 0), Instruction::exit()]);
    let harness = sys::load(kind, &code)?;
    // The kernel empties a table of programs when its last descriptor closes: it lives as long.
    Ok((harness, array))
}

/// Mean time in ns of an XDP program that passes every packet: what all others are measured against.
pub fn trivial_ns(repeat: u32) -> Result<u32> {
    const XDP_PASS: i32 = 2;
    let failed = |source| Error::TestRun { program: "trivial", source };
    let program = [Instruction::set(0, XDP_PASS), Instruction::exit()];
    let fd = sys::load(ProgramType::Xdp, &program).map_err(failed)?;
    let done = sys::test_run(fd.as_fd(), &[0; 64], &[], repeat, &mut [0; 64]).map_err(failed)?;
    Ok(done.duration_ns)
}
