//! The options of each verb, from the query string or a body.

use serde_json::Value;
use skep_api::codec::FieldValidation;
use skep_api::status::Status;

use super::Query;

/// What all writes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
}

impl WriteOptions {
    pub(crate) fn read(query: &Query) -> Result<Self, Status> {
        let dry_run = match query.get("dryRun") {
            "" => false,
            "All" => true,
            other => {
                return Err(Status::bad_request(format!(
                    "dryRun: Unsupported value: {other:?}: supported values: \"All\""
                )));
            }
        };
        let text = query.get("fieldValidation");
        let validation = FieldValidation::parse(text).ok_or_else(|| {
            Status::bad_request(format!(
                "fieldValidation: Unsupported value: {text:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))
        })?;
        Ok(Self { dry_run, validation })
    }
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// How to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    /// From the body, if there is one, otherwise from the query.
    pub(crate) fn read(query: &Query, body: Option<&Value>) -> Result<Self, Status> {
        let Some(body) = body else { return Self::from_query(query) };
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let dry_run =
            query.has("dryRun") || body["dryRun"].as_array().is_some_and(|all| !all.is_empty());
        let orphan = body["orphanDependents"].as_bool();
        Ok(Self {
            grace_seconds: body["gracePeriodSeconds"].as_i64(),
            propagation: propagation(
                body["propagationPolicy"].as_str().unwrap_or_default(),
                orphan,
            )?,
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            dry_run,
        })
    }

    fn from_query(query: &Query) -> Result<Self, Status> {
        let grace_seconds = query.number("gracePeriodSeconds");
        let orphan = query.has("orphanDependents").then(|| query.flag("orphanDependents"));
        Ok(Self {
            grace_seconds: grace_seconds.map_err(Status::bad_request)?,
            propagation: propagation(query.get("propagationPolicy"), orphan)?,
            dry_run: query.has("dryRun"),
            ..Self::default()
        })
    }
}

fn propagation(policy: &str, orphan: Option<bool>) -> Result<Option<Propagation>, Status> {
    Ok(Some(match (policy, orphan) {
        ("Orphan", _) | ("", Some(true)) => Propagation::Orphan,
        ("Background", _) | ("", Some(false)) => Propagation::Background,
        ("Foreground", _) => Propagation::Foreground,
        ("", None) => return Ok(None),
        (other, _) => {
            return Err(Status::bad_request(format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", nil"
            )));
        }
    }))
}

/// Which revision a list or watch wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    /// The newest.
    Newest,
    /// Whatever is at hand (`resourceVersion=0`).
    Any,
    /// This one or newer.
    NotOlderThan(u64),
    /// Exactly this one.
    Exact(u64),
}

impl RevisionMatch {
    pub(crate) fn read(query: &Query) -> Result<Self, Status> {
        let (version, rule) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
        let invalid = |message: &str| Err(Status::bad_request(message));
        if version.is_empty() {
            return match rule {
                "" => Ok(Self::Newest),
                _ if query.flag("sendInitialEvents") => Ok(Self::Newest),
                _ => invalid(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                ),
            };
        }
        let Ok(version) = version.parse() else {
            return invalid(&format!(
                "resourceVersion: Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax"
            ));
        };
        match (rule, version) {
            ("Exact", 0) => invalid(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            ),
            ("Exact", version) => Ok(Self::Exact(version)),
            ("" | "NotOlderThan", 0) => Ok(Self::Any),
            ("" | "NotOlderThan", version) => Ok(Self::NotOlderThan(version)),
            (other, _) => invalid(&format!(
                "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            )),
        }
    }
}
