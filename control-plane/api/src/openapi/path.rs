//! Paths: what can be done with every resource and subresource of a version.

use serde_json::{Map, Value};

use crate::names::GroupVersionKind;
use crate::registry::{Resource, Version, builtin};

use super::definition::Definitions;
use super::operation::{Answer, Body, Operation};
use super::parameter::{Parameter, QuerySet};
use super::version_path;

/// The paths of a version.
pub(super) fn paths(group: &str, version: &Version, definitions: &mut Definitions) -> Value {
    let scope = Scope::new(group, &version.name);
    let mut paths = Map::new();
    let mut add = |path: String, operations: Vec<Operation>| {
        if !operations.is_empty() {
            paths.insert(path, path_item(&operations, definitions));
        }
    };
    add(format!("{}/", scope.root), vec![scope.resources()]);
    for resource in &version.resources {
        let at = Place::of(&scope, resource);
        add(at.collection.clone(), at.collection_operations());
        if resource.namespaced && resource.has_verb("list") {
            add(format!("{}/{}", scope.root, resource.plural), vec![at.list_everywhere()]);
        }
        add(at.item.clone(), at.item_operations());
        for (path, operation) in at.watches() {
            add(path, vec![operation]);
        }
        for subresource in &resource.subresources {
            let path = format!("{}/{}", at.item, subresource.name);
            add(path.clone(), at.subresource_operations(subresource, false));
            if subresource.name == "proxy" {
                add(format!("{path}/{{path}}"), at.subresource_operations(subresource, true));
            }
        }
    }
    Value::Object(paths)
}

/// Parameters that all of a path's operations take stand with the path.
fn path_item(operations: &[Operation], definitions: &mut Definitions) -> Value {
    let mut shared = operations.first().map(|first| first.parameters.clone()).unwrap_or_default();
    for operation in operations {
        shared.retain(|parameter| operation.parameters.contains(parameter));
    }
    let mut item: Map<String, Value> = operations
        .iter()
        .map(|operation| (operation.method.to_owned(), operation.render(&shared, definitions)))
        .collect();
    if !shared.is_empty() {
        shared.sort_by(|a, b| a.name.cmp(&b.name));
        let shared = shared.iter().map(|parameter| parameter.render(definitions.dialect)).collect();
        item.insert("parameters".to_owned(), Value::Array(shared));
    }
    Value::Object(item)
}

/// A group and version.
struct Scope {
    /// `/apis/rbac.authorization.k8s.io/v1`
    root: String,
    /// `RbacAuthorizationV1`
    id: String,
    /// `rbacAuthorization_v1`
    tag: String,
}

impl Scope {
    fn new(group: &str, version: &str) -> Self {
        let short = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
        let camel: String = short.split('.').map(capitalized).collect();
        let tag = format!("{}{}", camel[..1].to_lowercase(), &camel[1..]);
        Self {
            root: format!("/{}", version_path(group, version)),
            id: format!("{camel}{}", capitalized(version)),
            tag: format!("{tag}_{version}"),
        }
    }

    fn resources(&self) -> Operation {
        Operation {
            method: "get",
            action: "",
            gvk: None,
            id: format!("get{}APIResources", self.id),
            tag: self.tag.clone(),
            description: "get available resources".to_owned(),
            parameters: Vec::new(),
            body: Body::None,
            answer: Answer::Object(machinery("APIResourceList")),
            codes: &[200],
        }
    }
}

/// A resource in its scope.
pub(super) struct Place<'a> {
    scope: &'a Scope,
    pub(super) resource: &'a Resource,
    collection: String,
    item: String,
    pub(super) gvk: GroupVersionKind,
}

impl<'a> Place<'a> {
    fn of(scope: &'a Scope, resource: &'a Resource) -> Self {
        let namespace = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{}{namespace}/{}", scope.root, resource.plural);
        let item = format!("{collection}/{{name}}");
        Self { scope, resource, collection, item, gvk: resource.gvk() }
    }

    /// An operation on its objects; `id` holds `{}` where the resource is named.
    pub(super) fn operation(
        &self,
        method: &'static str,
        action: &'static str,
        id: (&str, &str),
        description: String,
        query: QuerySet,
        named: bool,
    ) -> Operation {
        let mut parameters = query.parameters();
        parameters.extend(self.path_parameters(named.then_some(&self.gvk)));
        let namespaced = if self.resource.namespaced { "Namespaced" } else { "" };
        Operation {
            method,
            action,
            gvk: Some(self.gvk.clone()),
            id: format!("{}{}{}{namespaced}{}", id.0, self.scope.id, id.1, self.gvk.kind),
            tag: self.scope.tag.clone(),
            description,
            parameters,
            body: Body::None,
            answer: Answer::Object(type_name(&self.gvk)),
            codes: &[200],
        }
    }

