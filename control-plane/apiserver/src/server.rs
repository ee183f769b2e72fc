//! The service itself: a cheap clone that answers requests, whoever brings them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use skep_api::codec::Media;
use skep_api::registry::{self, Registry, Resource};
use skep_api::status::Status;
use skep_auth::authn::{UserInfo, user};
use skep_store::{LeaseId, Store};
use tokio_util::sync::CancellationToken;

use crate::answer::{self, Answer};
use crate::call::Call;
use crate::config::Settings;
use crate::facts::Facts;
use crate::http::accept::Accept;
use crate::http::body::Body;
use crate::identity::Authentication;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::objects::store_error;
use crate::request::{Info, Verb};
use crate::services::Services;
use crate::subresource::node::Kubelets;
use crate::watch::Views;
use crate::{discovery, health, reviews, subresource, verbs};

/// What does not stream must be answered within this, as upstream has it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Events live this long, as upstream has it.
const EVENT_TTL: Duration = Duration::from_secs(3600);
/// Events share leases: one is used for this long.
const EVENT_LEASE_REUSE: Duration = Duration::from_secs(60);

/// The API server. Clones share one.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    settings: Settings,
    authentication: Authentication,
    facts: Facts,
    services: Services,
    kubelets: Kubelets,
    limits: Limits,
    metrics: Metrics,
    views: Views,
    event_lease: Mutex<Option<(SystemTime, LeaseId)>>,
    draining: CancellationToken,
}

/// The parts a server is put together from.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) authentication: Authentication,
    pub(crate) facts: Facts,
    pub(crate) services: Services,
    pub(crate) kubelets: Kubelets,
}

