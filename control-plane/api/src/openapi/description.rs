//! What types and fields mean, in words. The text is large, so it is inflated line by line and only what
//! a document needs is kept, for as long as the document is made.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};

use flate2::bufread::GzDecoder;

static COMPRESSED: &[u8] = include_bytes!("../generated/descriptions.gz");

/// Descriptions by type and field; an empty field stands for the type.
pub(super) struct Descriptions(HashMap<(String, String), String>);

impl Descriptions {
    /// The descriptions of these types.
    pub(super) fn of(types: &BTreeSet<&str>) -> Self {
        let lines = BufReader::new(GzDecoder::new(COMPRESSED)).lines();
        let entry = |line: String| {
            let (ty, rest) = line.split_once('\t')?;
            let (field, text) = rest.split_once('\t')?;
            types.contains(ty).then(|| ((ty.to_owned(), field.to_owned()), unescape(text)))
        };
        let lines = lines.map(|line| line.expect("the compressed text is part of this crate"));
        Self(lines.filter_map(entry).collect())
    }

    /// The description of a field, or of a type when `field` is empty.
    pub(super) fn get(&self, ty: &str, field: &str) -> Option<&str> {
        self.0.get(&(ty.to_owned(), field.to_owned())).map(String::as_str)
    }
}

/// `\n` is a line's end, `\\` a backslash.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push(match characters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            }),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_unescaped() {
        assert_eq!(unescape(r"a\nb\\nc"), "a\nb\\nc");
    }

    #[test]
    fn only_what_is_asked_for_is_kept() {
        let pod = "io.k8s.api.core.v1.Pod";
        let descriptions = Descriptions::of(&BTreeSet::from([pod]));
        assert!(descriptions.get(pod, "").is_some_and(|text| text.starts_with("Pod is")));
        assert!(descriptions.get(pod, "spec").is_some());
        assert!(descriptions.get("io.k8s.api.core.v1.PodSpec", "").is_none());
    }
}