    pub(super) fn path_parameters(&self, named: Option<&GroupVersionKind>) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if let Some(gvk) = named {
            parameters.push(Parameter::path("name", format!("name of the {}", gvk.kind)));
        }
        if self.resource.namespaced {
            let description = "object name and auth scope, such as for teams and projects";
            parameters.push(Parameter::path("namespace", description.to_owned()));
        }
        parameters
    }

    fn collection_operations(&self) -> Vec<Operation> {
        let kind = &self.gvk.kind;
        let mut operations = Vec::new();
        if self.resource.has_verb("list") {
            operations.push(self.list());
        }
        if self.resource.has_verb("create") {
            let description = format!("create {}", one(kind));
            operations.push(Operation {
                body: Body::Object(type_name(&self.gvk)),
                codes: &[200, 201, 202],
                ..self.operation(
                    "post",
                    "post",
                    ("create", ""),
                    description,
                    QuerySet::Write,
                    false,
                )
            });
        }
        if self.resource.has_verb("deletecollection") {
            let description = format!("delete collection of {kind}");
            let id = ("delete", "Collection");
            let query = QuerySet::DeleteCollection;
            operations.push(Operation {
                body: Body::Optional(machinery("DeleteOptions")),
                answer: Answer::Object(machinery("Status")),
                ..self.operation("delete", "deletecollection", id, description, query, false)
            });
        }
        operations
    }

    fn list(&self) -> Operation {
        let watched = if self.resource.has_verb("watch") { " or watch" } else { "" };
        let description = format!("list{watched} objects of kind {}", self.gvk.kind);
        Operation {
            answer: Answer::Stream(type_name(&self.resource.list_gvk())),
            ..self.operation("get", "list", ("list", ""), description, QuerySet::List, false)
        }
    }

    fn list_everywhere(&self) -> Operation {
        Operation {
            id: format!("list{}{}ForAllNamespaces", self.scope.id, self.gvk.kind),
            parameters: QuerySet::List.parameters(),
            ..self.list()
        }
    }

    fn item_operations(&self) -> Vec<Operation> {
        let kind = &self.gvk.kind;
        let mut operations = Vec::new();
        if self.resource.has_verb("get") {
            let description = format!("read the specified {kind}");
            operations.push(self.operation(
                "get",
                "get",
                ("read", ""),
                description,
                QuerySet::Get,
                true,
            ));
        }
        if self.resource.has_verb("update") {
            let description = format!("replace the specified {kind}");
            operations.push(Operation {
                body: Body::Object(type_name(&self.gvk)),
                codes: &[200, 201],
                ..self.operation("put", "put", ("replace", ""), description, QuerySet::Write, true)
            });
        }
        if self.resource.has_verb("delete") {
            let description = format!("delete {}", one(kind));
            let answer = match returns_deleted(self.resource) {
                true => type_name(&self.gvk),
                false => machinery("Status"),
            };
            operations.push(Operation {
                body: Body::Optional(machinery("DeleteOptions")),
                answer: Answer::Object(answer),
                codes: &[200, 202],
                ..self.operation(
                    "delete",
                    "delete",
                    ("delete", ""),
                    description,
                    QuerySet::Delete,
                    true,
                )
            });
        }
        if self.resource.has_verb("patch") {
            let description = format!("partially update the specified {kind}");
            operations.push(Operation {
                body: Body::Patch,
                codes: &[200, 201],
                ..self.operation(
                    "patch",
                    "patch",
                    ("patch", ""),
                    description,
                    QuerySet::Write,
                    true,
                )
            });
        }
        operations
    }

    /// The old paths of watches.
    fn watches(&self) -> Vec<(String, Operation)> {
        if !self.resource.has_verb("watch") {
            return Vec::new();
        }
        let watch = |action, named, suffix: &str| {
            let description = "deprecated: list with the parameter 'watch' instead".to_owned();
            let mut operation =
                self.operation("get", action, ("watch", ""), description, QuerySet::List, named);
            operation.id.push_str(suffix);
            operation.answer = Answer::Stream(machinery("WatchEvent"));
            operation
        };
        let below =
            |path: &str| path.replacen(&self.scope.root, &format!("{}/watch", self.scope.root), 1);
        let mut watches = vec![(below(&self.collection), watch("watchlist", false, "List"))];
        if self.resource.has_verb("get") {
            watches.push((below(&self.item), watch("watch", true, "")));
        }
        if self.resource.namespaced {
            let mut everywhere = watch("watchlist", false, "");
            everywhere.id = format!("watch{}{}ListForAllNamespaces", self.scope.id, self.gvk.kind);
            everywhere.parameters = QuerySet::List.parameters();
            watches
                .push((format!("{}/watch/{}", self.scope.root, self.resource.plural), everywhere));
        }
        watches
    }
}

/// A deletion is answered with the object that was deleted, not with a status.
fn returns_deleted(resource: &Resource) -> bool {
    match resource.group.as_ref() {
        "" => matches!(
            resource.plural.as_ref(),
            "persistentvolumeclaims"
                | "persistentvolumes"
                | "pods"
                | "podtemplates"
                | "resourcequotas"
                | "serviceaccounts"
                | "services"
        ),
        "storage.k8s.io" => resource.plural != "csistoragecapacities",
        "resource.k8s.io" => resource.plural != "devicetaintrules" || resource.version != "v1",
        _ => false,
    }
}

/// The definition of a kind.
pub(super) fn type_name(gvk: &GroupVersionKind) -> String {
    builtin().kind(gvk).map(|ty| ty.name.to_string()).unwrap_or_else(|| machinery(&gvk.kind))
}

fn machinery(kind: &str) -> String {
    format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}")
}

/// The kind with its article.
pub(super) fn one(kind: &str) -> String {
    match kind.chars().next() {
        _ if kind == "Endpoints" => kind.to_owned(),
        Some('A' | 'E' | 'I' | 'O' | 'U') => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}

pub(super) fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}
