//! One request on its way through the verbs: who asks for what, and in which form the answer goes.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, WARNING};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use skep_api::Object;
use skep_api::codec::{self, Decoded, Media};
use skep_api::names::GroupVersionKind;
use skep_api::registry::Resource;
use skep_api::status::Status;
use skep_auth::authn::UserInfo;

use crate::ApiServer;
use crate::answer::{self, Answer};
use crate::http::accept::{self, Accept, Form};
use crate::http::body::{self, Body, ReadError};
use crate::objects::Objects;
use crate::request::options::WriteOptions;
use crate::request::{Info, Query, ResourcePath};
use crate::reviews;

/// The longest body that is read, as upstream has it.
const MAX_BODY_BYTES: usize = 3 << 20;

/// A request for a resource.
pub(crate) struct Call {
    pub(crate) server: ApiServer,
    pub(crate) user: UserInfo,
    pub(crate) path: ResourcePath,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) resource: &'static Resource,
    pub(crate) accept: Accept,
    pub(crate) method: Method,
    pub(crate) raw_path: String,
    pub(crate) raw_query: Option<String>,
    upgrade: Mutex<Option<OnUpgrade>>,
    body: Mutex<Option<Body>>,
    warnings: Mutex<Vec<String>>,
}

impl Call {
    pub(crate) fn new(
        server: &ApiServer,
        user: UserInfo,
        info: Info,
        resource: &'static Resource,
        mut parts: http::request::Parts,
        body: Body,
    ) -> Result<Self, Status> {
        let tables = reviews::has_table(resource);
        let accept = Accept::negotiate(&parts.headers, tables).ok_or_else(|| {
            Status::not_acceptable(&[
                "application/json",
                "application/yaml",
                "application/vnd.kubernetes.protobuf",
            ])
        })?;
        Ok(Self {
            server: server.clone(),
            user,
            path: info.resource.ok_or_else(|| Status::internal("not a resource's path"))?,
            query: info.query,
            method: parts.method,
            raw_path: parts.uri.path().to_owned(),
            raw_query: parts.uri.query().map(str::to_owned),
            upgrade: Mutex::new(parts.extensions.remove()),
            headers: parts.headers,
            resource,
            accept,
            body: Mutex::new(Some(body)),
            warnings: Mutex::default(),
        })
    }

    pub(crate) fn objects(&self) -> Result<Objects, Status> {
        Objects::of(&self.server, self.resource).ok_or_else(|| {
            Status::method_not_supported(&self.resource.group_resource(), self.path.verb.as_str())
        })
    }

    pub(crate) fn namespace(&self) -> &str {
        if self.resource.namespaced { &self.path.namespace } else { "" }
    }

    pub(crate) fn name(&self) -> &str {
        &self.path.name
    }

    pub(crate) fn subresource(&self) -> Option<&str> {
        Some(self.path.subresource.as_str()).filter(|name| !name.is_empty())
    }

    pub(crate) fn write_options(&self) -> Result<WriteOptions, Status> {
        WriteOptions::read(&self.query)
    }

    /// A sentence for the `Warning` headers of the answer.
    pub(crate) fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Takes the body away, to be passed on as it comes.
    pub(crate) fn take_body(&self) -> Body {
        self.body.lock().take().unwrap_or_else(|| body::full(""))
    }

    /// Takes the connection itself, for after the answer 101.
    pub(crate) fn take_upgrade(&self) -> Option<OnUpgrade> {
        self.upgrade.lock().take()
    }

    /// The whole body.
    pub(crate) async fn read_body(&self) -> Result<Bytes, Status> {
        body::read(self.take_body(), MAX_BODY_BYTES).await.map_err(|error| match error {
            ReadError::TooLarge => Status::too_large(format!("limit is {MAX_BODY_BYTES}")),
            ReadError::Broken(error) => Status::bad_request(error.to_string()),
        })
    }

    pub(crate) fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn body_media(&self) -> Result<Media, Status> {
        match self.content_type() {
            "" => Ok(Media::Json),
            text => Media::from_content_type(text).ok_or_else(|| {
                Status::unsupported_media_type(&[
                    "application/json",
                    "application/yaml",
                    "application/vnd.kubernetes.protobuf",
                ])
            }),
        }
    }

    /// The object in the body, of `default`'s kind when it does not say.
    pub(crate) async fn read_object(&self, default: &GroupVersionKind) -> Result<Decoded, Status> {
        let (options, media) = (self.write_options()?, self.body_media()?);
        let bytes = self.read_body().await?;
        let decoded = codec::decode(&bytes, media, Some(default), options.validation);
        let decoded = decoded.map_err(|error| Status::bad_request(error.request_message()))?;
        decoded.warnings.iter().for_each(|text| self.warn(text.clone()));
        Ok(decoded)
    }

    /// The DeleteOptions in the body; nothing when it is empty.
    pub(crate) async fn read_delete_options(&self) -> Result<Option<Object>, Status> {
        let media = self.body_media()?;
        let bytes = self.read_body().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let gvk = GroupVersionKind::new("", "v1", "DeleteOptions");
        let options = self.write_options().map_or(codec::FieldValidation::Ignore, |o| o.validation);
        let decoded = codec::decode(&bytes, media, Some(&gvk), options);
        let decoded = decoded.map_err(|error| Status::bad_request(error.request_message()))?;
        Ok(Some(decoded.object))
    }

    /// Answers with one object of this call's resource, or its metadata or table row.
    pub(crate) fn answer(&self, code: StatusCode, object: &Object) -> Answer {
        self.answer_as(code, object, &self.resource.gvk())
    }

    /// Answers with one object of another kind.
    pub(crate) fn answer_as(
        &self,
        code: StatusCode,
        object: &Object,
        gvk: &GroupVersionKind,
    ) -> Answer {
        let media = self.accept.media;
        // A Status is told as it is, whatever form objects are wanted in.
        let form = if gvk.kind == "Status" { Form::Object } else { self.accept.form };
        let mut response = match form {
            Form::Object => answer::object(code, object, gvk, media),
            Form::Metadata => {
                let metadata = GroupVersionKind::new("meta.k8s.io", "v1", "PartialObjectMetadata");
                answer::object(code, &skep_api::table::partial_metadata(object), &metadata, media)
            }
            Form::Table => {
                let table = crate::verbs::list::table(self, gvk, &[object])?;
                answer::object(
                    code,
                    &table,
                    &GroupVersionKind::new("meta.k8s.io", "v1", "Table"),
                    media,
                )
            }
        };
        self.add_warnings(&mut response);
        Ok(response)
    }

    /// Puts the warnings into the answer's headers.
    pub(crate) fn add_warnings(&self, response: &mut Response<Body>) {
        for text in self.warnings.lock().iter() {
            if let Some(value) = answer::warning(text) {
                response.headers_mut().append(WARNING, value);
            }
        }
    }

    pub(crate) fn takes_gzip(&self) -> bool {
        accept::takes_gzip(&self.headers)
    }
}
