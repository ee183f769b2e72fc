//! From the store's events to the frames of one watch: what its selectors let through, and as what.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use parking_lot::Mutex;
use skep_api::Object;
use skep_api::codec::{self, Media};
use skep_api::names::GroupVersionKind;
use skep_api::table::{self, Include};
use skep_store::{Event, KeyValue, Revision};

use super::views::{View, ViewKey};
use crate::ApiServer;
use crate::call::Call;
use crate::http::accept::{Accept, Form};
use crate::objects::{Objects, set_resource_version};
use crate::verbs::selection::Selection;

pub(crate) const ADDED: &str = "ADDED";
const MODIFIED: &str = "MODIFIED";
const DELETED: &str = "DELETED";

/// Makes one watch's frames.
pub(crate) struct Feed {
    server: ApiServer,
    objects: Objects,
    selection: Selection,
    accept: Accept,
    include: Include,
    /// The columns of a table are told once.
    columns_told: Mutex<bool>,
}

impl Feed {
    pub(crate) fn new(call: &Call, objects: Objects, selection: Selection) -> Self {
        let media = if call.accept.media == Media::Yaml { Media::Json } else { call.accept.media };
        Self {
            server: call.server.clone(),
            objects,
            selection,
            accept: Accept { media, form: call.accept.form },
            include: call.query.get("includeObject").parse().unwrap_or_default(),
            columns_told: Mutex::new(false),
        }
    }

    pub(crate) fn content_type(media: Media) -> HeaderValue {
        HeaderValue::from_static(match media {
            Media::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            Media::Json | Media::Yaml => "application/json",
        })
    }

    /// An object that was there before the watch began.
    pub(crate) fn initial(&self, kv: &KeyValue) -> Option<Bytes> {
        let object = self.objects.decode(&kv.value, kv.mod_revision).ok()?;
        self.selection.matches(&object).then(|| self.encode(ADDED, &object).into())
    }

    /// What a change looks like through the selectors; nothing when it is out of sight.
    pub(crate) fn event(&self, event: &Event, revision: Revision) -> Option<Bytes> {
        let (current, was) = match (&event.current, &event.previous) {
            (Some(current), None) => (self.seen(current), false),
            (Some(current), Some(previous)) => (self.seen(current), self.saw(previous)),
            (None, Some(previous)) => (None, self.saw(previous)),
            (None, None) => return None,
        };
        match (current, was) {
            (Some(view), true) => Some(self.frame(&view, MODIFIED)),
            (Some(view), false) => Some(self.frame(&view, ADDED)),
            (None, true) => {
                let view = self.last_state(event.previous.as_ref()?, revision);
                Some(self.frame(&view, DELETED))
            }
            (None, false) => None,
        }
    }

    /// A mark that everything up to `revision` has been sent.
    pub(crate) fn bookmark(&self, revision: Revision, initial_end: bool) -> Bytes {
        let media = self.accept.media;
        let gvk = match self.accept.form {
            Form::Object => self.objects.resource.gvk(),
            Form::Metadata => meta_kind("PartialObjectMetadata"),
            Form::Table => meta_kind("Table"),
        };
        let object = codec::bookmark(media, &gvk, &revision.to_string(), initial_end);
        codec::watch_event(media, "BOOKMARK", &object).into()
    }

    /// The current state, when it is selected.
    fn seen(&self, kv: &KeyValue) -> Option<Arc<View>> {
        let view = self.view(kv, kv.mod_revision, false);
        let object = view.object(|| self.objects.decode(&kv.value, kv.mod_revision).ok())?;
        self.selection.matches(object).then_some(view)
    }

    /// Whether an earlier state was selected.
    fn saw(&self, kv: &KeyValue) -> bool {
        self.selection.is_everything() || self.seen(kv).is_some()
    }

    fn last_state(&self, previous: &KeyValue, revision: Revision) -> Arc<View> {
        let view = self.view(previous, revision, true);
        view.object(|| {
            let mut object = self.objects.decode(&previous.value, revision).ok()?;
            set_resource_version(&mut object, revision);
            Some(object)
        });
        view
    }

    fn view(&self, kv: &KeyValue, revision: Revision, last_state: bool) -> Arc<View> {
        let version = match &self.objects.resource.version {
            std::borrow::Cow::Borrowed(version) => version,
            std::borrow::Cow::Owned(_) => "",
        };
        self.server.views().view(ViewKey { key: kv.key.clone(), revision, last_state, version })
    }

    fn frame(&self, view: &View, kind: &'static str) -> Bytes {
        let Some(object) = view.object(|| None) else { return Bytes::new() };
        if self.accept.form == Form::Table {
            return self.encode(kind, object).into();
        }
        view.frame(self.accept, kind, || self.encode(kind, object))
    }

    fn encode(&self, kind: &str, object: &Object) -> Vec<u8> {
        let (media, gvk) = (self.accept.media, self.objects.resource.gvk());
        let encoded = match self.accept.form {
            Form::Object => codec::encode(object, &gvk, media),
            Form::Metadata => {
                let metadata = table::partial_metadata(object);
                codec::encode(&metadata, &meta_kind("PartialObjectMetadata"), media)
            }
            Form::Table => {
                let headers = !std::mem::replace(&mut *self.columns_told.lock(), true);
                let now = jiff::Timestamp::now();
                let mut table = table::render(&gvk, &[object], now, self.include, headers);
                let version = object["metadata"]["resourceVersion"].clone();
                table["metadata"] = serde_json::json!({"resourceVersion": version});
                codec::encode(&table, &meta_kind("Table"), media)
            }
        };
        codec::watch_event(media, kind, &encoded)
    }
}

fn meta_kind(kind: &'static str) -> GroupVersionKind {
    GroupVersionKind::new("meta.k8s.io", "v1", kind)
}
