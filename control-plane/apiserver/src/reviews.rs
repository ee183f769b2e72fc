//! Questions put as objects that nobody stores: who is this token, who am I, may they do that.

use std::time::SystemTime;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use skep_api::Object;
use skep_api::registry::Resource as ApiResource;
use skep_api::status::Status;
use skep_auth::authn::{Bearer, UserInfo};
use skep_auth::authz::{Attributes, Decision, Resource, Target};

use crate::answer::Answer;
use crate::call::Call;
use crate::objects::text;
use crate::request::Verb;
use crate::server::not_allowed;
use crate::verbs::create::{check_kind, check_namespace};

/// Whether a resource is one of the questions.
pub(crate) fn is_review(resource: &ApiResource) -> bool {
    matches!(resource.group.as_ref(), "authentication.k8s.io" | "authorization.k8s.io")
}

/// Whether a table of such objects can be printed: of the questions, only who one is oneself.
pub(crate) fn has_table(resource: &ApiResource) -> bool {
    !is_review(resource) || resource.plural == "selfsubjectreviews"
}

pub(crate) async fn answer(call: &Call) -> Answer {
    if call.path.verb != Verb::Create || !call.name().is_empty() {
        return Err(not_allowed(call.resource, call.path.verb));
    }
    let gvk = call.resource.gvk();
    let decoded = call.read_object(&gvk).await?;
    check_kind(&gvk, &decoded.gvk)?;
    let mut review = decoded.object;
    call.server.facts().caught_up(&call.server).await?;
    review["status"] = match call.resource.plural.as_ref() {
        "tokenreviews" => token(call, &review)?,
        "selfsubjectreviews" => json!({"userInfo": user_value(&call.user)}),
        "selfsubjectaccessreviews" => access(call, &review, &call.user)?,
        "subjectaccessreviews" => access(call, &review, &subject(&review))?,
        "localsubjectaccessreviews" => {
            check_namespace(&review, call.namespace())?;
            if text(&review, "/spec/resourceAttributes/namespace") != call.namespace() {
                return Err(Status::bad_request(format!(
                    "spec.resourceAttributes.namespace must match namespace: {}",
                    call.namespace()
                )));
            }
            access(call, &review, &subject(&review))?
        }
        "selfsubjectrulesreviews" => rules(call, text(&review, "/spec/namespace")),
        _ => return Err(Status::no_such_path()),
    };
    call.answer(StatusCode::CREATED, &review)
}

fn user_value(user: &UserInfo) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}

fn token(call: &Call, review: &Object) -> Result<Value, Status> {
    let token = text(review, "/spec/token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let authentication = call.server.authentication();
    let asked = review["spec"]["audiences"].as_array().into_iter().flatten();
    let asked: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    let audiences = if asked.is_empty() { authentication.audiences.clone() } else { asked };
    let known = call.server.facts().known();
    let bearer = Bearer {
        verifier: &authentication.verifier,
        audiences: &audiences,
        bootstrap: authentication.bootstrap_tokens,
        objects: &*known,
    };
    Ok(match bearer.user(token, SystemTime::now()) {
        Ok(user) => json!({
            "authenticated": true,
            "user": user_value(&user.authenticated()),
            "audiences": audiences,
        }),
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

fn subject(review: &Object) -> UserInfo {
    let spec = &review["spec"];
    let mut user = UserInfo { name: text(spec, "/user").to_owned(), ..UserInfo::default() };
    user.uid = text(spec, "/uid").to_owned();
    user.groups = Vec::deserialize(&spec["groups"]).unwrap_or_default();
    if let Ok(extra) = Deserialize::deserialize(&spec["extra"]) {
        user.extra = extra;
    }
    user
}

fn access(call: &Call, review: &Object, user: &UserInfo) -> Result<Value, Status> {
    let spec = &review["spec"];
    if call.resource.plural != "selfsubjectaccessreviews"
        && user.name.is_empty()
        && user.groups.is_empty()
    {
        return Err(Status::bad_request(
            "spec.user: Required value: at least one of user or group must be specified",
        ));
    }
    let (wanted, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let (verb, target) = if wanted.is_object() {
        let resource = Resource {
            group: text(wanted, "/group"),
            version: text(wanted, "/version"),
            resource: text(wanted, "/resource"),
            subresource: text(wanted, "/subresource"),
            namespace: text(wanted, "/namespace"),
            name: text(wanted, "/name"),
            fields: &[],
        };
        (text(wanted, "/verb"), Target::Resource(resource))
    } else if path.is_object() {
        (text(path, "/verb"), Target::Path(text(path, "/path")))
    } else {
        return Err(Status::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    let attributes = Attributes { user, verb, target };
    let decision = call.server.facts().known().authorizer.authorize(&attributes);
    let (allowed, reason) = match decision {
        Decision::Allow(reason) => (true, reason),
        Decision::NoOpinion(reason) => (false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

fn rules(call: &Call, namespace: &str) -> Value {
    let known = call.server.facts().known();
    let user = &call.user;
    let (mut rules, problems) = known.authorizer.rbac.rules_for(user, namespace);
    if user.is_in(skep_auth::authn::user::MASTERS) {
        let all = || vec!["*".to_owned()];
        let everything = skep_auth::authz::PolicyRule { verbs: all(), ..Default::default() };
        let resources = skep_auth::authz::PolicyRule {
            api_groups: all(),
            resources: all(),
            ..everything.clone()
        };
        let paths = skep_auth::authz::PolicyRule { non_resource_urls: all(), ..everything };
        rules.extend([resources, paths]);
    }
    let (paths, resources): (Vec<_>, Vec<_>) =
        rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    let value = |rules| serde_json::to_value(rules).unwrap_or_default();
    let mut status = json!({
        "resourceRules": value(resources),
        "nonResourceRules": value(paths),
        "incomplete": !problems.is_empty(),
    });
    if !problems.is_empty() {
        status["evaluationError"] = problems.join(", ").into();
    }
    status
}
