//! Reading many objects at one revision, whole or page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::codec::{self, ListMeta, ListWriter, Media};
use skep_api::names::GroupVersionKind;
use skep_api::status::Status;
use skep_api::table::{self as api_table};
use skep_store::{Range, Revision};

use super::selection::Selection;
use crate::answer::{self, Answer};
use crate::call::Call;
use crate::http::accept::Form;
use crate::objects::{Objects, store_error};
use crate::request::options::RevisionMatch;

/// Where a list goes on: after which key, at which revision (none: the newest). Upstream's token, so that
/// either can continue the other's lists.
struct Continue {
    revision: Option<Revision>,
    start: String,
}

/// In a token, the newest revision there is when it is used.
const NEWEST: i64 = -1;

impl Continue {
    fn parse(token: &str) -> Result<Self, Status> {
        let invalid = || Status::bad_request("continue key is not valid");
        let decoded = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let fields: Value = serde_json::from_slice(&decoded).map_err(|_| invalid())?;
        let revision = match fields["rv"].as_i64().ok_or_else(invalid)? {
            NEWEST => None,
            revision => Some(Revision(u64::try_from(revision).map_err(|_| invalid())?)),
        };
        let start = fields["start"].as_str().ok_or_else(invalid)?;
        if fields["v"] != "meta.k8s.io/v1" || start.split('/').any(|part| part == "..") {
            return Err(invalid());
        }
        Ok(Self { revision, start: start.to_owned() })
    }

    fn token(&self) -> String {
        let revision = self.revision.map_or(json!(NEWEST), |revision| json!(revision.0));
        let fields = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": self.start});
        URL_SAFE_NO_PAD.encode(fields.to_string())
    }
}

/// What a list found, each object in the shape it is needed in.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) meta: ListMeta,
}

pub(crate) async fn list(call: &Call) -> Answer {
    let (media, gvk) = (call.accept.media, call.resource.gvk());
    let encoded = match call.accept.form {
        Form::Object => encoded(call, &call.resource.list_gvk(), &gvk, |object| object).await?,
        Form::Metadata => {
            let of = |kind: &'static str| GroupVersionKind::new("meta.k8s.io", "v1", kind);
            let (list, item) = (of("PartialObjectMetadataList"), of("PartialObjectMetadata"));
            encoded(call, &list, &item, |object| api_table::partial_metadata(&object)).await?
        }
        Form::Table => {
            let page = page(call, |object| object).await?;
            let items: Vec<&Object> = page.items.iter().collect();
            let mut table = table(call, &gvk, &items)?;
            table["metadata"] = page.meta.to_value();
            codec::encode(&table, &GroupVersionKind::new("meta.k8s.io", "v1", "Table"), media)
        }
    };
    let mut response = answer::bytes(StatusCode::OK, media.content_type(), Bytes::new());
    answer::compress(encoded, call.takes_gzip(), &mut response);
    call.add_warnings(&mut response);
    Ok(response)
}

/// The encoded list. Each object is encoded as it is found, so that one tree is alive at a time.
async fn encoded(
    call: &Call,
    list: &GroupVersionKind,
    item: &GroupVersionKind,
    form: impl Fn(Object) -> Object,
) -> Result<Vec<u8>, Status> {
    // YAML is made of the finished JSON.
    let item_media = match call.accept.media {
        Media::Yaml => Media::Json,
        media => media,
    };
    let page = page(call, |object| codec::encode(&form(object), item, item_media)).await?;
    let mut writer = ListWriter::new(call.accept.media, list, item, &page.meta);
    for item in &page.items {
        writer.push_encoded(item).map_err(Status::internal)?;
    }
    Ok(writer.finish())
}

/// Rows to print.
pub(crate) fn table(
    call: &Call,
    gvk: &GroupVersionKind,
    items: &[&Object],
) -> Result<Object, Status> {
    let include = call
        .query
        .get("includeObject")
        .parse()
        .map_err(|message: String| Status::bad_request(message))?;
    let mut table = api_table::render(gvk, items, jiff::Timestamp::now(), include, true);
    if let [item] = items {
        let version = item["metadata"]["resourceVersion"].clone();
        if !version.is_null() {
            table["metadata"] = json!({"resourceVersion": version});
        }
    }
    Ok(table)
}

