//! Who asks, and may they? The API server decides both; its answers are kept for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use skep_auth::authn::UserInfo;

use super::answer::Refusal;
use super::route;

const TOKEN: Duration = Duration::from_secs(120);
const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
/// Answers kept at most.
const MOST: usize = 4096;

/// A user, and what is asked of the node.
type Question = (String, Vec<String>, &'static str, &'static str);

pub(super) struct Access {
    client: Client,
    node_name: String,
    tokens: Mutex<HashMap<String, (Instant, UserInfo)>>,
    answers: Mutex<HashMap<Question, (Instant, bool)>>,
}

impl Access {
    pub(super) fn new(client: Client, node_name: String) -> Self {
        Self { client, node_name, tokens: Mutex::default(), answers: Mutex::default() }
    }

    /// Refuses whoever is not known or not allowed.
    pub(super) async fn check<B>(
        &self,
        request: &Request<B>,
        certified: Option<UserInfo>,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let user = match (certified, bearer(request)) {
            (Some(user), _) => user,
            (None, Some(token)) => self.review(token).await?,
            (None, None) => return Err(unauthorized()),
        };
        let verb = verb(method);
        let parts = route::subresources(path);
        for part in &parts {
            if self.allowed(&user, verb, part).await? {
                return Ok(());
            }
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!(
                "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])",
                user.name,
                parts.join(" ")
            ),
        ))
    }

    async fn review(&self, token: &str) -> Result<UserInfo, Refusal> {
        if let Some((at, user)) = self.tokens.lock().get(token)
            && at.elapsed() < TOKEN
        {
            return Ok(user.clone());
        }
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(unavailable)?;
        let status = answer.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Err(unauthorized());
        };
        let user = UserInfo {
            name: user.username.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            ..UserInfo::default()
        };
        let mut tokens = self.tokens.lock();
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(token.to_owned(), (Instant::now(), user.clone()));
        Ok(user)
    }

    async fn allowed(
        &self,
        user: &UserInfo,
        verb: &'static str,
        subresource: &'static str,
    ) -> Result<bool, Refusal> {
        let question = (user.name.clone(), user.groups.clone(), verb, subresource);
        if let Some((at, allowed)) = self.answers.lock().get(&question)
            && at.elapsed() < if *allowed { ALLOWED } else { DENIED }
        {
            return Ok(*allowed);
        }
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            groups: Some(user.groups.clone()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.into()),
                version: Some("v1".into()),
                resource: Some("nodes".into()),
                subresource: Some(subresource.into()),
                name: Some(self.node_name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await.map_err(unavailable)?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let mut answers = self.answers.lock();
        if answers.len() >= MOST {
            answers.clear();
        }
        answers.insert(question, (Instant::now(), allowed));
        Ok(allowed)
    }
}

fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::trim).filter(|token| !token.is_empty())
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")
}

#[expect(clippy::needless_pass_by_value, reason = "an error handler takes the error")]
fn unavailable(error: kube::Error) -> Refusal {
    Refusal::internal(format!("the API server cannot be asked: {error}"))
}
