//! Making an object.

use http::StatusCode;
use rand::RngExt;
use skep_api::names::GroupVersionKind;
use skep_api::registry::Resource;
use skep_api::status::{Reason, Status};
use skep_api::{Object, defaults, strategy, validate};
use skep_auth::authn::UserInfo;
use skep_store::{Txn, TxnOutcome};

use super::meta;
use crate::ApiServer;
use crate::admission::{self, Operation, Write};
use crate::answer::Answer;
use crate::call::Call;
use crate::objects::{Objects, set_resource_version, store_error};

/// Letters that make no words, as upstream has them.
const SUFFIX_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const MAX_GENERATED_BASE: usize = 63 - SUFFIX_LENGTH;
const NAME_ATTEMPTS: usize = 8;

pub(crate) async fn create(call: &Call) -> Answer {
    let gvk = call.resource.gvk();
    let decoded = call.read_object(&gvk).await?;
    check_kind(&gvk, &decoded.gvk)?;
    let creation = Creation {
        server: &call.server,
        user: &call.user,
        resource: call.resource,
        namespace: call.namespace(),
        dry_run: call.write_options()?.dry_run,
    };
    let created = creation.create(decoded.object).await?;
    call.answer(StatusCode::CREATED, &created)
}

/// Refuses an object of another kind or version than its path says.
pub(crate) fn check_kind(
    wanted: &GroupVersionKind,
    found: &GroupVersionKind,
) -> Result<(), Status> {
    if wanted == found {
        return Ok(());
    }
    if wanted.kind == found.kind {
        let (found, wanted) = (found.group_version(), wanted.group_version());
        return Err(Status::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        )));
    }
    Err(Status::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}",
        found.kind, found.version, wanted.kind
    )))
}

/// Who makes what where.
pub(crate) struct Creation<'a> {
    pub(crate) server: &'a ApiServer,
    pub(crate) user: &'a UserInfo,
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: &'a str,
    pub(crate) dry_run: bool,
}

impl Creation<'_> {
    /// Admits, completes, checks and writes the object; answers it as it was written.
    pub(crate) async fn create(&self, object: Object) -> Result<Object, Status> {
        let generated = meta::text(&object, "name").is_empty()
            && !meta::text(&object, "generateName").is_empty();
        if !generated {
            return self.create_named(object).await;
        }
        let base: String =
            meta::text(&object, "generateName").chars().take(MAX_GENERATED_BASE).collect();
        for _ in 0..NAME_ATTEMPTS {
            let mut object = object.clone();
            meta::set_text(&mut object, "name", &format!("{base}{}", random_suffix()));
            match self.create_named(object).await {
                Err(status) if status.reason == Reason::AlreadyExists => {}
                other => return other,
            }
        }
        Err(Status::generate_name_conflict(&self.resource.group_resource(), &base))
    }

    async fn create_named(&self, mut object: Object) -> Result<Object, Status> {
        let objects = self.objects()?;
        let gvk = self.resource.gvk();
        self.complete_metadata(&mut object)?;
        defaults::apply(&gvk, &mut object);
        let name = meta::text(&object, "name").to_owned();
        let mut write = Write {
            server: self.server,
            user: self.user,
            operation: Operation::Create,
            resource: self.resource,
            subresource: None,
            namespace: self.namespace,
            name: &name,
            object: Some(object),
            old: None,
        };
        admission::mutate(&mut write).await?;
        let mut object = write.object.take().unwrap_or_default();
        strategy::prepare_create(&gvk, &mut object, jiff::Timestamp::now());
        let reservation = self.server.services().reserve(self.resource, Some(&mut object), None)?;
        let errors = validate::create(&gvk, &object);
        if !errors.is_empty() {
            return Err(Status::invalid(&gvk.group_kind(), &name, &errors));
        }
        write.object = Some(object);
        admission::validate(&write).await?;
        let mut object = write.object.take().unwrap_or_default();
        if self.dry_run {
            return match objects.get(self.namespace, &name).await? {
                Some(_) => Err(Status::already_exists(&self.resource.group_resource(), &name)),
                None => Ok(object),
            };
        }
        let lease = self.server.lease_for(self.resource).await?;
        let txn = Txn::create(objects.key(self.namespace, &name), objects.encode(&object)?, lease);
        match objects.store.txn(txn).await.map_err(store_error)? {
            TxnOutcome::Committed(revision) => {
                reservation.commit();
                set_resource_version(&mut object, revision);
                Ok(object)
            }
            TxnOutcome::Conflict(_) => {
                Err(Status::already_exists(&self.resource.group_resource(), &name))
            }
        }
    }

    fn objects(&self) -> Result<Objects, Status> {
        let unsupported =
            || Status::method_not_supported(&self.resource.group_resource(), "create");
        Objects::of(self.server, self.resource).ok_or_else(unsupported)
    }

    /// What every new object gets, whatever it brought along.
    fn complete_metadata(&self, object: &mut Object) -> Result<(), Status> {
        check_namespace(object, self.namespace)?;
        if !meta::text(object, "resourceVersion").is_empty() {
            return Err(Status::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let metadata = meta::of_mut(object);
        for field in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"]
        {
            metadata.remove(field);
        }
        meta::set_text(object, "namespace", self.namespace);
        meta::set_text(object, "uid", &uuid::Uuid::new_v4().to_string());
        meta::set_text(object, "creationTimestamp", &meta::time(jiff::Timestamp::now()));
        Ok(())
    }
}

/// The object's namespace must be the path's, or not be told.
pub(crate) fn check_namespace(object: &Object, namespace: &str) -> Result<(), Status> {
    let own = meta::text(object, "namespace");
    if own.is_empty() || own == namespace {
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn random_suffix() -> String {
    let mut random = rand::rng();
    let letter = |_| SUFFIX_LETTERS[random.random_range(..SUFFIX_LETTERS.len())] as char;
    (0..SUFFIX_LENGTH).map(letter).collect()
}
