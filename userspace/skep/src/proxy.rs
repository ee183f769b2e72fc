//! `skep proxy`: the service proxy alone, in kube-proxy's place.

use anyhow::{Context, Result};
use skep_proxy::{AloneFlags, Settings};

use crate::{connect, serve};

/// Runs the proxy until the process is told to end, or cleans up after it.
///
/// # Errors
/// When a flag or the configuration file is wrong, or the proxy cannot start.
pub(crate) fn run(flags: AloneFlags) -> Result<()> {
    let host_name = nix::unistd::gethostname()
        .context("cannot tell the host's name: set --hostname-override")?;
    let settings = Settings::new(flags, &host_name.to_string_lossy())?;
    if settings.cleanup {
        return skep_proxy::clean_up(&settings);
    }
    serve(async |shutdown| {
        let server = connect::Flags { kubeconfig: settings.kubeconfig.clone() };
        let mut config = match (&settings.master, &settings.kubeconfig) {
            // Without credentials: an API server that asks for none.
            (Some(master), None) => kube::Config::new(address(master)?),
            _ => server.config().await?,
        };
        if let Some(master) = &settings.master {
            config.cluster_url = address(master)?;
        }
        skep_proxy::run_alone(settings, kube::Client::try_from(config)?, shutdown).await
    })
}

fn address(master: &str) -> Result<http::Uri> {
    master.parse().with_context(|| format!("--master: {master:?} is not an address"))
}
