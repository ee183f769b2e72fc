//! Upstream's `--leader-elect` flags, the same for each component of which several may run.

use std::time::Duration;

use jiff::SignedDuration;

use super::Election;

/// The flags; the name of the lease is the component's unless one is given.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ElectionFlags {
    /// Run only while holding a lease: for several of this component at once
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// How long others wait before they take the lease over
    #[arg(long, value_parser = duration, default_value = "15s", value_name = "DURATION")]
    pub leader_elect_lease_duration: Duration,
    /// How long the leader tries to renew before it gives up
    #[arg(long, value_parser = duration, default_value = "10s", value_name = "DURATION")]
    pub leader_elect_renew_deadline: Duration,
    /// How often the lease is looked at
    #[arg(long, value_parser = duration, default_value = "2s", value_name = "DURATION")]
    pub leader_elect_retry_period: Duration,
    /// Namespace of the lease
    #[arg(long, default_value = "kube-system", value_name = "NAMESPACE")]
    pub leader_elect_resource_namespace: String,
    /// Name of the lease [default: upstream's name of the component]
    #[arg(long, value_name = "NAME")]
    pub leader_elect_resource_name: Option<String>,
}

impl ElectionFlags {
    /// The lease that the flags ask for, `component`'s unless they name another; not yet checked
    /// ([`Election::check`]), and whatever `--leader-elect` says.
    #[must_use]
    pub fn election(self, component: &str) -> Election {
        Election {
            namespace: self.leader_elect_resource_namespace,
            name: self.leader_elect_resource_name.unwrap_or_else(|| component.to_owned()),
            lease: self.leader_elect_lease_duration,
            renew: self.leader_elect_renew_deadline,
            retry: self.leader_elect_retry_period,
        }
    }
}

/// Reads a span of time in Go's notation: `1h30m`, `15s`, `300ms`.
///
/// # Errors
/// Says what is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text
        .parse()
        .map_err(|error| format!("{text:?} is no duration like 1h30m, 15s or 300ms: {error}"))?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("15s", Some(15_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("300ms", Some(300)),
            ("5", None),
            ("", None),
            ("1y", None),
            ("-1s", None),
        ] {
            let found = duration(text).ok().map(|duration| duration.as_millis());
            assert_eq!(found, millis, "{text}");
        }
    }
}
