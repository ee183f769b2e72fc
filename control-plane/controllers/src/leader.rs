//! One of several does the work: whoever holds a Lease. The decision is a pure function of the lease
//! and of when it was last seen to change, so clocks of different machines are never compared.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::runtime::{Key, Objects, RequestError, is_already_exists, is_conflict, is_not_found};

mod flags;

pub use flags::{ElectionFlags, duration};

/// Which lease, and how patient everybody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease.
    pub name: String,
    /// How long others wait after the last renewal they saw.
    pub lease: Duration,
    /// How long the holder tries to renew before it stops working.
    pub renew: Duration,
    /// How often the lease is looked at.
    pub retry: Duration,
}

impl Election {
    /// The holder must give up before others take over, and have time to try more than once.
    ///
    /// # Errors
    /// Names the flags whose values do not fit together.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.lease <= self.renew {
            Err("--leader-elect-lease-duration must be longer than --leader-elect-renew-deadline")
        } else if self.renew <= self.retry {
            Err("--leader-elect-renew-deadline must be longer than --leader-elect-retry-period")
        } else {
            Ok(())
        }
    }
}

/// The work was stopped because the lease could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("lost the lease {0}")]
pub struct Lost(String);

/// What to do about the lease now.
#[derive(Debug, PartialEq)]
enum Act {
    Create(Lease),
    Replace(Lease),
    /// Somebody else holds it.
    Wait,
}

