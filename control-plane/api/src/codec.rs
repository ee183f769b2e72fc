//! Objects to bytes and back, guided by schema: JSON, YAML and protobuf with upstream's envelope. What
//! comes from outside is bounded in depth, never trusted, and never makes this code panic.

mod canonical;
mod json_reader;
mod json_writer;
mod list;
mod protobuf;
mod watch;

pub use canonical::canonicalize;
pub use json_writer::write as write_json;
pub use list::{ListMeta, ListWriter};
pub use protobuf::{
    ENVELOPE_MAGIC, Envelope, WireError, read_message, unwrap_envelope, wrap_envelope,
    write_message,
};
pub use watch::{bookmark, watch_event};

use serde::Deserialize;

use crate::Object;
use crate::names::{GroupVersion, GroupVersionKind};
use crate::registry::builtin;
use crate::schema::{Shape, TypeRef};

/// A form of objects on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    /// application/json
    Json,
    /// application/yaml
    Yaml,
    /// application/vnd.kubernetes.protobuf
    Protobuf,
}

impl Media {
    /// The media type of a `Content-Type`; parameters are ignored.
    pub fn from_content_type(text: &str) -> Option<Self> {
        match text.split(';').next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "application/yaml" => Some(Self::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Self::Protobuf),
            _ => None,
        }
    }

    /// The `Content-Type` of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What becomes of fields the schema does not know, and of fields given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are dropped
    Ignore,
    /// They are dropped, and named in warnings
    #[default]
    Warn,
    /// They are an error
    Strict,
}

impl FieldValidation {
    /// The query parameter `fieldValidation`; empty is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A decoded object.
#[derive(Debug)]
pub struct Decoded {
    /// What it says it is, or what it was taken for
    pub gvk: GroupVersionKind,
    /// Canonical
    pub object: Object,
    /// Unknown and duplicate fields, with `FieldValidation::Warn`
    pub warnings: Vec<String>,
}

/// Why bytes are no object. The message is upstream's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Neither the object nor the caller says what kind it is
    #[error("Object '{0}' is missing in '{1}'")]
    Missing(&'static str, String),
    /// No such kind
    #[error(
        "no kind \"{}\" is registered for version \"{}\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
        .0.kind, .0.group_version()
    )]
    UnknownKind(GroupVersionKind),
    /// Not well-formed, or a value of the wrong type
    #[error("{message}")]
    Malformed {
        /// What it was going to be, where that is known
        gvk: Option<GroupVersionKind>,
        /// What is wrong
        message: String,
    },
    /// Unknown or duplicate fields, with `FieldValidation::Strict`
    #[error("strict decoding error: {}", .errors.join(", "))]
    Strict {
        /// What the object says it is
        gvk: GroupVersionKind,
        /// One per field
        errors: Vec<String>,
    },
}

impl DecodeError {
    /// The message of the answer 400 that upstream gives for a request body.
    pub fn request_message(&self) -> String {
        let kind = match self {
            Self::Strict { gvk, .. } | Self::Malformed { gvk: Some(gvk), .. } => gvk,
            _ => return self.to_string(),
        };
        let (name, version) = (&kind.kind, &kind.version);
        format!("{name} in version {version:?} cannot be handled as a {name}: {self}")
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TypeMeta {
    api_version: Option<String>,
    kind: Option<String>,
}

/// Decodes one object of any built-in kind. `default` fills in for an `apiVersion` or `kind` that the
/// object does not tell.
///
/// # Errors
/// [`DecodeError`], with upstream's messages.
pub fn decode(
    bytes: &[u8],
    media: Media,
    default: Option<&GroupVersionKind>,
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    if media == Media::Protobuf {
        return decode_protobuf(bytes, default);
    }
    let malformed = |message: String| DecodeError::Malformed { gvk: None, message };
    let meta: TypeMeta = match media {
        Media::Json => {
            serde_json::from_slice(bytes).map_err(|error| malformed(json_reader::syntax(&error)))?
        }
        _ => serde_saphyr::from_slice(bytes)
            .map_err(|error| malformed(format!("error converting YAML to JSON: {error}")))?,
    };
    let gvk = resolve(meta.api_version, meta.kind, default, bytes)?;
    let ty = type_of(&gvk)?;
    let (object, problems) = decode_as(bytes, media, &gvk, &ty)?;
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            Err(DecodeError::Strict { gvk, errors: problems })
        }
        FieldValidation::Ignore => Ok(Decoded { gvk, object, warnings: Vec::new() }),
        _ => Ok(Decoded { gvk, object, warnings: problems }),
    }
}

fn decode_as(
    bytes: &[u8],
    media: Media,
    gvk: &GroupVersionKind,
    ty: &TypeRef,
) -> Result<(Object, Vec<String>), DecodeError> {
    let read = match media {
        Media::Yaml => json_reader::read_yaml(bytes, ty),
        _ => json_reader::read_json(bytes, ty),
    };
    let (mut object, problems) =
        read.map_err(|message| DecodeError::Malformed { gvk: Some(gvk.clone()), message })?;
    stamp(&mut object, gvk);
    Ok((object, problems))
}

