//! Asks this kernel's verifier about every program: a line each with the instructions that it walked, or with
//! its complaint. Needs root.

use std::process::ExitCode;

use anyhow::Result;
use skep_bpf::Sizes;

/// Tables of a small machine: their sizes mean nothing to the verifier.
const MEMORY_BYTES: u64 = 1 << 30;

fn main() -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for (program, judgement) in skep_bpf::judge_all(&Sizes::for_memory(MEMORY_BYTES))? {
        match judgement {
            Ok(instructions) => println!("{}\t{instructions}", program.name()),
            Err(error) => {
                let text = error.to_string();
                let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
                let tail = lines[lines.len().saturating_sub(4)..].join(" | ");
                println!("{}\trefused: {tail}", program.name());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