/// Decides from the lease as it is; `unchanged` says for how long this process has seen it so.
fn act(
    election: &Election,
    identity: &str,
    lease: Option<&Lease>,
    unchanged: Duration,
    now: Timestamp,
) -> Act {
    let fresh = LeaseSpec {
        holder_identity: Some(identity.into()),
        lease_duration_seconds: Some(i32::try_from(election.lease.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    let Some(lease) = lease else {
        let metadata = ObjectMeta {
            namespace: Some(election.namespace.clone()),
            name: Some(election.name.clone()),
            ..ObjectMeta::default()
        };
        return Act::Create(Lease { metadata, spec: Some(fresh) });
    };
    let known = lease.spec.clone().unwrap_or_default();
    let holder = known.holder_identity.as_deref().unwrap_or_default();
    let spec = if holder == identity {
        LeaseSpec {
            acquire_time: known.acquire_time,
            lease_transitions: known.lease_transitions,
            ..fresh
        }
    } else {
        let theirs = known.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let theirs = theirs.map_or(election.lease, Duration::from_secs);
        if !holder.is_empty() && unchanged < theirs {
            return Act::Wait;
        }
        let transitions = known.lease_transitions.unwrap_or_default().saturating_add(1);
        LeaseSpec { lease_transitions: Some(transitions), ..fresh }
    };
    Act::Replace(Lease { metadata: lease.metadata.clone(), spec: Some(spec) })
}

/// Waits for the lease, then runs `body` for as long as it can be renewed. The token given to the
/// body is cancelled when it must stop. The lease is given back on a regular end.
///
/// # Errors
/// [`Lost`] when the lease could not be kept; the process should end then.
pub async fn lead<B, F>(
    election: &Election,
    client: &Client,
    identity: &str,
    shutdown: &CancellationToken,
    body: B,
) -> Result<(), Lost>
where
    B: FnOnce(CancellationToken) -> F,
    F: Future<Output = ()>,
{
    let mut candidate = Candidate::new(election, client, identity);
    tokio::select! {
        () = candidate.acquire() => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    info!(lease = %candidate.key, identity, "leading");
    let stop = shutdown.child_token();
    let lost = tokio::select! {
        () = body(stop.clone()) => false,
        () = candidate.keep() => true,
    };
    stop.cancel();
    if lost {
        return Err(Lost(candidate.key.to_string()));
    }
    candidate.give_back().await;
    Ok(())
}

struct Candidate<'a> {
    election: &'a Election,
    objects: Objects,
    identity: &'a str,
    key: Key,
    /// What was seen last, and since when.
    seen: Option<(Lease, Instant)>,
}

impl<'a> Candidate<'a> {
    fn new(election: &'a Election, client: &Client, identity: &'a str) -> Self {
        let key = Key::new(&election.namespace, &election.name);
        Self { election, objects: Objects::new(client.clone()), identity, key, seen: None }
    }

    async fn acquire(&mut self) {
        loop {
            match self.try_once().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => debug!(lease = %self.key, %error, "not acquired"),
            }
            tokio::time::sleep(self.election.retry).await;
        }
    }

    /// Returns when the lease is lost.
    async fn keep(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.election.renew {
            tokio::time::sleep(self.election.retry).await;
            let left = self.election.renew.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_once()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => warn!(lease = %self.key, %error, "not renewed"),
                Err(_) => return,
            }
        }
    }

    /// True when this process holds the lease afterwards.
    async fn try_once(&mut self) -> Result<bool, RequestError> {
        let lease = match self.objects.get::<Lease>(&self.key).await {
            Err(error) if is_not_found(&error) => None,
            result => Some(result?),
        };
        let unchanged = self.observe(lease.as_ref());
        let now = Timestamp::now();
        let written = match act(self.election, self.identity, lease.as_ref(), unchanged, now) {
            Act::Wait => return Ok(false),
            Act::Create(lease) => self.objects.create(&lease).await,
            Act::Replace(lease) => self.objects.replace(&lease).await,
        };
        match written {
            // Somebody was quicker.
            Err(error) if is_conflict(&error) || is_already_exists(&error) => Ok(false),
            result => {
                self.seen = Some((result?, Instant::now()));
                Ok(true)
            }
        }
    }

    fn observe(&mut self, lease: Option<&Lease>) -> Duration {
        match (&self.seen, lease) {
            (Some((known, since)), Some(lease)) if known.spec == lease.spec => since.elapsed(),
            (_, Some(lease)) => {
                self.seen = Some((lease.clone(), Instant::now()));
                Duration::ZERO
            }
            (_, None) => Duration::ZERO,
        }
    }

    async fn give_back(&self) {
        let Some((lease, _)) = &self.seen else { return };
        let mut lease = lease.clone();
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = self.objects.replace(&lease).await {
            debug!(lease = %self.key, %error, "not given back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn election() -> Election {
        Election {
            namespace: "kube-system".into(),
            name: "test".into(),
            lease: LEASE,
            renew: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }

    fn held(by: &str, transitions: i32) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(by.into()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        Lease { metadata: ObjectMeta::default(), spec: Some(spec) }
    }

    #[test]
    fn the_lease_changes_hands_only_when_it_has_run_out() {
        let (short, long) = (Duration::from_secs(14), LEASE);
        // (lease, unchanged for) -> (write, transitions, acquired anew)
        let cases = [
            (None, short, Some((0, true))),
            (Some(held("me", 3)), long, Some((3, false))),
            (Some(held("other", 3)), short, None),
            (Some(held("other", 3)), long, Some((4, true))),
            (Some(held("", 3)), short, Some((4, true))),
        ];
        let now = Timestamp::from_second(1000).unwrap();
        for (lease, unchanged, expected) in cases {
            let found = match act(&election(), "me", lease.as_ref(), unchanged, now) {
                Act::Wait => None,
                Act::Create(lease) | Act::Replace(lease) => {
                    let spec = lease.spec.unwrap();
                    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
                    assert_eq!(spec.renew_time, Some(MicroTime(now)));
                    let anew = spec.acquire_time == Some(MicroTime(now));
                    Some((spec.lease_transitions.unwrap(), anew))
                }
            };
            assert_eq!(found, expected, "{lease:?} {unchanged:?}");
        }
    }

    #[test]
    fn the_holder_gives_up_before_others_take_over() {
        assert_eq!(election().check(), Ok(()));
        assert!(Election { renew: LEASE, ..election() }.check().is_err());
        assert!(Election { retry: LEASE, ..election() }.check().is_err());
    }
}
