//! The CNI plugin: what a container runtime runs to attach a sandbox to the network.
//!
//! It works with the agent down: the configuration that the agent wrote says everything, the tables and
//! programs are pinned. One call is one process; it speaks versions 0.3.0 to 1.1.0 of the CNI
//! specification and answers on standard output, also with errors.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

mod attach;
mod loopback;
mod request;
mod response;

pub use request::{Capabilities, Command, Conf, Request, RuntimeConfig};
pub use response::{CniError, Version};

/// The names under which the binary is a CNI plugin.
pub const PLUGIN_NAMES: [&str; 2] = ["skep-cni", "loopback"];

/// Whether the program was called by one of the plugin's names.
pub fn is_plugin_name(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name().and_then(OsStr::to_str).is_some_and(|n| PLUGIN_NAMES.contains(&n))
}

/// Serves one call: environment and standard input in, standard output and exit code out. Blocks, and
/// must not be called inside an asynchronous runtime.
pub fn run_plugin() -> ExitCode {
    let mut input = Vec::new();
    let outcome = std::io::stdin()
        .read_to_end(&mut input)
        .map_err(|error| CniError::io(format!("cannot read the configuration: {error}")))
        .and_then(|_| serve(|name| std::env::var(name).ok(), &input));
    match outcome {
        Ok(Some(answer)) => println!("{answer}"),
        Ok(None) => {}
        Err(error) => {
            println!("{}", error.to_json(response::version_of(&input)));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Serves one call; the answer is what belongs on standard output.
pub fn serve(
    environment: impl Fn(&str) -> Option<String>,
    input: &[u8],
) -> Result<Option<serde_json::Value>, CniError> {
    if request::command(&environment)? == Command::Version {
        return Ok(Some(response::supported_versions()));
    }
    let request = Request::parse(&environment, input)?;
    if request.conf.is_loopback() {
        return loopback::serve(&request);
    }
    match request.command {
        Command::Add => attach::add(&request).map(Some),
        Command::Del => attach::delete(&request).map(|()| None),
        Command::Check => attach::check(&request).map(|()| None),
        Command::Gc => attach::collect(&request).map(|()| None),
        Command::Status => attach::status(&request).map(|()| None),
        Command::Version => Ok(Some(response::supported_versions())),
    }
}
