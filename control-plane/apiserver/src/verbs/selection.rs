//! Which objects of a list or watch are wanted.

use skep_api::Object;
use skep_api::names::GroupVersionKind;
use skep_api::registry::Resource;
use skep_api::selector::{FieldSelector, LabelSelector};
use skep_api::status::Status;

use crate::request::Query;

/// The label and field selectors of a request.
#[derive(Clone)]
pub(crate) struct Selection {
    gvk: GroupVersionKind,
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
}

impl Selection {
    pub(crate) fn read(resource: &Resource, query: &Query, name: &str) -> Result<Self, Status> {
        let gvk = resource.gvk();
        let labels = match query.get("labelSelector") {
            "" => None,
            text => Some(LabelSelector::parse(text).map_err(|error| {
                Status::bad_request(format!("unable to parse requirement: {error}"))
            })?),
        };
        let text = match query.get("fieldSelector") {
            "" if !name.is_empty() => format!("metadata.name={name}"),
            text => text.to_owned(),
        };
        let fields = match text.as_str() {
            "" => None,
            text => Some(Self::fields(&gvk, text)?),
        };
        Ok(Self { gvk, labels, fields })
    }

    fn fields(gvk: &GroupVersionKind, text: &str) -> Result<FieldSelector, Status> {
        let selector = FieldSelector::parse(text).and_then(|selector| selector.for_kind(gvk));
        selector.map_err(Status::bad_request)
    }

    /// Whether everything is wanted.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    pub(crate) fn matches(&self, object: &Object) -> bool {
        let labels = object["metadata"]["labels"].as_object();
        self.labels.as_ref().is_none_or(|selector| selector.matches(labels))
            && self.fields.as_ref().is_none_or(|selector| selector.matches(&self.gvk, object))
    }
}
