//! Errors as values: metav1.Status with upstream's reasons, codes and wording.

mod cause;

pub use cause::{Cause, FieldError, FieldErrorKind};

use std::fmt;

use serde_json::{Map, Value, json};

use crate::names::{GroupKind, GroupResource};

/// A machine-readable reason, with the HTTP code that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are upstream's, documented as metav1.StatusReason")]
pub enum Reason {
    Unknown,
    Unauthorized,
    Forbidden,
    NotFound,
    AlreadyExists,
    Conflict,
    Gone,
    Invalid,
    ServerTimeout,
    Timeout,
    TooManyRequests,
    BadRequest,
    MethodNotAllowed,
    NotAcceptable,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    InternalError,
    Expired,
    ServiceUnavailable,
}

impl Reason {
    /// As it stands in `reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Invalid => "Invalid",
            Self::ServerTimeout => "ServerTimeout",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::BadRequest => "BadRequest",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::InternalError => "InternalError",
            Self::Expired => "Expired",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    fn code(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::Invalid => 422,
            Self::Timeout => 504,
            Self::TooManyRequests => 429,
            Self::BadRequest => 400,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::ServiceUnavailable => 503,
            Self::Unknown | Self::ServerTimeout | Self::InternalError => 500,
        }
    }
}

/// What an answer other than success says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code
    pub code: u16,
    /// For programs
    pub reason: Reason,
    /// For people
    pub message: String,
    /// What it is about
    pub details: Option<Box<Details>>,
    /// Where a list that cannot go on as it began may go on; empty where it may not
    pub continue_token: String,
}

/// What a status is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object
    pub name: String,
    /// Its group
    pub group: String,
    /// Its kind, or its resource: upstream is not of one mind
    pub kind: String,
    /// Its uid
    pub uid: String,
    /// One per field
    pub causes: Vec<Cause>,
    /// When to try again
    pub retry_after_seconds: u32,
}

