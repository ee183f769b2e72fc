//! What form of answer a client asks for: the media type, and whether it wants the objects themselves,
//! their metadata alone, or a table to print.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use skep_api::codec::Media;

/// What the objects become on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// Themselves.
    Object,
    /// `meta.k8s.io/v1` Table.
    Table,
    /// `meta.k8s.io/v1` PartialObjectMetadata, or a list of them.
    Metadata,
}

/// A media type and a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Accept {
    pub(crate) media: Media,
    pub(crate) form: Form,
}

impl Accept {
    pub(crate) const JSON: Self = Self { media: Media::Json, form: Form::Object };

    /// The first entry of the `Accept` header that can be served; `None` when there is no such entry.
    /// `tables`: whether there is a table of what is asked for.
    pub(crate) fn negotiate(headers: &HeaderMap, tables: bool) -> Option<Self> {
        let Some(accept) = headers.get(ACCEPT) else { return Some(Self::JSON) };
        let accept = accept.to_str().unwrap_or_default();
        if accept.trim().is_empty() {
            return Some(Self::JSON);
        }
        let mut entries = accept.split(',').filter_map(Self::entry);
        entries.find(|entry| tables || entry.form != Form::Table)
    }

    fn entry(entry: &str) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        let media = match parts.next()? {
            "*/*" | "application/*" => Media::Json,
            media => Media::from_content_type(media)?,
        };
        let (mut kind, mut group, mut version) = ("", "", "");
        for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
            match key {
                "as" => kind = value,
                "g" => group = value,
                "v" => version = value,
                _ => {}
            }
        }
        let known = group == "meta.k8s.io" && version == "v1";
        let form = match kind {
            "" => Form::Object,
            "Table" if known => Form::Table,
            "PartialObjectMetadata" | "PartialObjectMetadataList" if known => Form::Metadata,
            _ => return None,
        };
        Some(Self { media, form })
    }
}

/// Whether the client takes gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.unwrap_or_default().split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.next() != Some("q=0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_can_be_served_wins() {
        let table = Some(Accept { media: Media::Json, form: Form::Table });
        let json = Some(Accept::JSON);
        let proto = Some(Accept { media: Media::Protobuf, form: Form::Object });
        let cases = [
            ("", json),
            ("*/*", json),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", table),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", json),
            ("application/vnd.kubernetes.protobuf,application/json", proto),
            ("application/vnd.kubernetes.protobuf;stream=watch", proto),
            ("text/html, application/json", json),
            ("text/html", None),
            ("application/cbor,application/json", json),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Accept::negotiate(&headers, true), expected, "{accept:?}");
        }
    }

    #[test]
    fn where_there_is_no_table_the_next_entry_is_served() {
        for (accept, expected) in [
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Accept::JSON)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Accept::negotiate(&headers, false), expected, "{accept:?}");
        }
    }
}
