//! Runs the programs that build the networks.

use std::process::Command;

/// Runs `ip` with these words; panics with its message when it fails.
pub fn ip(words: &str) {
    if let Err(message) = try_ip(words) {
        panic!("ip {words}: {message}");
    }
}

/// Runs `ip`; the error is what it said.
pub fn try_ip(words: &str) -> Result<String, String> {
    let output =
        Command::new("ip").args(words.split_whitespace()).output().expect("iproute2 is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs a program; panics when it fails.
pub fn run(program: &str, words: &[&str]) {
    assert!(try_run(program, words), "{program} {words:?} failed");
}

/// Runs a program; whether it succeeded.
pub fn try_run(program: &str, words: &[&str]) -> bool {
    let output = Command::new(program).args(words).output();
    output.is_ok_and(|output| output.status.success())
}
