//! What the server must know at once, without asking the store: roles and bindings, which node uses
//! what, and which objects tokens are bound to. Kept in step by following the store.

mod follow;
mod known;

use parking_lot::{RwLock, RwLockReadGuard};
use skep_api::names::GroupResource;
use skep_api::status::Status;
use skep_auth::authz::{Attributes, Decision, Target};
use skep_store::Revision;
use tokio::sync::watch;

use crate::ApiServer;
use crate::objects::store_error;

pub(crate) use follow::follow;
pub(crate) use known::Known;

/// The facts, and how far in the store's history they reach.
#[derive(Debug)]
pub(crate) struct Facts {
    known: RwLock<Known>,
    revision: watch::Sender<Revision>,
}

impl Default for Facts {
    fn default() -> Self {
        Self { known: RwLock::default(), revision: watch::channel(Revision(0)).0 }
    }
}

impl Facts {
    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read()
    }

    /// Whether the facts have been read once.
    pub(crate) fn are_there(&self) -> bool {
        *self.revision.borrow() > Revision(0)
    }

    /// Waits until everything that is in the store now has been taken in.
    pub(crate) async fn caught_up(&self, server: &ApiServer) -> Result<(), Status> {
        let newest = server.store().revision().await.map_err(store_error)?;
        let mut revision = self.revision.subscribe();
        let arrived = revision.wait_for(|revision| *revision >= newest).await;
        arrived.map(|_| ()).map_err(|_| Status::unavailable("the server is going away"))
    }

    pub(crate) fn is_allowed(&self, attributes: &Attributes<'_>) -> bool {
        self.known().authorizer.authorize(attributes).is_allowed()
    }

    /// 403 with upstream's sentence, unless it is allowed.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let reason = match self.known().authorizer.authorize(attributes) {
            Decision::Allow(_) => return Ok(()),
            Decision::NoOpinion(reason) => reason,
        };
        let (resource, name) = match attributes.target {
            Target::Resource(wanted) => (
                GroupResource::new(wanted.group.to_owned(), wanted.resource.to_owned()),
                wanted.name,
            ),
            Target::Path(_) => (GroupResource::new("", ""), ""),
        };
        let colon = if reason.is_empty() { "" } else { ": " };
        Err(Status::forbidden(&resource, name, format!("{attributes}{colon}{reason}")))
    }

    /// Like [`Self::decide`], after one more look when the answer is no.
    pub(crate) async fn authorize(
        &self,
        server: &ApiServer,
        attributes: &Attributes<'_>,
    ) -> Result<(), Status> {
        if self.is_allowed(attributes) {
            return Ok(());
        }
        self.caught_up(server).await?;
        self.decide(attributes)
    }
}
