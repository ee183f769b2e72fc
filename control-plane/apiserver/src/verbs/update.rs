//! Replacing an object, whole or by patch: read, change, check, compare and write, and again when
//! somebody else was faster.

use http::StatusCode;
use skep_api::registry::Resource;
use skep_api::status::{FieldError, Status};
use skep_api::{Object, defaults, strategy, validate};
use skep_auth::authn::UserInfo;
use skep_store::{Txn, TxnOutcome};

use super::create::{Creation, check_kind, check_namespace};
use super::{delete, meta};
use crate::ApiServer;
use crate::admission::{self, Operation, Write};
use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, Stored, set_resource_version, store_error};

/// Writers that keep losing against others give up at some point.
const ATTEMPTS: usize = 64;

pub(crate) async fn update(call: &Call) -> Answer {
    let gvk = call.resource.gvk();
    let decoded = call.read_object(&gvk).await?;
    check_kind(&gvk, &decoded.gvk)?;
    let object = decoded.object;
    let name = meta::text(&object, "name");
    if name != call.name() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name()
        )));
    }
    let change = Change::of(call)?;
    if change.subresource.is_none()
        && strategy::allows_create_on_update(&gvk)
        && change.objects()?.get(call.namespace(), call.name()).await?.is_none()
    {
        let created = change.creation().create(object).await?;
        return call.answer(StatusCode::CREATED, &created);
    }
    let updated = change.run(|_| Ok(object.clone())).await?;
    call.answer(StatusCode::OK, &updated)
}

/// Who changes what.
pub(crate) struct Change<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) user: &'a UserInfo,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) dry_run: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn of(call: &'a Call) -> Result<Self, Status> {
        Ok(Self {
            server: &call.server,
            user: &call.user,
            resource: call.resource,
            namespace: call.namespace(),
            name: call.name(),
            subresource: call.subresource(),
            dry_run: call.write_options()?.dry_run,
        })
    }

    fn objects(&self) -> Result<Objects, Status> {
        let unsupported =
            || Status::method_not_supported(&self.resource.group_resource(), "update");
        Objects::of(self.server, self.resource).ok_or_else(unsupported)
    }

    fn creation(&self) -> Creation<'_> {
        let Self { server, user, resource, namespace, dry_run, .. } = *self;
        Creation { server, user, resource, namespace, dry_run }
    }

    /// Applies `change` to the object as it is, until the result could be written; answers that.
    pub(crate) async fn run(
        &self,
        mut change: impl FnMut(&Object) -> Result<Object, Status> + Send,
    ) -> Result<Object, Status> {
        let objects = self.objects()?;
        for _ in 0..ATTEMPTS {
            let stored = objects.find(self.namespace, self.name).await?;
            let wanted = change(&stored.object)?;
            if let Some(done) = self.attempt(&objects, &stored, wanted).await? {
                return Ok(done);
            }
        }
        Err(Status::modified(&self.resource.group_resource(), self.name))
    }

    /// One round; `None` when somebody else wrote in between.
    async fn attempt(
        &self,
        objects: &Objects,
        stored: &Stored,
        wanted: Object,
    ) -> Result<Option<Object>, Status> {
        let old = &stored.object;
        let mut object = self.prepare(wanted, old).await?;
        let reservation = match self.subresource {
            None => self.server.services().reserve(self.resource, Some(&mut object), Some(old))?,
            Some(_) => self.server.services().reserve(self.resource, None, None)?,
        };
        let gvk = self.resource.gvk();
        let errors = validate::update(&gvk, &object, old, self.subresource);
        if !errors.is_empty() {
            return Err(Status::invalid(&gvk.group_kind(), self.name, &errors));
        }
        let write = self.write(Some(object), old);
        admission::validate(&write).await?;
        let mut object = write.object.unwrap_or_default();
        if delete::is_finished(self.resource, &object) {
            if self.dry_run {
                return Ok(Some(object));
            }
            let txn = Txn::delete(stored.key.clone(), stored.revision);
            return Ok(match objects.store.txn(txn).await.map_err(store_error)? {
                TxnOutcome::Committed(revision) => {
                    drop(reservation);
                    delete::forget(self.server, self.resource, old);
                    set_resource_version(&mut object, revision);
                    Some(object)
                }
                TxnOutcome::Conflict(_) => None,
            });
        }
        if self.dry_run || object == *old {
            return Ok(Some(object));
        }
        let lease = self.server.lease_for(self.resource).await?.or(stored.lease);
        let txn = Txn::update(stored.key.clone(), stored.revision, objects.encode(&object)?, lease);
        match objects.store.txn(txn).await.map_err(store_error)? {
            TxnOutcome::Committed(revision) => {
                reservation.commit();
                set_resource_version(&mut object, revision);
                Ok(Some(object))
            }
            TxnOutcome::Conflict(_) => Ok(None),
        }
    }

    /// Checks what the client claims to know of the object, and completes what only the server sets.
    async fn prepare(&self, mut object: Object, old: &Object) -> Result<Object, Status> {
        check_namespace(&object, self.namespace)?;
        let (group_resource, gvk) = (self.resource.group_resource(), self.resource.gvk());
        let version = meta::text(&object, "resourceVersion");
        if !version.is_empty() && version != "0" && version != meta::text(old, "resourceVersion") {
            return Err(Status::modified(&group_resource, self.name));
        }
        if version.is_empty() && !strategy::allows_unconditional_update(&gvk) {
            let error = FieldError::invalid(
                "metadata.resourceVersion",
                0,
                "must be specified for an update",
            );
            return Err(Status::invalid(&gvk.group_kind(), self.name, &[error]));
        }
        let (uid, old_uid) = (meta::text(&object, "uid"), meta::text(old, "uid"));
        if !uid.is_empty() && uid != old_uid {
            return Err(Status::conflict(
                &group_resource,
                self.name,
                format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}"
                ),
            ));
        }
        let kept = [
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
            "generation",
            "selfLink",
            "managedFields",
        ];
        meta::keep(&mut object, old, &kept);
        defaults::apply(&gvk, &mut object);
        let mut write = self.write(Some(object), old);
        admission::mutate(&mut write).await?;
        let mut object = write.object.unwrap_or_default();
        strategy::prepare_update(&gvk, &mut object, old, self.subresource, jiff::Timestamp::now());
        Ok(object)
    }

    fn write<'b>(&'b self, object: Option<Object>, old: &'b Object) -> Write<'b> {
        Write {
            server: self.server,
            user: self.user,
            operation: Operation::Update,
            resource: self.resource,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            object,
            old: Some(old),
        }
    }
}
