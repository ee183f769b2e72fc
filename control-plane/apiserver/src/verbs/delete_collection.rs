//! Ending every object that the selectors name.

use http::StatusCode;
use skep_api::codec::ListWriter;
use skep_api::status::Reason;

use super::delete::Deletion;
use super::{list, meta};
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::request::options::DeleteOptions;

pub(crate) async fn delete_collection(call: &Call) -> Answer {
    let body = call.read_delete_options().await?;
    let options = DeleteOptions::read(&call.query, body.as_ref())?;
    let page = list::page(call, |object| object).await?;
    let mut writer = ListWriter::new(
        call.accept.media,
        &call.resource.list_gvk(),
        &call.resource.gvk(),
        &page.meta,
    );
    for item in &page.items {
        let deletion = Deletion {
            server: &call.server,
            user: &call.user,
            resource: call.resource,
            namespace: meta::text(item, "namespace"),
            name: meta::text(item, "name"),
            options: &options,
        };
        match deletion.run().await {
            Ok(deleted) => writer.push(&deleted.object),
            // Somebody else was faster: gone is gone.
            Err(status) if status.reason == Reason::NotFound => writer.push(item),
            Err(status) => return Err(status),
        }
    }
    Ok(answer::bytes(StatusCode::OK, call.accept.media.content_type(), writer.finish()))
}
