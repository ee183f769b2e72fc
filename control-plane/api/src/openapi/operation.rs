//! An operation: a method on a path, what it takes and what it answers.

use serde_json::{Map, Value, json};

use crate::names::GroupVersionKind;

use super::Dialect;
use super::definition::Definitions;
use super::parameter::Parameter;

/// A method on a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) action: &'static str,
    pub(super) gvk: Option<GroupVersionKind>,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) description: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Body,
    pub(super) answer: Answer,
    /// Successful status codes
    pub(super) codes: &'static [u16],
}

/// What a request carries.
pub(super) enum Body {
    /// Nothing
    None,
    /// An object of this type, which may be left out
    Optional(String),
    /// An object of this type
    Object(String),
    /// A patch
    Patch,
}

/// What a request is answered with.
pub(super) enum Answer {
    /// An object of this type
    Object(String),
    /// A list or watch of this type
    Stream(String),
    /// A log
    Log,
    /// Whatever the other end says
    Connection,
}

const MEDIA: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

impl Answer {
    fn media(&self) -> Vec<&'static str> {
        match self {
            Self::Object(_) => MEDIA.to_vec(),
            Self::Stream(_) => [MEDIA.as_slice(), &STREAMS].concat(),
            Self::Log => [&["text/plain"], MEDIA.as_slice()].concat(),
            Self::Connection => vec!["*/*"],
        }
    }

    fn schema(&self, definitions: &mut Definitions) -> Value {
        match self {
            Self::Object(name) | Self::Stream(name) => definitions.refer(name),
            Self::Log | Self::Connection => json!({ "type": "string" }),
        }
    }
}

impl Operation {
    /// Its description in OpenAPI, without the parameters that it shares with the rest of its path.
    pub(super) fn render(&self, shared: &[Parameter], definitions: &mut Definitions) -> Value {
        let dialect = definitions.dialect;
        let mut rendered = json!({
            "tags": [self.tag],
            "description": self.description,
            "operationId": self.id,
        });
        if let Some(gvk) = &self.gvk {
            rendered["x-kubernetes-group-version-kind"] =
                json!({ "group": gvk.group, "version": gvk.version, "kind": gvk.kind });
        }
        if !self.action.is_empty() {
            rendered["x-kubernetes-action"] = self.action.into();
        }
        let own = self.parameters.iter().filter(|parameter| !shared.contains(parameter));
        let mut parameters: Vec<Value> = own.map(|parameter| parameter.render(dialect)).collect();
        match dialect {
            Dialect::Version2 => self.add_version2(&mut rendered, &mut parameters, definitions),
            Dialect::Version3 => self.add_version3(&mut rendered, definitions),
        }
        if !parameters.is_empty() {
            rendered["parameters"] = parameters.into();
        }
        rendered
    }

    fn add_version2(
        &self,
        rendered: &mut Value,
        parameters: &mut Vec<Value>,
        definitions: &mut Definitions,
    ) {
        let schema = self.answer.schema(definitions);
        rendered["schemes"] = json!(["https"]);
        rendered["consumes"] = match self.body {
            Body::Patch => json!(PATCHES),
            _ => json!(["*/*"]),
        };
        rendered["produces"] = json!(self.answer.media());
        rendered["responses"] =
            self.responses(|phrase| json!({ "description": phrase, "schema": schema }));
        if let Some((schema, required)) = self.body_schema(definitions) {
            let mut body = json!({ "name": "body", "in": "body", "schema": schema });
            if required {
                body["required"] = true.into();
            }
            parameters.insert(0, body);
        }
    }

    fn add_version3(&self, rendered: &mut Value, definitions: &mut Definitions) {
        let answered = content(&self.answer.media(), &self.answer.schema(definitions));
        rendered["responses"] =
            self.responses(|phrase| json!({ "description": phrase, "content": answered }));
        if let Some((schema, required)) = self.body_schema(definitions) {
            let media: &[&str] = if matches!(self.body, Body::Patch) { &PATCHES } else { &["*/*"] };
            rendered["requestBody"] = json!({ "content": content(media, &schema) });
            if required {
                rendered["requestBody"]["required"] = true.into();
            }
        }
    }

    fn body_schema(&self, definitions: &mut Definitions) -> Option<(Value, bool)> {
        match &self.body {
            Body::None => None,
            Body::Optional(name) => Some((definitions.refer(name), false)),
            Body::Object(name) => Some((definitions.refer(name), true)),
            Body::Patch => Some((definitions.refer_machinery("Patch"), true)),
        }
    }

    fn responses(&self, success: impl Fn(&str) -> Value) -> Value {
        let mut responses = Map::new();
        for code in self.codes {
            let phrase = match code {
                201 => "Created",
                202 => "Accepted",
                _ => "OK",
            };
            responses.insert(code.to_string(), success(phrase));
        }
        responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
        Value::Object(responses)
    }
}

fn content(media: &[&str], schema: &Value) -> Value {
    let entry = |media: &&str| ((*media).to_owned(), json!({ "schema": schema }));
    Value::Object(media.iter().map(entry).collect())
}
