//! Parameters of requests.

use serde_json::{Value, json};

use crate::schema::{Shape, Type};

use super::Dialect;

/// A parameter in an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    place: &'static str,
    kind: &'static str,
    description: String,
}

impl Parameter {
    fn query(&(name, kind, description): &(&str, &'static str, &str)) -> Self {
        Self { name: name.to_owned(), place: "query", kind, description: description.to_owned() }
    }

    /// A part of the path.
    pub(super) fn path(name: &str, description: String) -> Self {
        Self { name: name.to_owned(), place: "path", kind: "string", description }
    }

    /// The fields of an options kind. Times cannot be given in a query.
    pub(super) fn fields(ty: &Type) -> Vec<Self> {
        let own =
            ty.fields.iter().filter(|field| field.name != "kind" && field.name != "apiVersion");
        own.filter_map(|field| {
            let kind = match field.shape {
                Shape::Bool => "boolean",
                Shape::Int32 | Shape::Int64 => "integer",
                Shape::String => "string",
                Shape::List(ref items) if **items == Shape::Int32 => "integer",
                Shape::List(_) => "string",
                _ => return None,
            };
            Some(Self::query(&(&field.name, kind, "")))
        })
        .collect()
    }

    /// Its description in OpenAPI.
    pub(super) fn render(&self, dialect: Dialect) -> Value {
        let mut rendered = json!({ "name": self.name, "in": self.place });
        if !self.description.is_empty() {
            rendered["description"] = self.description.as_str().into();
        }
        if self.place == "path" {
            rendered["required"] = true.into();
        }
        match dialect {
            Dialect::Version2 => {
                rendered["type"] = self.kind.into();
                rendered["uniqueItems"] = true.into();
            }
            Dialect::Version3 => {
                rendered["schema"] = json!({ "type": self.kind, "uniqueItems": true });
            }
        }
        rendered
    }
}

type Query = (&'static str, &'static str, &'static str);

const PRETTY: [Query; 1] = [("pretty", "string", "'true' asks for indented output")];

const RANGE: [Query; 9] = [
    ("continue", "string", "where an earlier list, which was cut by its limit, goes on"),
    ("fieldSelector", "string", "only objects whose fields are so"),
    ("labelSelector", "string", "only objects whose labels are so"),
    ("limit", "integer", "how many objects at most"),
    ("resourceVersion", "string", "the state of the cluster that is asked for"),
    ("resourceVersionMatch", "string", "'Exact' or 'NotOlderThan' that state"),
    ("sendInitialEvents", "boolean", "a watch that begins with what there is"),
    ("timeoutSeconds", "integer", "how long the request may take"),
    ("watch", "boolean", "changes from now on, as a stream"),
];

const BOOKMARKS: [Query; 1] =
    [("allowWatchBookmarks", "boolean", "a watch also tells how far it is")];

const DRY_RUN: [Query; 1] = [("dryRun", "string", "'All' checks everything and changes nothing")];

const WRITE: [Query; 2] = [
    ("fieldManager", "string", "who makes the change"),
    (
        "fieldValidation",
        "string",
        "what unknown and repeated fields lead to: 'Ignore', 'Warn' or 'Strict'",
    ),
];

const DELETE: [Query; 3] = [
    ("gracePeriodSeconds", "integer", "how long the object may take to end"),
    ("orphanDependents", "boolean", "deprecated, see propagationPolicy"),
    (
        "propagationPolicy",
        "string",
        "what becomes of dependents: 'Orphan', 'Background' or 'Foreground'",
    ),
];

/// What a kind of request takes in its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QuerySet {
    Get,
    List,
    Write,
    Delete,
    DeleteCollection,
}

impl QuerySet {
    /// Its parameters.
    pub(super) fn parameters(self) -> Vec<Parameter> {
        let sets: &[&[Query]] = match self {
            Self::Get => &[],
            Self::List => &[&BOOKMARKS, &RANGE],
            Self::Write => &[&DRY_RUN, &WRITE],
            Self::Delete => &[&DRY_RUN, &DELETE],
            Self::DeleteCollection => &[&RANGE[..8], &DRY_RUN, &DELETE],
        };
        let sets = sets.iter().copied().chain([PRETTY.as_slice()]);
        sets.flatten().map(Parameter::query).collect()
    }
}
