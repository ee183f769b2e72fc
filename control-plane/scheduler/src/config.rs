//! What the scheduler is told on the command line and in its configuration file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use skep_controllers::leader::{Election, ElectionFlags, duration};

/// The scheduler that pods name unless they name another.
pub(crate) const DEFAULT_NAME: &str = "default-scheduler";

/// kube-scheduler's flags, as far as they mean the same here.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Scheduler")]
#[group(skip)]
pub struct Flags {
    /// KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1); what it says wins over flags
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The lease.
    #[command(flatten)]
    pub election: ElectionFlags,
}

/// Why the scheduler cannot be configured so.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("--config {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The configuration file says something that is not understood.
    #[error("--config {}: {problem}", path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What, with its line where it is known.
        problem: String,
    },
    /// Values that do not fit together.
    #[error("{0}")]
    Election(&'static str),
}

/// What the scheduler does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name by which pods choose this scheduler.
    pub name: String,
    /// The lease to hold while scheduling, if any.
    pub election: Option<Election>,
}

impl Default for Config {
    /// One scheduler alone, under upstream's name.
    fn default() -> Self {
        Self { name: DEFAULT_NAME.to_owned(), election: None }
    }
}

impl TryFrom<Flags> for Config {
    type Error = ConfigError;

    fn try_from(flags: Flags) -> Result<Self, ConfigError> {
        let file = flags.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let leader = file.leader_election;
        let name = match file.profiles.into_iter().next() {
            Some(profile) => profile.scheduler_name.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            None => DEFAULT_NAME.to_owned(),
        };
        if !leader.leader_elect.unwrap_or(flags.election.leader_elect) {
            return Ok(Self { name, election: None });
        }
        let flags = flags.election.election("kube-scheduler");
        let election = Election {
            namespace: leader.resource_namespace.unwrap_or(flags.namespace),
            name: leader.resource_name.unwrap_or(flags.name),
            lease: leader.lease_duration.map_or(flags.lease, |span| span.0),
            renew: leader.renew_deadline.map_or(flags.renew, |span| span.0),
            retry: leader.retry_period.map_or(flags.retry, |span| span.0),
        };
        election.check().map_err(ConfigError::Election)?;
        Ok(Self { name, election: Some(election) })
    }
}

fn read(path: &Path) -> Result<File, ConfigError> {
    let source = |source| ConfigError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(source)?;
    let refuse = |problem: String| ConfigError::Contents { path: path.to_owned(), problem };
    let file: File = serde_saphyr::from_str(&text).map_err(|e| refuse(e.to_string()))?;
    let (version, kind) = ("kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration");
    if file.api_version != version || file.kind != kind {
        return Err(refuse(format!("must be a {kind} of apiVersion {version}")));
    }
    if file.profiles.len() > 1 {
        return Err(refuse("profiles: this scheduler has one".to_owned()));
    }
    Ok(file)
}

/// The parts of a KubeSchedulerConfiguration that this scheduler follows; others are refused by
/// name, so that nobody believes they had an effect.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct File {
    api_version: String,
    kind: String,
    profiles: Vec<ProfileSection>,
    leader_election: LeaderSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ProfileSection {
    scheduler_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct LeaderSection {
    leader_elect: Option<bool>,
    lease_duration: Option<Span>,
    renew_deadline: Option<Span>,
    retry_period: Option<Span>,
    resource_name: Option<String>,
    resource_namespace: Option<String>,
}

#[derive(Debug)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        flags: Flags,
    }

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let arguments = std::iter::once("scheduler").chain(arguments.iter().copied());
        let command = Command::try_parse_from(arguments).map_err(|e| e.to_string())?;
        Config::try_from(command.flags).map_err(|e| e.to_string())
    }

    fn with_file(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        parse(&["--config", path.to_str().unwrap()])
    }

    const HEAD: &str =
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n";

    #[test]
    fn upstreams_defaults_hold() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.name, "default-scheduler");
        let election = config.election.unwrap();
        assert_eq!(
            (election.namespace.as_str(), election.name.as_str()),
            ("kube-system", "kube-scheduler")
        );
        assert_eq!(election.lease, Duration::from_secs(15));
        assert_eq!(parse(&["--leader-elect=false"]), Ok(Config::default()));
    }

    #[test]
    fn the_file_wins_over_flags() {
        let text = format!(
            "{HEAD}profiles:\n- schedulerName: mine\nleaderElection:\n  leaderElect: true\n  leaseDuration: 1m30s\n"
        );
        let config = with_file(&text).unwrap();
        assert_eq!(config.name, "mine");
        assert_eq!(config.election.unwrap().lease, Duration::from_secs(90));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let cases = [
            (with_file("kind: Pod\n"), "must be a KubeSchedulerConfiguration"),
            (with_file(&format!("{HEAD}extenders: []\n")), "extenders"),
            (
                with_file(&format!("{HEAD}profiles: [{{}}, {{}}]\n")),
                "profiles: this scheduler has one",
            ),
            (parse(&["--config", "/nonexistent"]), "--config /nonexistent: "),
            (
                parse(&["--leader-elect-lease-duration=5s"]),
                "--leader-elect-lease-duration must be longer",
            ),
            (parse(&["--leader-elect-retry-period=-1s"]), "must not be negative"),
        ];
        for (found, expected) in cases {
            let message = found.unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
