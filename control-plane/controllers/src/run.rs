//! Starts the controllers that were asked for, with or without an election first.

use anyhow::Context as _;
use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::certificates::{approve, clean, sign};
use crate::config::Config;
use crate::runtime::{Context, Objects};
use crate::{
    bootstrap_token, cluster_role, cron_job, daemon_set, deployment, disruption, endpoint_slice,
    endpoints, garbage, job, job_ttl, leader, namespace, node_ipam, node_lifecycle, pod_gc,
    replica_set, root_ca, service_account, stateful_set, taint_eviction,
};

/// Runs the controllers until `shutdown`, or until the lease is lost.
///
/// # Errors
/// A configuration that only shows when a controller starts, or a lost lease.
pub async fn run(
    config: Config,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Some(election) = config.election.clone() else {
        return serve(config, &client, &shutdown).await;
    };
    let identity = identity();
    let mut outcome = Ok(());
    leader::lead(&election, &client, &identity, &shutdown, async |stop| {
        outcome = serve(config, &client, &stop).await;
    })
    .await?;
    outcome
}

/// The machine's name, and something no other process has.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), rand::random::<u64>())
}

async fn serve(
    config: Config,
    client: &Client,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut context = Context::new(Objects::new(client.clone()));
    let count = config.controllers.len();
    set_up(config, &mut context)?;
    info!(count, "controllers starting");
    let mut tasks = context.start();
    tokio::select! {
        () = shutdown.cancelled() => {}
        // Controllers never end by themselves: one that does has panicked.
        Some(Err(error)) = tasks.join_next() => {
            return Err(error).context("a controller stopped");
        }
    }
    tasks.shutdown().await;
    Ok(())
}

fn set_up(config: Config, context: &mut Context) -> anyhow::Result<()> {
    let objects = context.objects();
    let flags = &config.flags;
    let on = |name: &str| config.runs(name);
    if on(namespace::NAME) {
        namespace::set_up(context, objects.clone(), flags.concurrent_namespace_syncs);
    }
    if on(service_account::NAME) {
        service_account::set_up(context, objects.clone(), 5);
    }
    if on(replica_set::NAME) {
        replica_set::set_up(context, objects.clone(), flags.concurrent_replicaset_syncs);
    }
    if on(replica_set::REPLICATION_NAME) {
        replica_set::set_up_replication(context, objects.clone(), flags.concurrent_rc_syncs);
    }
    if on(deployment::NAME) {
        deployment::set_up(context, objects.clone(), flags.concurrent_deployment_syncs);
    }
    if on(daemon_set::NAME) {
        daemon_set::set_up(context, objects.clone(), flags.concurrent_daemonset_syncs);
    }
    if on(endpoint_slice::NAME) {
        let max = usize::from(flags.max_endpoints_per_slice);
        let workers = flags.concurrent_service_endpoint_syncs;
        endpoint_slice::set_up(context, objects.clone(), workers, max);
    }
    if on(endpoints::NAME) {
        endpoints::set_up(context, objects.clone(), flags.concurrent_endpoint_syncs);
    }
    if on(cluster_role::NAME) {
        cluster_role::set_up(context, objects.clone());
    }
    if on(pod_gc::NAME) {
        pod_gc::set_up(context, objects.clone(), flags.terminated_pod_gc_threshold);
    }
    if on(bootstrap_token::NAME) {
        bootstrap_token::set_up(context, objects.clone());
    }
    if on(job::NAME) {
        job::set_up(context, objects.clone(), flags.concurrent_job_syncs);
    }
    if on(stateful_set::NAME) {
        stateful_set::set_up(context, objects.clone(), flags.concurrent_statefulset_syncs);
    }
    if on(cron_job::NAME) {
        cron_job::set_up(context, objects.clone(), flags.concurrent_cron_job_syncs);
    }
    if on(disruption::NAME) {
        disruption::set_up(context, objects.clone());
    }
    if on(job_ttl::NAME) {
        job_ttl::set_up(context, objects.clone());
    }
    if on(garbage::NAME) {
        garbage::set_up(context, objects.clone(), flags.concurrent_gc_syncs);
    }
    if on(approve::NAME) {
        approve::set_up(context, objects.clone(), 5);
    }
    if on(clean::NAME) {
        clean::set_up(context, objects.clone());
    }
    if on(node_ipam::NAME) && !config.cluster_ranges.is_empty() {
        node_ipam::set_up(context, objects.clone(), &config.cluster_ranges)?;
    }
    if on(node_lifecycle::NAME) {
        let (period, grace) = (flags.node_monitor_period, flags.node_monitor_grace_period);
        node_lifecycle::set_up(context, objects.clone(), period, grace);
    }
    if on(taint_eviction::NAME) {
        taint_eviction::set_up(context, objects.clone(), 8);
    }
    if on(root_ca::NAME) {
        match config.root_ca.clone() {
            Some(certificate) => root_ca::set_up(context, objects.clone(), 5, certificate),
            None => {
                warn!("no root certificate (--root-ca-file): pods cannot verify the API server");
            }
        }
    }
    if on(sign::NAME) {
        match config.signing {
            Some(signing) => {
                sign::set_up(context, objects, 5, signing.authority, signing.longest);
            }
            None => warn!("no signing authority (--cluster-signing-cert-file): nothing is signed"),
        }
    }
    Ok(())
}
