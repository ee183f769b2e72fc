//! The scheduler's loop: one task owns all it knows, watches feed it, an outbox carries out what it
//! decides.

use std::time::Instant;

use anyhow::Result;
use kube::Client;
use skep_controllers::leader;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::cycle::Profile;
use crate::outbox::Outbox;
use crate::scheduler::Scheduler;
use crate::watch::{self, KINDS, Notice};

/// How many notices may wait; watches wait when it is full.
const NOTICES: usize = 4096;
/// How many notices are taken at a time.
const BATCH: usize = 256;

/// Schedules pods until `shutdown`; if so configured, only while holding a lease.
///
/// # Errors
/// When the lease is lost: another scheduler may be at work, and this process must not go on.
pub async fn run(config: Config, client: Client, shutdown: CancellationToken) -> Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let Some(election) = &config.election else {
        work(&config, &client, &host, shutdown).await;
        return Ok(());
    };
    let identity = format!("{host}_{}", uuid::Uuid::new_v4());
    let body = |stop| work(&config, &client, &host, stop);
    leader::lead(election, &client, &identity, &shutdown, body).await?;
    Ok(())
}

async fn work(config: &Config, client: &Client, host: &str, stop: CancellationToken) {
    let (sender, mut notices) = mpsc::channel(NOTICES);
    let (failed, mut failures) = mpsc::unbounded_channel();
    let _watches = watch::start(client, &sender);
    let instance = format!("{}-{host}", config.name);
    let outbox = Outbox::new(client.clone(), &config.name, instance, failed);
    let mut scheduler = Scheduler::new(&config.name, Profile::default());
    let mut listed = 0;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let ready = listed == KINDS;
        let wake = scheduler.queue().next_wake().filter(|_| ready);
        tokio::select! {
            () = stop.cancelled() => return,
            _ = notices.recv_many(&mut batch, BATCH) => {}
            Some(uid) = failures.recv() => scheduler.bind_failed(&uid, Instant::now()),
            () = sleep_until(wake) => {}
        }
        listed += take(&mut scheduler, &mut batch);
        if listed < KINDS {
            continue;
        }
        if !ready {
            tracing::info!(nodes = scheduler.cluster().nodes().len(), "scheduling");
        }
        while let Some(effects) = scheduler.cycle(Instant::now(), rand::random_range(0..usize::MAX))
        {
            for effect in effects {
                outbox.send(effect);
            }
            while let Ok(notice) = notices.try_recv() {
                batch.push(notice);
            }
            take(&mut scheduler, &mut batch);
            while let Ok(uid) = failures.try_recv() {
                scheduler.bind_failed(&uid, Instant::now());
            }
            if stop.is_cancelled() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Hands notices over; how many kinds have been listed with them.
fn take(scheduler: &mut Scheduler, batch: &mut Vec<Notice>) -> usize {
    let now = Instant::now();
    let mut listed = 0;
    for notice in batch.drain(..) {
        match notice {
            Notice::Set(object) => scheduler.set(*object, now),
            Notice::Gone(gone) => scheduler.remove(gone, now),
            Notice::Listed => listed += 1,
        }
    }
    listed
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
