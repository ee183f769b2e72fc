//! Cron jobs: a job whenever the clock says so.

mod decide;
mod schedule;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use kube::api::{DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};

use crate::Error;
use crate::error::words;
use crate::owned_pods::owner_key;
use crate::owner::controller_of;
use crate::pod_writer::is_namespace_terminating;
use crate::runtime::{
    Context, Event, Informer, Key, Next, Objects, Queue, Reconcile, Recorder, is_already_exists,
    is_not_found,
};

use decide::{Decision, decide, is_active_in};

/// The controller's name.
pub(crate) const NAME: &str = "cronjob-controller";

struct CronJobs {
    cron_jobs: Arc<Informer<CronJob>>,
    jobs: Arc<Informer<Job>>,
    objects: Objects,
    recorder: Recorder,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let cron_jobs = controller.informer::<CronJob>();
    let jobs = controller.informer::<Job>();
    let queue = Queue::default();
    {
        let queue = queue.clone();
        cron_jobs.subscribe(move |change| queue.add(Key::of(&change.latest().metadata)));
    }
    {
        let queue = queue.clone();
        jobs.subscribe(move |change| {
            let owners = change.both().filter_map(|job| owner_key::<CronJob>(&job.metadata));
            owners.for_each(|key| queue.add(key));
        });
    }
    let (objects, recorder) = (controller.objects(), controller.recorder());
    controller.run(queue, workers, CronJobs { cron_jobs, jobs, objects, recorder });
}

impl Reconcile for CronJobs {
    type Key = Key;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(cron_job) = self.cron_jobs.cache().get(key) else { return Ok(Next::Change) };
        let uid = cron_job.uid().unwrap_or_default();
        let jobs = self.jobs.cache().owned_by(&uid);
        let Decision { mut status, start, delete, missing, events, next } =
            decide(&cron_job, &jobs, Timestamp::now());
        events.into_iter().for_each(|event| self.recorder.record(&*cron_job, event));
        for job in &delete {
            self.delete(&cron_job, job).await?;
        }
        for name in missing {
            // The cache may not show yet what has just been made.
            let job = Key::new(&key.namespace, &name);
            if let Err(error) = self.objects.get::<Job>(&job).await
                && is_not_found(&error)
            {
                let message = format!("Active job went missing: {name}");
                self.recorder.record(&*cron_job, Event::normal("MissingJob", message));
                let active = status.active.iter_mut();
                active.for_each(|active| active.retain(|known| known.name.as_ref() != Some(&name)));
            }
        }
        if let Some(job) = start {
            self.start(&cron_job, &job, &mut status).await?;
        }
        status.active = status.active.filter(|active| !active.is_empty());
        if cron_job.status.as_ref() != Some(&status) {
            let new = CronJob { status: Some(status), ..CronJob::clone(&cron_job) };
            match self.objects.replace_status(&new).await {
                Err(error) if is_not_found(&error) => {}
                result => drop(result?),
            }
        }
        Ok(next.map_or(Next::Change, Next::After))
    }
}

impl CronJobs {
    async fn start(
        &self,
        cron_job: &CronJob,
        start: &decide::Start,
        status: &mut CronJobStatus,
    ) -> Result<(), Error> {
        let job = match self.objects.create(&*start.job).await {
            Ok(job) => {
                let message = format!("Created job {}", job.name_any());
                self.recorder.record(cron_job, Event::normal("SuccessfulCreate", message));
                job
            }
            Err(error) if is_already_exists(&error) => {
                let job: Job = self.objects.get(&Key::of(&start.job.metadata)).await?;
                let ours = controller_of(&job.metadata).map(|owner| &owner.uid);
                if ours != cron_job.metadata.uid.as_ref() || is_active_in(status, &job) {
                    return Ok(());
                }
                job
            }
            Err(error) if is_namespace_terminating(&error) => return Ok(()),
            Err(error) => {
                let message = format!("Error creating job: {}", words(&error));
                self.recorder.record(cron_job, Event::warning("FailedCreate", message));
                return Err(error.into());
            }
        };
        let mut reference = job.object_ref(&());
        reference.resource_version.clone_from(&job.metadata.resource_version);
        status.active.get_or_insert_default().push(reference);
        status.last_schedule_time = Some(start.at.clone());
        Ok(())
    }

    async fn delete(&self, cron_job: &CronJob, job: &Job) -> Result<(), Error> {
        let same = Preconditions { uid: job.uid(), resource_version: None };
        let how = DeleteParams::background().preconditions(same);
        match self.objects.delete::<Job>(&Key::of(&job.metadata), &how).await {
            Err(error) if is_not_found(&error) => Ok(()),
            Err(error) => {
                let message = format!("Deleted job: {}", words(&error));
                self.recorder.record(cron_job, Event::warning("FailedDelete", message));
                Err(error.into())
            }
            Ok(()) => {
                let message = format!("Deleted job {}", job.name_any());
                self.recorder.record(cron_job, Event::normal("SuccessfulDelete", message));
                Ok(())
            }
        }
    }
}
