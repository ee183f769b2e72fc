//! Turns a queue and a reconcile function into a running controller: a bounded number of workers
//! that start once every cache the controller reads is filled.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::informer::{Informer, Informers};
use super::object::{Kind, Objects, is_conflict, is_not_found};
use super::queue::Queue;
use super::recorder::Recorder;
use crate::Error;

/// When a key is to be looked at again, if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Only when something changes.
    Change,
    /// At the latest after this long.
    After(Duration),
}

/// Brings what a key names from where it is to where it should be.
pub trait Reconcile: Send + Sync + 'static {
    /// What the controller's queue holds.
    type Key: Clone + Debug + Display + Eq + Hash + Send + Sync + 'static;

    /// Does what is needed now; an error asks for another try after a back-off.
    fn reconcile(&self, key: &Self::Key) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// A controller that has been set up and can be started.
pub struct Running {
    name: &'static str,
    body: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What every controller of a process shares.
pub struct Context {
    informers: Informers,
    objects: Objects,
    running: Vec<Running>,
}

impl Context {
    /// Controllers that watch and write through these objects' client.
    pub fn new(objects: Objects) -> Self {
        Self { informers: Informers::default(), objects, running: Vec::new() }
    }

    /// The objects that the watches and most controllers go through.
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// Begins to set up a controller, whose writes go through `objects`.
    pub fn controller(&mut self, name: &'static str, objects: Objects) -> Controller<'_> {
        Controller { name, objects, context: self, filled: Vec::new() }
    }

    /// Starts all watches and controllers; they end when the set is dropped.
    pub fn start(self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        self.informers.start(self.objects.client(), &mut tasks);
        for running in self.running {
            debug!(controller = running.name, "starting");
            tasks.spawn(running.body);
        }
        tasks
    }
}

/// A controller being set up.
pub struct Controller<'a> {
    name: &'static str,
    objects: Objects,
    context: &'a mut Context,
    filled: Vec<watch::Receiver<bool>>,
}

impl Controller<'_> {
    /// The process's informer of this kind; the workers wait until it is filled.
    pub fn informer<K: Kind>(&mut self) -> Arc<Informer<K>> {
        let informer = self.context.informers.of::<K>();
        self.filled.push(informer.synced());
        informer
    }

    /// Where the controller writes.
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// Where the controller records events, under its own name.
    pub fn recorder(&self) -> Recorder {
        Recorder::start(self.name, self.objects.clone())
    }

    /// Runs something beside the workers from the start, such as watches of the controller's own.
    pub fn watch_with(&mut self, body: impl Future<Output = ()> + Send + 'static) {
        self.context.running.push(Running { name: self.name, body: Box::pin(body) });
    }

    /// Ends the set-up: `workers` at a time, keys of `queue` are reconciled.
    pub fn run<R: Reconcile>(self, queue: Queue<R::Key>, workers: usize, reconciler: R) {
        let name = self.name;
        self.spawn(async move {
            let reconciler = Arc::new(reconciler);
            let mut tasks = JoinSet::new();
            for _ in 0..workers.max(1) {
                tasks.spawn(work(name, queue.clone(), reconciler.clone()));
            }
            while tasks.join_next().await.is_some() {}
        });
    }

    /// Ends the set-up with a body of its own, run once the caches are filled.
    pub fn spawn(self, body: impl Future<Output = ()> + Send + 'static) {
        let Self { name, context, filled, .. } = self;
        let body = Box::pin(async move {
            for mut filled in filled {
                if filled.wait_for(|filled| *filled).await.is_err() {
                    return;
                }
            }
            body.await;
        });
        context.running.push(Running { name, body });
    }
}

async fn work<R: Reconcile>(name: &'static str, queue: Queue<R::Key>, reconciler: Arc<R>) {
    loop {
        let leased = queue.next().await;
        let key = leased.key();
        match reconciler.reconcile(key).await {
            Ok(Next::Change) => queue.forget(key),
            Ok(Next::After(delay)) => {
                queue.forget(key);
                queue.add_after(key.clone(), delay);
            }
            Err(error) => {
                match &error {
                    Error::Request(request) if is_conflict(request) || is_not_found(request) => {
                        debug!(controller = name, %key, %error, "out of date; trying again");
                    }
                    Error::Later(_) => debug!(controller = name, %key, %error, "not yet"),
                    _ => warn!(controller = name, %key, %error, "failed; trying again"),
                }
                queue.retry(key.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tokio::sync::mpsc;

    use super::*;

    /// Fails the first two times, then asks to be called once more.
    struct Stubborn {
        calls: Mutex<u32>,
        heard: mpsc::UnboundedSender<u32>,
    }

    impl Reconcile for Stubborn {
        type Key = String;

        async fn reconcile(&self, _: &String) -> Result<Next, Error> {
            let call = {
                let mut calls = self.calls.lock();
                *calls += 1;
                *calls
            };
            self.heard.send(call).unwrap();
            match call {
                1 | 2 => Err(Error::Later("not ready".into())),
                3 => Ok(Next::After(Duration::from_secs(3600))),
                _ => Ok(Next::Change),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_tries_again_until_the_key_is_settled() {
        let (heard, mut calls) = mpsc::unbounded_channel();
        let queue = Queue::default();
        queue.add("key".to_owned());
        let reconciler = Arc::new(Stubborn { calls: Mutex::new(0), heard });
        let worker = tokio::spawn(work("stubborn", queue.clone(), reconciler));
        for expected in 1..=4 {
            assert_eq!(calls.recv().await, Some(expected));
        }
        assert!(tokio::time::timeout(Duration::from_secs(7200), calls.recv()).await.is_err());
        assert_eq!(queue.failures(&"key".to_owned()), 0);
        worker.abort();
    }
}
