//! The kernel's verifier, asked about one program at a time.

use aya::{Ebpf, programs};

use crate::{
    error::{Error, Result},
    object,
    program::{Kind, Program},
    sizes::Sizes,
};

/// What this kernel's verifier says to a program: the instructions that it walked, or why it refuses.
pub type Judgement = Result<u64>;

/// Loads every program, attaches and pins none. Fails as a whole only where not even the tables can be made.
pub fn judge_all(sizes: &Sizes) -> Result<Vec<(Program, Judgement)>> {
    let maps = object::maps()?;
    let mut loader = object::loader();
    for map in &maps {
        if let Some(entries) = sizes.entries(&map.name) {
            loader.map_max_entries(&map.name, entries);
        }
    }
    let mut ebpf = loader.load(object::bytes())?;
    Ok(Program::ALL.into_iter().map(|program| (program, judge(&mut ebpf, program))).collect())
}

fn judge(ebpf: &mut Ebpf, program: Program) -> Judgement {
    let name = program.name();
    let missing = || Error::Abi(format!("program {name} is not in the object"));
    let loaded = ebpf.program_mut(name).ok_or_else(missing)?;
    hand_over(loaded, program)?;
    let info = loaded.info().map_err(|source| refused(program, source))?;
    // Linux 5.16 and later count.
    Ok(info.verified_instruction_count().unwrap_or_default().into())
}

/// Hands a program to the kernel.
pub(crate) fn hand_over(loaded: &mut programs::Program, program: Program) -> Result<()> {
    let refused = |source| refused(program, source);
    match program.kind() {
        Kind::Xdp => {
            let xdp: &mut programs::Xdp = loaded.try_into().map_err(refused)?;
            xdp.load().map_err(refused)?;
        }
        Kind::Tcx => {
            let tc: &mut programs::SchedClassifier = loaded.try_into().map_err(refused)?;
            tc.load().map_err(refused)?;
        }
        Kind::Socket => {
            let socket: &mut programs::CgroupSockAddr = loaded.try_into().map_err(refused)?;
            socket.load().map_err(refused)?;
        }
    }
    Ok(())
}

pub(crate) fn refused(program: Program, source: programs::ProgramError) -> Error {
    Error::Program { program: program.name(), source: Box::new(source) }
}
