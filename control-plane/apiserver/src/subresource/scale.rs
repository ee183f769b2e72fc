//! autoscaling/v1 Scale of whatever has replicas.

use http::StatusCode;
use skep_api::status::Status;
use skep_api::{Object, patch, scale};

use crate::answer::Answer;
use crate::call::Call;
use crate::request::Verb;
use crate::verbs::create::check_kind;
use crate::verbs::meta;
use crate::verbs::patch as patch_verb;
use crate::verbs::update::Change;

pub(super) async fn answer(call: &Call) -> Answer {
    let gvk = skep_api::GroupVersionKind::new("autoscaling", "v1", "Scale");
    let own = call.resource.gvk();
    let read = |object: &Object| {
        scale::read(&own, object).ok_or_else(|| Status::internal("the object has no scale"))
    };
    let write = |object: &Object, wanted: &Object| {
        let version = meta::text(wanted, "resourceVersion");
        if !version.is_empty() && version != meta::text(object, "resourceVersion") {
            return Err(Status::modified(&call.resource.group_resource(), call.name()));
        }
        let mut scaled = object.clone();
        scale::write(&mut scaled, wanted);
        Ok(scaled)
    };
    let change = Change::of(call)?;
    // The object's own specification changes, whatever the path is called.
    let change = Change { subresource: None, ..change };
    let object = match call.path.verb {
        Verb::Update => {
            let decoded = call.read_object(&gvk).await?;
            check_kind(&gvk, &decoded.gvk)?;
            change.run(|old| write(old, &decoded.object)).await?
        }
        Verb::Patch => {
            let (patch_type, body) = patch_verb::read(call).await?;
            let validation = call.write_options()?.validation;
            change
                .run(|old| {
                    let patched = patch::apply(patch_type, &gvk, &read(old)?, &body, validation)
                        .map_err(|error| patch_verb::refuse(&gvk, call.name(), &error))?;
                    write(old, &patched.object)
                })
                .await?
        }
        _ => call.objects()?.find(call.namespace(), call.name()).await?.object,
    };
    call.answer_as(StatusCode::OK, &read(&object)?, &gvk)
}
