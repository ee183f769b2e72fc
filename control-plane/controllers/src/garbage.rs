//! Deletes what has lost its owners, and keeps the order of deletions that wait for each other.
//!
//! Every resource that can be deleted is watched for its metadata only; of that, a small graph of who
//! owns whom is kept.

mod decide;
mod graph;
mod monitor;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::discovery::Resource;
use crate::runtime::{Context, Objects, Queue};

use graph::Graph;
use sweep::Sweeper;

/// The controller's name.
pub(crate) const NAME: &str = "garbage-collector-controller";

/// What the monitors and the workers share.
#[derive(Default)]
struct Shared {
    graph: Mutex<Graph>,
    /// The resource of each kind: `apiVersion` and `kind` as owner references name it.
    resources: RwLock<HashMap<(String, String), Resource>>,
}

/// Sets up the controller.
pub(crate) fn set_up(context: &mut Context, objects: Objects, workers: usize) {
    let mut controller = context.controller(NAME, objects);
    let objects = controller.objects();
    let queue = Queue::default();
    let shared = Arc::new(Shared::default());
    let monitors = monitor::run(objects.client().clone(), shared.clone(), queue.clone());
    controller.watch_with(monitors);
    controller.run(queue, workers, Sweeper { shared, objects });
}
