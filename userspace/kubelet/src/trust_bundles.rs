//! Trust bundles of the cluster, as projected volumes show them.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::ClusterTrustBundleProjection;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Client};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates that a projection asks for, each once; the error is for the pod's events.
pub(crate) async fn fetch(
    client: &Client,
    wish: &ClusterTrustBundleProjection,
) -> Result<Vec<u8>, String> {
    let optional = wish.optional == Some(true);
    let bundles: Api<ClusterTrustBundle> = Api::all(client.clone());
    let failed = |error: kube::Error| format!("while getting ClusterTrustBundle: {error}");
    let found = match (&wish.name, &wish.signer_name) {
        (Some(name), _) => match bundles.get_opt(name).await.map_err(failed)? {
            Some(bundle) => vec![bundle],
            None if optional => Vec::new(),
            None => return Err(format!("ClusterTrustBundle {name:?} not found")),
        },
        (None, Some(signer)) => {
            let Some(selector) = selector(wish.label_selector.as_ref())? else {
                return none(optional);
            };
            let params = ListParams::default().labels_from(&selector);
            let mut listed = bundles.list(&params).await.map_err(failed)?.items;
            listed.retain(|bundle| bundle.spec.signer_name.as_ref() == Some(signer));
            if listed.is_empty() {
                return none(optional);
            }
            listed
        }
        (None, None) => {
            return Err(
                "ClusterTrustBundle projection requires either name or signerName to be set".into(),
            );
        }
    };
    let texts = found.iter().map(|bundle| bundle.spec.trust_bundle.as_str());
    Ok(merge(texts).into_bytes())
}

fn none(optional: bool) -> Result<Vec<u8>, String> {
    match optional {
        true => Ok(Vec::new()),
        false => {
            Err("combination of signerName and labelSelector matched zero ClusterTrustBundles"
                .into())
        }
    }
}

/// No selector selects nothing, an empty one everything.
fn selector(wish: Option<&LabelSelector>) -> Result<Option<Selector>, String> {
    let Some(wish) = wish else { return Ok(None) };
    let selector: Result<Selector, _> = wish.clone().try_into();
    selector.map(Some).map_err(|error| format!("while parsing label selector: {error}"))
}

/// Every certificate once, in the order of their bytes, without comments between them.
fn merge<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut certificates: BTreeSet<Vec<u8>> = BTreeSet::new();
    for text in texts {
        for block in text.split(BEGIN).skip(1) {
            let Some((body, _)) = block.split_once(END) else { continue };
            // Headers, as old PEM has them, end at an empty line.
            let body = body.split_once("\n\n").map_or(body, |(_, body)| body);
            let body: String = body.split_whitespace().collect();
            certificates.extend(BASE64_STANDARD.decode(body));
        }
    }
    certificates.iter().map(|der| encode(der)).collect()
}

fn encode(der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let mut text = format!("{BEGIN}\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text + END + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_certificate_once() {
        let (one, two) = (encode(&[1; 60]), encode(&[2; 10]));
        let texts = [format!("# a comment\n{two}{one}"), format!("{one}\ntext between\n{two}")];
        assert_eq!(merge(texts.iter().map(String::as_str)), format!("{one}{two}"));
        assert_eq!(merge(["no certificate"].into_iter()), "");
    }
}
