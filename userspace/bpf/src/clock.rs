//! The kernel's ticks: the clock that programs can read for nothing, and its rate.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    sys,
};

/// Tick rates that kernels are built with.
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// Long enough to tell the rates apart.
const SAMPLE: Duration = Duration::from_millis(80);
/// Number of the helper `bpf_jiffies64`.
const JIFFIES64: i32 = 118;

/// A clock that counts as the programs do.
#[derive(Debug)]
pub struct Clock(OwnedFd);

impl Clock {
    /// Makes a program of two instructions that returns the time.
    pub fn new() -> Result<Self> {
        let program = [sys::Instruction::call(JIFFIES64), sys::Instruction::exit()];
        sys::load(sys::ProgramType::Xdp, &program).map(Self).map_err(failed)
    }

    /// The lower half of the clock.
    pub fn ticks(&self) -> Result<u32> {
        let output =
            sys::test_run(self.0.as_fd(), &[0; 64], &[], 1, &mut [0; 64]).map_err(failed)?;
        Ok(output.verdict)
    }

    /// The whole clock: what entries of tables were seen by.
    pub fn now_ticks(&self) -> Result<u64> {
        let program = [
            sys::Instruction::call(JIFFIES64),
            sys::Instruction::shift_right(0, 32),
            sys::Instruction::exit(),
        ];
        let upper = Self(sys::load(sys::ProgramType::Xdp, &program).map_err(failed)?);
        loop {
            let (before, lower, after) = (upper.ticks()?, self.ticks()?, upper.ticks()?);
            if before == after {
                return Ok(u64::from(before) << 32 | u64::from(lower));
            }
        }
    }

    /// Ticks since `seen`, of which only the lower half counts: right for up to 49 days.
    pub fn age(&self, seen: u64) -> Result<u32> {
        Ok(self.ticks()?.wrapping_sub(seen as u32))
    }
}

fn failed(source: io::Error) -> Error {
    Error::TestRun { program: "clock", source }
}

/// Measures how many ticks there are in a second.
pub(crate) fn ticks_per_s() -> Result<u32> {
    let clock = Clock::new()?;
    let (start, first) = (Instant::now(), clock.ticks()?);
    thread::sleep(SAMPLE);
    let ticks = f64::from(clock.age(u64::from(first))?);
    Ok(nearest(ticks / start.elapsed().as_secs_f64()))
}

fn nearest(rate: f64) -> u32 {
    let distance = |known: &u32| (f64::from(*known) / rate).ln().abs();
    RATES
        .into_iter()
        .min_by(|left, right| distance(left).total_cmp(&distance(right)))
        .unwrap_or(100)
}

/// A seed that nobody outside can guess; never zero.
pub(crate) fn seed() -> u32 {
    let mut bytes = [0; 4];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    // Without a source of randomness the seed is known: choices stay even, only guessable.
    read.map_or(1, |()| u32::from_ne_bytes(bytes)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_rates_snap_to_those_of_kernels() {
        for (measured, rate) in
            [(88.0, 100), (112.0, 100), (240.0, 250), (311.0, 300), (995.0, 1000)]
        {
            assert_eq!(nearest(measured), rate);
        }
    }
}
