//! The agent that tests kill.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use skep_netns_tests::agent::{self, Flags};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn main() -> ExitCode {
    match agent::run(Line::parse().flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