/// The objects that the request's selectors, limit and revision ask for.
pub(crate) async fn page<T>(call: &Call, shape: impl Fn(Object) -> T) -> Result<Page<T>, Status> {
    let objects = call.objects()?;
    let selection = Selection::read(call.resource, &call.query, call.name())?;
    let limit = call.query.number("limit").map_err(Status::bad_request)?.unwrap_or(0);
    let limit = usize::try_from(limit).unwrap_or(0);
    let token = match call.query.get("continue") {
        "" => None,
        token => Some(Continue::parse(token)?),
    };
    let mut range = Range::prefix(objects.prefix(call.namespace()));
    range.revision = match &token {
        Some(token) => {
            range.start = format!("{}{}", objects.prefix(""), token.start).into();
            token.revision
        }
        None => wanted_revision(&objects, RevisionMatch::read(&call.query)?).await?,
    };
    range.limit = (limit > 0 && selection.is_everything()).then_some(limit);
    let found = objects.store.range(range).await.map_err(|error| match error {
        skep_store::Error::Compacted { .. } => match token {
            Some(token) => token_expired(token),
            None => store_error(error),
        },
        error => store_error(error),
    })?;
    let (mut items, mut last, mut seen) = (Vec::new(), None, 0);
    for kv in &found.kvs {
        if limit > 0 && items.len() == limit {
            break;
        }
        seen += 1;
        let object = objects.decode(&kv.value, kv.mod_revision)?;
        if selection.matches(&object) {
            items.push(shape(object));
            last = Some(&kv.key);
        }
    }
    let remaining = found.kvs.len() - seen + found.remaining;
    let mut meta = ListMeta { resource_version: found.revision.to_string(), ..ListMeta::default() };
    if remaining > 0
        && let Some(last) = last
    {
        let start = format!("{}\0", objects.relative(last));
        meta.continue_token = Continue { revision: Some(found.revision), start }.token();
        // Upstream counts only where no selector makes the number a guess.
        meta.remaining =
            selection.is_everything().then(|| i64::try_from(remaining).unwrap_or(i64::MAX));
    }
    Ok(Page { items, meta })
}

/// A list's revision was compacted away: its rest can only be had as it is now.
fn token_expired(token: Continue) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new \
         list without the continue parameter, or use the continue token in this response to retrieve the \
         remainder of the results. Continuing with the provided token results in an inconsistent list - \
         objects that were created, modified, or deleted between the time the first chunk was returned and \
         now may show up in the list.",
    );
    status.continue_token = Continue { revision: None, ..token }.token();
    status
}

/// The revision to read at; the newest when absent.
async fn wanted_revision(
    objects: &Objects,
    wanted: RevisionMatch,
) -> Result<Option<Revision>, Status> {
    match wanted {
        RevisionMatch::Newest | RevisionMatch::Any => Ok(None),
        RevisionMatch::Exact(version) => Ok(Some(Revision(version))),
        RevisionMatch::NotOlderThan(version) => {
            let current = objects.store.revision().await.map_err(store_error)?;
            if version > current.0 {
                return Err(Status::too_large_resource_version(version, current.0, 1));
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_whose_moment_is_gone_may_go_on_from_the_same_key_now() {
        let token = Continue { revision: Some(Revision(7)), start: "default/a\0".to_owned() };
        let expired = token_expired(Continue::parse(&token.token()).unwrap());
        assert_eq!((expired.code, expired.reason.name()), (410, "Expired"));
        let told = expired.to_value();
        let fresh = Continue::parse(told["metadata"]["continue"].as_str().unwrap()).unwrap();
        assert_eq!((fresh.revision, fresh.start), (None, token.start));
    }

    #[test]
    fn tokens_of_other_making_are_refused() {
        for fields in [
            json!({"v": "meta.k8s.io/v1", "rv": -2, "start": "a"}),
            json!({"v": "meta.k8s.io/v1", "rv": "1", "start": "a"}),
            json!({"v": "v1", "rv": 1, "start": "a"}),
            json!({"v": "meta.k8s.io/v1", "rv": 1, "start": "../a"}),
        ] {
            let token = URL_SAFE_NO_PAD.encode(fields.to_string());
            assert!(Continue::parse(&token).is_err(), "{fields}");
        }
    }
}