impl Status {
    /// A status of this reason, with its usual code.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let (code, message) = (reason.code(), message.into());
        Self { code, reason, message, details: None, continue_token: String::new() }
    }

    fn about(mut self, resource: &GroupResource, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..Details::default()
        }));
        self
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }

    /// With a time to try again, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details_mut().retry_after_seconds = seconds;
        self
    }

    /// With a cause.
    pub fn caused_by(mut self, cause: Cause) -> Self {
        self.details_mut().causes.push(cause);
        self
    }

    /// `pods "a" not found`
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{resource} {name:?} not found")).about(resource, name)
    }

    /// `pods "a" already exists`
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{resource} {name:?} already exists"))
            .about(resource, name)
    }

    /// No free name was found for a `generateName`.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str) -> Self {
        let message = format!(
            "{resource} {name:?} already exists, the server was not able to generate a unique name for the object"
        );
        Self::new(Reason::AlreadyExists, message).about(resource, name).retry_after(1)
    }

    /// `Operation cannot be fulfilled on pods "a": ...`
    pub fn conflict(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::new(Reason::Conflict, message).about(resource, name)
    }

    /// The conflict of an update that does not build on the newest revision.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// `pods "a" is forbidden: ...`
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl fmt::Display) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (_, true) => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} {name:?} is forbidden: {why}"),
        };
        Self::new(Reason::Forbidden, message).about(resource, name)
    }

    /// No identity, or one that did not prove itself.
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// `Pod "a" is invalid: spec.containers: Required value`
    pub fn invalid(kind: &GroupKind, name: &str, errors: &[FieldError]) -> Self {
        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match list.as_slice() {
            [] => "<nil>".to_owned(),
            [only] => only.clone(),
            _ => format!("[{}]", list.join(", ")),
        };
        let mut status = Self::new(Reason::Invalid, format!("{kind} {name:?} is invalid: {list}"));
        status.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: kind.group.to_string(),
            kind: kind.kind.to_string(),
            causes: errors.iter().map(FieldError::cause).collect(),
            ..Details::default()
        }));
        status
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// `patch is not supported on resources of kind "pods"`
    pub fn method_not_supported(resource: &GroupResource, verb: &str) -> Self {
        let message =
            format!("{verb} is not supported on resources of kind {:?}", resource.to_string());
        Self::new(Reason::MethodNotAllowed, message).about(resource, "")
    }

    /// A continue token or a revision that is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// A watch from a revision that is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(Reason::Gone, message)
    }

    /// The store does not have the asked-for revision yet.
    pub fn too_large_resource_version(asked: u64, current: u64, retry_after_seconds: u32) -> Self {
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut status = Self::new(Reason::Timeout, message).retry_after(retry_after_seconds);
        status.details_mut().causes.push(Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        });
        status
    }

    /// A body beyond the limit.
    pub fn too_large(message: impl fmt::Display) -> Self {
        Self::new(Reason::RequestEntityTooLarge, format!("Request entity is too large: {message}"))
    }

    /// Too many requests at once.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// A defect or a failure inside the server.
    pub fn internal(error: impl fmt::Display) -> Self {
        let status = Self::new(Reason::InternalError, format!("Internal error occurred: {error}"));
        let message = error.to_string();
        status.caused_by(Cause { reason: String::new(), message, field: String::new() })
    }

    /// The request did not end in time.
    pub fn timeout(message: impl fmt::Display, retry_after_seconds: u32) -> Self {
        Self::new(Reason::Timeout, format!("Timeout: {message}")).retry_after(retry_after_seconds)
    }

    /// The server cannot do it just now.
    pub fn server_timeout(resource: &GroupResource, verb: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "The {verb} operation against {resource} could not be completed at this time, please try again."
        );
        Self::new(Reason::ServerTimeout, message)
            .about(resource, verb)
            .retry_after(retry_after_seconds)
    }

    /// The server is not ready or is going away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// A body of a type nobody reads.
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Self::new(Reason::UnsupportedMediaType, message)
    }

    /// An answer of a type nobody writes.
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let message =
            format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(Reason::NotAcceptable, message)
    }

    /// A path that leads nowhere.
    pub fn no_such_path() -> Self {
        let mut status =
            Self::new(Reason::NotFound, "the server could not find the requested resource");
        status.details_mut();
        status
    }

    /// As upstream writes it: metav1.Status.
    pub fn to_value(&self) -> Value {
        let mut tree = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.name(),
            "code": self.code,
        });
        if self.reason == Reason::Unknown {
            tree.as_object_mut().map(|map| map.remove("reason"));
        }
        if let Some(details) = &self.details {
            tree["details"] = details.to_value();
        }
        if !self.continue_token.is_empty() {
            tree["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        tree
    }

    /// The answer to a deletion, and to other requests that succeed without an object.
    pub fn success(details: Option<&Details>) -> Value {
        let mut tree =
            json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" });
        if let Some(details) = details {
            tree["details"] = details.to_value();
        }
        tree
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !text.is_empty() {
                map.insert(key.to_owned(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes".to_owned(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds != 0 {
            map.insert("retryAfterSeconds".to_owned(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_like_upstreams() {
        let deployments = GroupResource::new("apps", "deployments");
        assert_eq!(
            Status::not_found(&deployments, "a").to_value(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"a\" not found", "reason": "NotFound", "code": 404,
                "details": { "name": "a", "group": "apps", "kind": "deployments" },
            })
        );
        let kind = GroupKind { group: "apps".into(), kind: "Deployment".into() };
        let errors = [
            FieldError::required("spec.selector", ""),
            FieldError::invalid("spec.replicas", json!(-1), "must be greater than or equal to 0"),
        ];
        let status = Status::invalid(&kind, "a", &errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"a\" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be greater than or equal to 0]"
        );
        assert_eq!(
            status.to_value()["details"]["causes"][1],
            json!({
                "reason": "FieldValueInvalid",
                "message": "Invalid value: -1: must be greater than or equal to 0",
                "field": "spec.replicas",
            })
        );
    }
}
