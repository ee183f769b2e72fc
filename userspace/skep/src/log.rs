//! The log: lines on standard error, times in UTC, filtered by `-v` or by `SKEP_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `verbosity` as upstream's `-v`: 0 and 1 information, 2 and 3 debug, 4 and more traces;
/// `SKEP_LOG` (such as `info,skep_proxy=trace`) wins.
pub(crate) fn start(verbosity: u8) {
    let level = match verbosity {
        0..=1 => "info",
        2..=3 => {
            "info,skep=debug,skep_apiserver=debug,skep_controllers=debug,skep_kubelet=debug,\
                  skep_network=debug,skep_proxy=debug,skep_scheduler=debug"
        }
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