fn decode_protobuf(
    bytes: &[u8],
    default: Option<&GroupVersionKind>,
) -> Result<Decoded, DecodeError> {
    let malformed = |message: String| DecodeError::Malformed { gvk: None, message };
    let envelope = unwrap_envelope(bytes).map_err(|error| malformed(error.to_string()))?;
    let gvk = resolve(Some(envelope.api_version), Some(envelope.kind), default, b"")?;
    let ty = type_of(&gvk)?;
    let mut object = read_message(envelope.raw, &ty).map_err(|error| DecodeError::Malformed {
        gvk: Some(gvk.clone()),
        message: error.to_string(),
    })?;
    stamp(&mut object, &gvk);
    Ok(Decoded { gvk, object, warnings: Vec::new() })
}

fn resolve(
    api_version: Option<String>,
    kind: Option<String>,
    default: Option<&GroupVersionKind>,
    bytes: &[u8],
) -> Result<GroupVersionKind, DecodeError> {
    let missing = |field| {
        DecodeError::Missing(field, String::from_utf8_lossy(bytes).chars().take(1024).collect())
    };
    let told = |text: Option<String>| text.filter(|text| !text.is_empty());
    let kind = match (told(kind), default) {
        (Some(kind), _) => kind.into(),
        (None, Some(default)) => default.kind.clone(),
        (None, None) => return Err(missing("Kind")),
    };
    let version = match (told(api_version), default) {
        (Some(text), _) => GroupVersion::parse(&text)
            .map_err(|message| DecodeError::Malformed { gvk: None, message })?,
        (None, Some(default)) => default.group_version(),
        (None, None) => return Err(missing("apiVersion")),
    };
    Ok(version.with_kind(kind))
}

fn type_of(gvk: &GroupVersionKind) -> Result<TypeRef, DecodeError> {
    builtin().kind(gvk).ok_or_else(|| DecodeError::UnknownKind(gvk.clone()))
}

/// Writes `apiVersion` and `kind` into an object.
pub fn stamp(object: &mut Object, gvk: &GroupVersionKind) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), gvk.api_version().into());
        map.insert("kind".to_owned(), gvk.kind.as_ref().into());
    }
}

/// Encodes an object. JSON keeps upstream's field order and its always-present zero fields; protobuf is
/// wrapped in upstream's envelope.
pub fn encode(object: &Object, gvk: &GroupVersionKind, media: Media) -> Vec<u8> {
    let mut bytes = Vec::new();
    let shape = builtin().kind(gvk).map_or(Shape::Json, Shape::Object);
    match (media, &shape) {
        (Media::Json, _) => write_json(object, &shape, &mut bytes),
        (Media::Yaml, _) => {
            write_json(object, &shape, &mut bytes);
            bytes = yaml_of(&bytes);
        }
        (Media::Protobuf, Shape::Object(ty)) => {
            bytes = wrap_envelope(gvk, &write_message(object, ty));
        }
        // What has no schema has no protobuf form: upstream, too, keeps it as JSON in the envelope.
        (Media::Protobuf, _) => {
            write_json(object, &shape, &mut bytes);
            bytes = protobuf::wrap_json_envelope(gvk, &bytes);
        }
    }
    bytes
}

/// YAML of what the JSON writer wrote, so that both show the same fields.
fn yaml_of(json: &[u8]) -> Vec<u8> {
    let tree: Object = serde_json::from_slice(json).unwrap_or_default();
    serde_saphyr::to_string(&tree).unwrap_or_default().into_bytes()
}

/// The form objects have at rest: protobuf for kinds that have one, as upstream stores them, and JSON for
/// the rest.
pub mod storage {
    use super::{DecodeError, Decoded, FieldValidation, GroupVersionKind, Media, Object};

    /// Kinds that upstream stores as JSON.
    fn media(gvk: &GroupVersionKind) -> Media {
        match gvk.group.as_ref() {
            "apiextensions.k8s.io" | "apiregistration.k8s.io" => Media::Json,
            _ => Media::Protobuf,
        }
    }

    /// Encodes an object for the store.
    pub fn encode(object: &Object, gvk: &GroupVersionKind) -> Vec<u8> {
        super::encode(object, gvk, media(gvk))
    }

    /// Decodes what lies in the store, whichever form it has.
    ///
    /// # Errors
    /// [`DecodeError`] where it is damaged or of no known kind.
    pub fn decode(bytes: &[u8]) -> Result<(GroupVersionKind, Object), DecodeError> {
        let media =
            if bytes.starts_with(super::ENVELOPE_MAGIC) { Media::Protobuf } else { Media::Json };
        let Decoded { gvk, mut object, .. } =
            super::decode(bytes, media, None, FieldValidation::Ignore)?;
        if gvk.kind == "StatefulSet" {
            name_claims(&mut object);
        }
        Ok((gvk, object))
    }

    /// Protobuf does not carry the names of kinds inside an object; a stateful set's claims have them.
    fn name_claims(object: &mut Object) {
        let claims =
            object.pointer_mut("/spec/volumeClaimTemplates").and_then(Object::as_array_mut);
        for claim in claims.into_iter().flatten() {
            super::stamp(claim, &GroupVersionKind::new("", "v1", "PersistentVolumeClaim"));
        }
    }
}
