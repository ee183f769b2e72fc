//! Paths below an object: its status, its scale, its log, and connections into it.

use crate::names::GroupVersionKind;
use crate::registry::{Subresource, builtin};

use super::operation::{Answer, Body, Operation};
use super::parameter::{Parameter, QuerySet};
use super::path::{Place, capitalized, one, type_name};

impl Place<'_> {
    /// What can be done with a subresource, or with the paths `deeper` below it.
    pub(super) fn subresource_operations(
        &self,
        subresource: &Subresource,
        deeper: bool,
    ) -> Vec<Operation> {
        let name = &subresource.name;
        if *name == "log" {
            return vec![self.log(subresource)];
        }
        if subresource.kind.kind.ends_with("Options") {
            return self.connections(subresource, deeper);
        }
        let ty = || type_name(&subresource.kind);
        let kind = &self.gvk.kind;
        let mut operations = Vec::new();
        for verb in &subresource.verbs {
            let (method, action, id, description, query) = match verb.as_ref() {
                "get" => (
                    "get",
                    "get",
                    "read",
                    format!("read {name} of the specified {kind}"),
                    QuerySet::Get,
                ),
                "create" => (
                    "post",
                    "post",
                    "create",
                    format!("create {name} of {}", one(kind)),
                    QuerySet::Write,
                ),
                "update" => (
                    "put",
                    "put",
                    "replace",
                    format!("replace {name} of the specified {kind}"),
                    QuerySet::Write,
                ),
                "patch" => (
                    "patch",
                    "patch",
                    "patch",
                    format!("partially update {name} of the specified {kind}"),
                    QuerySet::Write,
                ),
                _ => continue,
            };
            let mut operation = self.operation(method, action, (id, ""), description, query, true);
            (operation.body, operation.codes) = match method {
                "post" => (Body::Object(ty()), [200, 201, 202].as_slice()),
                "put" => (Body::Object(ty()), [200, 201].as_slice()),
                "patch" => (Body::Patch, [200, 201].as_slice()),
                _ => (Body::None, [200].as_slice()),
            };
            operation.id.push_str(&capitalized(name));
            operation.answer = Answer::Object(ty());
            operation.gvk = Some(subresource.kind.clone());
            operation.parameters = query.parameters();
            operation.parameters.extend(self.path_parameters(Some(&subresource.kind)));
            operations.push(operation);
        }
        operations
    }

    fn log(&self, subresource: &Subresource) -> Operation {
        let description = format!("read log of the specified {}", self.gvk.kind);
        let mut operation =
            self.operation("get", "get", ("read", ""), description, QuerySet::Get, true);
        operation.id.push_str(&capitalized(&subresource.name));
        let options =
            self.resource.group_version().with_kind(format!("{}LogOptions", self.gvk.kind));
        operation.parameters.extend(options_parameters(&options));
        operation.answer = Answer::Log;
        operation
    }

    /// Requests that are handed on to a pod, a service or a node.
    fn connections(&self, subresource: &Subresource, deeper: bool) -> Vec<Operation> {
        const ALL: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
        let methods: &[&'static str] =
            if subresource.name == "proxy" { &ALL } else { &["get", "post"] };
        let connect = |method: &&'static str| {
            let upper = method.to_uppercase();
            let (name, kind) = (&subresource.name, &self.gvk.kind);
            let description = format!("connect {upper} requests to {name} of {kind}");
            let id = ("connect", capitalized(method));
            let mut operation =
                self.operation(method, "connect", (id.0, &id.1), description, QuerySet::Get, true);
            operation.id.push_str(&capitalized(name));
            operation.parameters = self.path_parameters(Some(&subresource.kind));
            operation.parameters.extend(options_parameters(&subresource.kind));
            if deeper {
                operation.id.push_str("WithPath");
                operation
                    .parameters
                    .push(Parameter::path("path", "path to the resource".to_owned()));
            }
            operation.gvk = Some(subresource.kind.clone());
            operation.answer = Answer::Connection;
            operation
        };
        methods.iter().map(connect).collect()
    }
}

fn options_parameters(options: &GroupVersionKind) -> Vec<Parameter> {
    builtin().kind(options).map(|ty| Parameter::fields(&ty)).unwrap_or_default()
}
