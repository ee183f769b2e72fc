//! Changing part of an object.

use http::StatusCode;
use skep_api::names::GroupVersionKind;
use skep_api::patch::{self, PatchError, PatchType};
use skep_api::status::Status;

use super::update::Change;
use crate::answer::Answer;
use crate::call::Call;

const SUPPORTED: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// The patch in the body: its type and bytes.
pub(crate) async fn read(call: &Call) -> Result<(PatchType, bytes::Bytes), Status> {
    let content_type = call.content_type().split(';').next().unwrap_or_default().trim();
    let patch_type = match content_type {
        "application/json-patch+json" => PatchType::Json,
        "application/merge-patch+json" => PatchType::Merge,
        "application/strategic-merge-patch+json" => PatchType::Strategic,
        // Server-side apply needs the field managers' sets (structured merge): it gets its own branch here.
        _ => return Err(Status::unsupported_media_type(&SUPPORTED)),
    };
    Ok((patch_type, call.read_body().await?))
}

pub(crate) async fn patch(call: &Call) -> Answer {
    let (patch_type, body) = read(call).await?;
    let gvk = call.resource.gvk();
    let validation = call.write_options()?.validation;
    let change = Change::of(call)?;
    let patched = change
        .run(|old| {
            let patched = patch::apply(patch_type, &gvk, old, &body, validation)
                .map_err(|error| refuse(&gvk, call.name(), &error))?;
            patched.warnings.into_iter().for_each(|text| call.warn(text));
            Ok(patched.object)
        })
        .await?;
    call.answer(StatusCode::OK, &patched)
}

/// Why a patch was not applied, as an answer.
pub(crate) fn refuse(gvk: &GroupVersionKind, name: &str, error: &PatchError) -> Status {
    match error {
        PatchError::Body(message) => Status::bad_request(message.as_str()),
        PatchError::TooMany(_) => Status::too_large(error),
        PatchError::Unfit(message) => {
            let mut status = Status::invalid(&gvk.group_kind(), name, &[]);
            status.message.clone_from(message);
            status
        }
        PatchError::Result(error) => Status::bad_request(error.request_message()),
    }
}
