//! A small program around one that is measured: the kernel does not put a packet back between the
//! repeats of a test run, so this one does, and then jumps to the other.
//!
//! It undoes what was added in front, writes the packet anew and, if wanted, gives it another tuple
//! each time. What it costs is in every figure; a run with a program that does nothing tells how much.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use crate::sys::{self, Instruction, ProgramType};

/// Flows that a measurement visits; each repeat is a packet of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// How many; a power of two. Flow number `n` has the source port `n % 65536`, and if they are more, the
    /// two bytes at `high_offset` are `n / 65536`; numbers start again after that many.
    pub count: u32,
    /// Offset of the source port in the packet.
    pub port_offset: i16,
    /// Offset of two bytes of the source address.
    pub high_offset: i16,
}

/// Odd, and far from small: neighbours in the order of visits are not neighbours in that of openings.
const STRIDE: i32 = 40_503;

/// The harness, and what must live as long as it does.
pub(crate) struct Harness {
    program: OwnedFd,
    /// The kernel empties a table of programs when its last descriptor closes.
    _programs: OwnedFd,
    _counter: Option<OwnedFd>,
}

impl Harness {
    /// Around `program`, for `packet`.
    pub(crate) fn new(
        kind: ProgramType,
        program: BorrowedFd<'_>,
        packet: &[u8],
        flows: Option<Flows>,
    ) -> io::Result<Self> {
        let programs = sys::program_array(program)?;
        let counter = flows.map(|_| sys::counter()).transpose()?;
        let mut code = restore(kind, packet);
        if let (Some(flows), Some(counter)) = (flows, &counter) {
            code.extend(vary(&flows, counter.as_fd()));
        }
        code.extend(jump(programs.as_fd()));
        let program = sys::load(kind, &code)?;
        Ok(Self { program, _programs: programs, _counter: counter })
    }

    /// The program to run.
    pub(crate) fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// Brings the packet to its length and writes its bytes; register 6 is the context, 7 the packet.
fn restore(kind: ProgramType, packet: &[u8]) -> Vec<Instruction> {
    const XDP_ADJUST_HEAD: i32 = 44;
    const SKB_ADJUST_ROOM: i32 = 50;
    const BEHIND_ETHERNET: i32 = 1;
    /// Offsets of start and end in the two contexts.
    const SKB_DATA: (i16, i16) = (76, 80);
    const XDP_DATA: (i16, i16) = (0, 4);
    let len = packet.len() as i32;
    let (start, end) = if kind == ProgramType::Xdp { XDP_DATA } else { SKB_DATA };
    let shrink = if kind == ProgramType::Xdp {
        vec![Instruction::copy(2, 8), Instruction::call(XDP_ADJUST_HEAD)]
    } else {
        vec![
            Instruction::set(2, 0),
            Instruction::subtract(2, 8),
            Instruction::set(3, BEHIND_ETHERNET),
            Instruction::set(4, 0),
            Instruction::call(SKB_ADJUST_ROOM),
        ]
    };
    let mut code = vec![
        Instruction::copy(6, 1),
        Instruction::load_u32(7, 6, start),
        Instruction::load_u32(8, 6, end),
        Instruction::subtract(8, 7),
        Instruction::add(8, -len),
        Instruction::skip_if_equal(8, 0, shrink.len() as i16 + 1),
        Instruction::copy(1, 6),
    ];
    code.extend(shrink);
    code.extend([
        Instruction::load_u32(7, 6, start),
        Instruction::load_u32(8, 6, end),
        Instruction::copy(2, 7),
        Instruction::add(2, len),
        // Away when the packet is shorter, which it never is.
        Instruction::skip_unless_greater(2, 8, 2),
        Instruction::set(0, 0),
        Instruction::exit(),
    ]);
    let (words, rest) = packet.as_chunks::<4>();
    for (offset, word) in (0..).step_by(4).zip(words) {
        code.push(Instruction::store_u32(7, offset, i32::from_ne_bytes(*word)));
    }
    for (offset, byte) in (words.len() as i16 * 4..).zip(rest) {
        code.push(Instruction::store_u8(7, offset, i32::from(*byte)));
    }
    code
}

/// Gives the packet the next flow's tuple.
fn vary(flows: &Flows, counter: BorrowedFd<'_>) -> Vec<Instruction> {
    let mut code = Vec::from(Instruction::map_value(1, counter));
    code.extend([
        Instruction::load_u32(2, 1, 0),
        Instruction::copy(3, 2),
        Instruction::add(3, 1),
        Instruction::store_register_u32(1, 0, 3),
        Instruction::multiply(2, STRIDE),
        Instruction::and(2, (flows.count - 1).cast_signed()),
        Instruction::copy(3, 2),
        Instruction::to_wire_u16(2),
        Instruction::store_register_u16(7, flows.port_offset, 2),
    ]);
    if flows.count > 1 << 16 {
        code.extend([
            Instruction::shift_right(3, 16),
            Instruction::to_wire_u16(3),
            Instruction::store_register_u16(7, flows.high_offset, 3),
        ]);
    }
    code
}

fn jump(programs: BorrowedFd<'_>) -> Vec<Instruction> {
    const TAIL_CALL: i32 = 12;
    let mut code = vec![Instruction::copy(1, 6)];
    code.extend(Instruction::map(2, programs));
    code.extend([Instruction::set(3, 0), Instruction::call(TAIL_CALL)]);
    code.extend([Instruction::set(0, 0), Instruction::exit()]);
    code
}
