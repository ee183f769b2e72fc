//! One target under libFuzzer. The environment says which, because the arguments are libFuzzer's.
#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use skep_fuzz::Target;

/// The name of the target.
const TARGET: &str = "SKEP_FUZZ_TARGET";
/// A folder: the target's seeds, and a file of words beside them, are put there first.
const SEEDS: &str = "SKEP_FUZZ_SEEDS";

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.run)(bytes);
    }
});

fn choose() {
    let name = std::env::var(TARGET).unwrap_or_default();
    let target = skep_fuzz::target(&name);
    let target = target.unwrap_or_else(|| panic!("{TARGET}={name:?} names no target"));
    if let Some(folder) = std::env::var_os(SEEDS) {
        write_seeds(target, Path::new(&folder)).expect("the folder for seeds can be written");
    }
    CHOSEN.get_or_init(|| target);
}

fn write_seeds(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed)?;
    }
    // A file without a line is an error to libFuzzer.
    let mut words = format!("# {}\n", target.name);
    words.extend((target.words)().iter().map(|word| format!("\"{word}\"\n")));
    std::fs::write(folder.with_extension("words"), words)
}