impl ApiServer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { store, settings, authentication, facts, services, kubelets } = parts;
        let limits = Limits::new(settings.max_readonly, settings.max_mutating);
        Self {
            inner: Arc::new(Inner {
                store,
                settings,
                authentication,
                facts,
                services,
                kubelets,
                limits,
                metrics: Metrics::default(),
                views: Views::default(),
                event_lease: Mutex::default(),
                draining: CancellationToken::new(),
            }),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(crate) fn registry(&self) -> &'static Registry {
        registry::served()
    }

    pub(crate) fn authentication(&self) -> &Authentication {
        &self.inner.authentication
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.inner.facts
    }

    pub(crate) fn services(&self) -> &Services {
        &self.inner.services
    }

    pub(crate) fn kubelets(&self) -> &Kubelets {
        &self.inner.kubelets
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn views(&self) -> &Views {
        &self.inner.views
    }

    /// Ends watches, so that connections can be closed.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.inner.draining.clone()
    }

    /// The lease that new objects of a resource live under: events go after an hour.
    pub(crate) async fn lease_for(&self, resource: &Resource) -> Result<Option<LeaseId>, Status> {
        if resource.plural != "events" {
            return Ok(None);
        }
        let now = SystemTime::now();
        if let Some((since, lease)) = *self.inner.event_lease.lock()
            && now.duration_since(since).is_ok_and(|age| age < EVENT_LEASE_REUSE)
        {
            return Ok(Some(lease));
        }
        let lease = self.inner.store.lease(EVENT_TTL).await.map_err(store_error)?;
        *self.inner.event_lease.lock() = Some((now, lease));
        Ok(Some(lease))
    }

    /// Answers a request. Who asks is in the request's extensions: a [`UserInfo`] from inside the
    /// process, or what the connection's edge knows of the peer.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let info = Info::read(&parts.method, parts.uri.path(), parts.uri.query());
        let media =
            Accept::negotiate(&parts.headers, true).map_or(Media::Json, |accept| accept.media);
        let timer = self.inner.metrics.request_began(&info);
        let deadline = (!info.is_long_running()).then_some(REQUEST_TIMEOUT);
        // Boxed and named: connections then need not carry the types of every handler.
        let answer: BoxFuture<'_, Answer> = Box::pin(self.answer(info, parts, body));
        let answer = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| {
                Err(Status::timeout("request did not complete within the allotted timeout", 0))
            }),
            None => answer.await,
        };
        let response = answer.unwrap_or_else(|status| answer::error(&status, media));
        timer.finish(response.status());
        response
    }

    async fn answer(&self, info: Info, mut parts: http::request::Parts, body: Body) -> Answer {
        if let Some(response) = self.answer_unasked(&info) {
            return response;
        }
        let user = self.inner.authentication.user(self, &mut parts).await?;
        let _in_flight = match info.is_long_running() || user.is_in(user::MASTERS) {
            true => None,
            false => Some(self.inner.limits.enter(&info)?),
        };
        let user = self.impersonated(user, &parts).await?;
        self.authorize(&info, &user).await?;
        match info.resource.is_some() {
            true => self.answer_resource(info, user, parts, body).await,
            false => self.answer_path(&info, &parts).await,
        }
    }

    /// What everybody may know before they could know whom to trust.
    fn answer_unasked(&self, info: &Info) -> Option<Answer> {
        (info.path == "/cacerts" && info.method == http::Method::GET)
            .then(|| Ok(answer::text(StatusCode::OK, self.inner.settings.authority_pem.clone())))
    }

    async fn impersonated(
        &self,
        user: UserInfo,
        parts: &http::request::Parts,
    ) -> Result<UserInfo, Status> {
        let headers = parts.headers.iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let wanted = skep_auth::authn::Impersonation::from_headers(headers)
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let Some(wanted) = wanted else { return Ok(user) };
        for attributes in wanted.required(&user) {
            self.facts().authorize(self, &attributes).await?;
        }
        Ok(wanted.into_user())
    }

    async fn authorize(&self, info: &Info, user: &UserInfo) -> Result<(), Status> {
        let allowed = info.with_attributes(user, |attributes| self.facts().is_allowed(attributes));
        if allowed {
            return Ok(());
        }
        // What was just written may not have been taken in yet: look once more when it is.
        self.facts().caught_up(self).await?;
        info.with_attributes(user, |attributes| self.facts().decide(attributes))
    }

    async fn answer_path(&self, info: &Info, parts: &http::request::Parts) -> Answer {
        if let Some(response) = health::answer(self, info).await {
            return Ok(response);
        }
        if let Some(response) = discovery::answer(self, info, &parts.headers)? {
            return Ok(response);
        }
        Err(Status::no_such_path())
    }

    async fn answer_resource(
        &self,
        info: Info,
        user: UserInfo,
        parts: http::request::Parts,
        body: Body,
    ) -> Answer {
        let path = info.resource.as_ref().ok_or_else(Status::no_such_path)?;
        let resource = self.registry().resource(&path.group, &path.version, &path.resource);
        let resource = resource.ok_or_else(Status::no_such_path)?;
        let cluster_wide_in_namespace =
            !resource.namespaced && !path.namespace.is_empty() && resource.plural != "namespaces";
        let named_without_namespace = resource.namespaced
            && path.namespace.is_empty()
            && !path.name.is_empty()
            && path.verb != Verb::List
            && path.verb != Verb::Watch;
        if cluster_wide_in_namespace || named_without_namespace {
            return Err(Status::no_such_path());
        }
        let call = Call::new(self, user, info, resource, parts, body)?;
        if call.subresource().is_some() {
            return subresource::answer(call).await;
        }
        if reviews::is_review(resource) {
            return reviews::answer(&call).await;
        }
        let verb = call.path.verb;
        let known =
            resource.has_verb(verb.as_str()) && (verb != Verb::Create || call.name().is_empty());
        if !known {
            return Err(not_allowed(resource, verb));
        }
        match verb {
            Verb::Get => verbs::get::get(&call).await,
            Verb::List => verbs::list::list(&call).await,
            Verb::Watch => verbs::watch::watch(&call).await,
            Verb::Create if resource.plural == "bindings" => {
                subresource::binding::bind(&call).await
            }
            Verb::Create => verbs::create::create(&call).await,
            Verb::Update => verbs::update::update(&call).await,
            Verb::Patch => verbs::patch::patch(&call).await,
            Verb::Delete => verbs::delete::delete(&call).await,
            Verb::DeleteCollection => verbs::delete_collection::delete_collection(&call).await,
        }
    }
}

/// A verb that the resource does not have: the answer of upstream's router.
pub(crate) fn not_allowed(resource: &Resource, verb: Verb) -> Status {
    let mut status = Status::method_not_supported(&resource.group_resource(), verb.as_str());
    status.message = "the server does not allow this method on the requested resource".to_owned();
    status
}
