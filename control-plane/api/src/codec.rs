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
use crate::names::{GroupVersion, GroupVersionKind, Name};
use crate::registry::builtin;
use crate::schema::Shape;

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
    /// It cannot even be told what kind it is
    #[error("{message}")]
    Unrecognized {
        /// The kind it should have been; empty where nobody said
        expected: Name,
        /// What is wrong
        message: String,
        /// How the bytes begin
        beginning: String,
    },
    /// No such kind
    #[error(
        "no kind \"{}\" is registered for version \"{}\" in scheme \"pkg/runtime/scheme.go:111\"",
        .0.kind, .0.group_version()
    )]
    UnknownKind(Box<GroupVersionKind>, Name),
    /// A value of the wrong type, or damaged
    #[error("{message}")]
    Malformed {
        /// What the object says it is
        gvk: Box<GroupVersionKind>,
        /// The kind it should have been
        expected: Name,
        /// What is wrong
        message: String,
    },
    /// Unknown or duplicate fields, with `FieldValidation::Strict`
    #[error("strict decoding error: {}", .errors.join(", "))]
    Strict {
        /// What the object says it is
        gvk: Box<GroupVersionKind>,
        /// The kind it should have been
        expected: Name,
        /// One per field
        errors: Vec<String>,
    },
}

impl DecodeError {
    /// The message of the answer 400 that upstream gives for a request body.
    pub fn request_message(&self) -> String {
        match self {
            Self::Unrecognized { expected, message, beginning } => {
                format!(
                    "the object provided is unrecognized (must be of type {expected}): {message} ({beginning})"
                )
            }
            Self::UnknownKind(gvk, expected)
            | Self::Malformed { gvk, expected, .. }
            | Self::Strict { gvk, expected, .. } => {
                let GroupVersionKind { kind, version, .. } = &**gvk;
                format!("{kind} in version {version:?} cannot be handled as a {expected}: {self}")
            }
        }
    }
}

/// What an object says it is.
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
    let unrecognized = |message: String| DecodeError::Unrecognized {
        expected: default.map_or(Name::Borrowed(""), |default| default.kind.clone()),
        message,
        beginning: beginning(bytes),
    };
    let (meta, message) = match media {
        Media::Protobuf => {
            let envelope =
                unwrap_envelope(bytes).map_err(|error| unrecognized(error.to_string()))?;
            let meta =
                TypeMeta { api_version: Some(envelope.api_version), kind: Some(envelope.kind) };
            (meta, envelope.raw)
        }
        _ => (type_meta(bytes, media).map_err(unrecognized)?, bytes),
    };
    let gvk = resolve(meta, default).map_err(unrecognized)?;
    let expected = default.map_or_else(|| gvk.kind.clone(), |default| default.kind.clone());
    let Some(ty) = builtin().kind(&gvk) else {
        return Err(DecodeError::UnknownKind(Box::new(gvk), expected));
    };
    let read = match media {
        Media::Json => json_reader::read_json(message, &ty),
        Media::Yaml => json_reader::read_yaml(message, &ty),
        Media::Protobuf => {
            let object = read_message(message, &ty);
            object.map(|object| (object, Vec::new())).map_err(|error| error.to_string())
        }
    };
    let (mut object, problems) = match read {
        Ok(read) => read,
        Err(message) => {
            return Err(DecodeError::Malformed { gvk: Box::new(gvk), expected, message });
        }
    };
    stamp(&mut object, &gvk);
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            Err(DecodeError::Strict { gvk: Box::new(gvk), expected, errors: problems })
        }
        FieldValidation::Ignore => Ok(Decoded { gvk, object, warnings: Vec::new() }),
        _ => Ok(Decoded { gvk, object, warnings: problems }),
    }
}

/// What the text says it is.
fn type_meta(bytes: &[u8], media: Media) -> Result<TypeMeta, String> {
    if media == Media::Yaml {
        return json_reader::yaml_meta(bytes);
    }
    let read = match json_reader::no_object(bytes) {
        Some(why) => Err(why),
        None => serde_json::from_slice(bytes).map_err(|error| json_reader::syntax(&error)),
    };
    read.map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))
}

/// How upstream shows the bytes of a body that it cannot read.
fn beginning(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    let shown = &bytes[..bytes.len().min(SHOWN)];
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(shown).into_owned() + more,
        Some(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + more,
    }
}

fn resolve(meta: TypeMeta, default: Option<&GroupVersionKind>) -> Result<GroupVersionKind, String> {
    let told = |text: Option<String>| text.filter(|text| !text.is_empty());
    let kind = match (told(meta.kind), default) {
        (Some(kind), _) => kind.into(),
        (None, Some(default)) => default.kind.clone(),
        (None, None) => return Err("Object 'Kind' is missing".to_owned()),
    };
    let version = match (told(meta.api_version), default) {
        (Some(text), _) => GroupVersion::parse(&text)?,
        (None, Some(default)) => default.group_version(),
        (None, None) => return Err("Object 'apiVersion' is missing".to_owned()),
    };
    Ok(version.with_kind(kind))
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
