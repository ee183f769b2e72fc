//! What must hold for any bytes: each target takes bytes, does with them what a hostile sender could
//! make skep do, and panics where something does not hold.
//!
//! `cargo test` plays each target's seeds; `cargo xtask fuzz` looks for worse bytes than those. What it
//! finds becomes a unit test of the crate at fault.
#![forbid(unsafe_code)]

mod codec;
mod engine;
mod frame;
mod json;
mod packet;
mod protobuf;

/// Something that takes bytes.
#[derive(Debug)]
pub struct Target {
    /// What people call it
    pub name: &'static str,
    /// Panics where a property does not hold
    pub run: fn(&[u8]),
    /// Bytes to begin with
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that inputs are likely to hold
    pub words: fn() -> Vec<String>,
}

/// All of them.
pub const TARGETS: &[Target] = &[packet::TARGET, engine::TARGET, protobuf::TARGET, json::TARGET];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_holds_whole_and_cut_short() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{} has no seeds", target.name);
            for seed in seeds {
                for end in [seed.len(), seed.len() / 2, 1, 0] {
                    (target.run)(&seed[..end.min(seed.len())]);
                }
            }
        }
    }
}
