//! Looks at one object at a time and does with it what is decided. What the graph says is checked
//! with the server before anything is deleted.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::Shared;
use super::decide::{Cascade, Owner, Verdict, judge};
use super::graph::{FOREGROUND, Node, ORPHAN};
use crate::Error;
use crate::runtime::{Next, Objects, Reconcile, is_conflict, is_not_found};

/// The worker behind the garbage collector's queue of uids.
pub(super) struct Sweeper {
    pub(super) shared: Arc<Shared>,
    pub(super) objects: Objects,
}

type Metadata = PartialObjectMeta<DynamicObject>;

impl Reconcile for Sweeper {
    type Key = String;

    async fn reconcile(&self, uid: &String) -> Result<Next, Error> {
        let Some(known) = self.shared.graph.lock().get(uid).cloned() else {
            return Ok(Next::Change);
        };
        if known.going && !known.waits() && !known.frees() {
            return Ok(Next::Change);
        }
        let Some(api) = self.api(&known.api_version, &known.kind, &known.namespace) else {
            return Ok(Next::Change);
        };
        let live = api.get_metadata_opt(&known.name).await?;
        let Some(live) = live.filter(|live| live.metadata.uid.as_ref() == Some(uid)) else {
            self.shared.graph.lock().remove(uid);
            return Ok(Next::Change);
        };
        let node = Node::new(&known.api_version, &known.kind, &live.metadata);
        let mut owners = Vec::new();
        if !node.going {
            for owner in &node.owners {
                owners.push(self.look_up(owner, &node.namespace).await?);
            }
        }
        let dependents: Vec<(String, Node)> = {
            let graph = self.shared.graph.lock();
            graph.dependents(uid).map(|(uid, node)| (uid.clone(), node.clone())).collect()
        };
        let verdict = judge(uid, &node, &owners, &dependents);
        self.carry_out(uid, &api, &live, verdict, &dependents).await
    }
}

impl Sweeper {
    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Option<Api<DynamicObject>> {
        let resources = self.shared.resources.read();
        let resource = resources.get(&(api_version.to_owned(), kind.to_owned()))?;
        let client = self.objects.client().clone();
        Some(if resource.namespaced && !namespace.is_empty() {
            Api::namespaced_with(client, namespace, &resource.api)
        } else {
            Api::all_with(client, &resource.api)
        })
    }

    /// What is known of an owner. The graph is believed when it has the owner; that it is absent is
    /// believed only of the server.
    async fn look_up(&self, owner: &OwnerReference, namespace: &str) -> Result<Owner, Error> {
        if let Some(node) = self.shared.graph.lock().get(&owner.uid) {
            // Owners live in the same namespace or in none.
            if node.namespace.is_empty() || node.namespace == namespace {
                return Ok(if node.waits() { Owner::Waiting } else { Owner::Solid });
            }
            return Ok(Owner::Absent);
        }
        let Some(api) = self.api(&owner.api_version, &owner.kind, namespace) else {
            let (kind, version) = (&owner.kind, &owner.api_version);
            return Err(Error::Later(format!("the owner's kind {version} {kind} is not known")));
        };
        let live = api.get_metadata_opt(&owner.name).await?;
        Ok(match live.filter(|live| live.metadata.uid.as_ref() == Some(&owner.uid)) {
            None => Owner::Absent,
            Some(live)
                if live.metadata.deletion_timestamp.is_some()
                    && live.finalizers().iter().any(|finalizer| finalizer == FOREGROUND) =>
            {
                Owner::Waiting
            }
            Some(_) => Owner::Solid,
        })
    }

    async fn carry_out(
        &self,
        uid: &str,
        api: &Api<DynamicObject>,
        live: &Metadata,
        verdict: Verdict,
        dependents: &[(String, Node)],
    ) -> Result<Next, Error> {
        let name = live.name_any();
        match verdict {
            Verdict::Keep => {}
            Verdict::Disown(owners) => {
                patch(api, live, json!({ "ownerReferences": owners })).await?;
            }
            Verdict::Delete { cascade, unblock } => {
                if unblock {
                    for (_, dependent) in dependents {
                        self.unblock(uid, dependent).await?;
                    }
                }
                let how = match cascade {
                    Cascade::Background => DeleteParams::background(),
                    Cascade::Foreground => DeleteParams::foreground(),
                    Cascade::Orphan => DeleteParams::orphan(),
                };
                let same = Preconditions {
                    uid: Some(uid.into()),
                    resource_version: live.metadata.resource_version.clone(),
                };
                match api.delete(&name, &how.preconditions(same)).await {
                    Err(error) if is_not_found(&error) => {}
                    result => drop(result?),
                }
            }
            Verdict::Await(unasked) => {
                // Each of them is looked at in its own right, and then goes.
                return if unasked.is_empty() {
                    Ok(Next::Change)
                } else {
                    let waiting = unasked.len();
                    Err(Error::Later(format!("{name} waits for {waiting} dependents")))
                };
            }
            Verdict::Finish => drop_finalizer(api, live, FOREGROUND).await?,
            Verdict::Free => {
                for (_, dependent) in dependents {
                    self.free(uid, dependent).await?;
                }
                drop_finalizer(api, live, ORPHAN).await?;
            }
        }
        Ok(Next::Change)
    }

    /// Takes the owner out of the dependent's owners.
    async fn free(&self, owner: &str, dependent: &Node) -> Result<(), Error> {
        let Some((api, live)) = self.fetch(dependent).await? else { return Ok(()) };
        let owners = live.owner_references().iter().filter(|reference| reference.uid != owner);
        let owners: Vec<&OwnerReference> = owners.collect();
        if owners.len() == live.owner_references().len() {
            return Ok(());
        }
        patch(&api, &live, json!({ "ownerReferences": owners })).await
    }

    /// Makes the dependent no longer block the owner's deletion.
    async fn unblock(&self, owner: &str, dependent: &Node) -> Result<(), Error> {
        let Some((api, live)) = self.fetch(dependent).await? else { return Ok(()) };
        let mut owners = live.owner_references().to_vec();
        let blocking = owners.iter_mut().filter(|reference| reference.uid == owner);
        blocking.for_each(|reference| reference.block_owner_deletion = Some(false));
        patch(&api, &live, json!({ "ownerReferences": owners })).await
    }

    async fn fetch(&self, node: &Node) -> Result<Option<(Api<DynamicObject>, Metadata)>, Error> {
        let Some(api) = self.api(&node.api_version, &node.kind, &node.namespace) else {
            return Ok(None);
        };
        Ok(api.get_metadata_opt(&node.name).await?.map(|live| (api, live)))
    }
}

async fn drop_finalizer(
    api: &Api<DynamicObject>,
    live: &Metadata,
    finalizer: &str,
) -> Result<(), Error> {
    let left: Vec<&String> = live.finalizers().iter().filter(|known| *known != finalizer).collect();
    patch(api, live, json!({ "finalizers": left })).await
}

/// Changes metadata, provided that the object is still the one that was looked at.
async fn patch(api: &Api<DynamicObject>, live: &Metadata, mut change: Value) -> Result<(), Error> {
    change["uid"] = json!(live.metadata.uid);
    change["resourceVersion"] = json!(live.metadata.resource_version);
    let patch = Patch::Merge(json!({ "metadata": change }));
    match api.patch_metadata(&live.name_any(), &PatchParams::default(), &patch).await {
        Err(error) if is_not_found(&error) => Ok(()),
        Err(error) if is_conflict(&error) => Err(Error::Later("changed in the meantime".into())),
        result => result.map(drop).map_err(Error::from),
    }
}
