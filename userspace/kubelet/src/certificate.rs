//! The kubelet's own certificates: asked for by request, kept in files, renewed in time.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use skep_auth::pki::{AltName, Identity, PrivateKey, Request, Subject, Usage};

/// How often an open request is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// A request that nobody answers is made anew after this.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A certificate to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) signer: &'static str,
    pub(crate) subject: Subject,
    pub(crate) alt_names: Vec<AltName>,
    pub(crate) usages: &'static [Usage],
}

/// Makes a key and asks for a certificate; waits until it is there or refused.
pub(crate) async fn obtain(client: &Client, wish: &Wish) -> anyhow::Result<Identity> {
    let key = PrivateKey::generate()?;
    let request = Request::create(&wish.subject, &wish.alt_names, &key)?;
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".into()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.into_bytes()),
            signer_name: wish.signer.into(),
            usages: Some(
                wish.usages.iter().filter_map(|usage| name(*usage)).map(str::to_owned).collect(),
            ),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
    let made = requests.create(&PostParams::default(), &object).await?;
    let name = made.metadata.name.context("the request came back without a name")?;
    let wait = async {
        loop {
            let status = requests.get(&name).await?.status.unwrap_or_default();
            if let Some(pem) = status.certificate.filter(|pem| !pem.0.is_empty()) {
                return Ok(String::from_utf8(pem.0)?);
            }
            let refused =
                |c: &&k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition| {
                    matches!(c.type_.as_str(), "Denied" | "Failed") && c.status != "False"
                };
            if let Some(condition) = status.conditions.iter().flatten().find(refused) {
                let why = condition.message.as_deref().unwrap_or_default();
                bail!("certificate request {name} is {}: {why}", condition.type_.to_lowercase());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let certificate_pem = tokio::time::timeout(PATIENCE, wait)
        .await
        .with_context(|| format!("certificate request {name} is neither granted nor refused"))??;
    Ok(Identity { certificate_pem, key_pem: key.to_pem() })
}

fn name(usage: Usage) -> Option<&'static str> {
    match usage {
        Usage::DigitalSignature => Some("digital signature"),
        Usage::ClientAuth => Some("client auth"),
        Usage::ServerAuth => Some("server auth"),
        _ => None,
    }
}

/// Is it time to renew? Between 70 and 90 per cent of the life, each node at its own moment.
pub(crate) fn is_due(identity: &Identity, node_name: &str, now: SystemTime) -> bool {
    let share = 70 + node_name.bytes().fold(0_u32, |sum, byte| sum + u32::from(byte)) % 21;
    identity.validity().map_or(true, |validity| now >= validity.renew_at(share))
}

/// The folder of the kubelet's certificates.
#[derive(Clone, Debug)]
pub(crate) struct Store(PathBuf);

impl Store {
    /// Makes the folder, for nobody else to read.
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(Self(folder.to_owned()))
    }

    pub(crate) fn authority_path(&self) -> PathBuf {
        self.0.join("ca.crt")
    }

    pub(crate) fn client_path(&self) -> PathBuf {
        self.0.join("kubelet-client-current.pem")
    }

    fn serving_path(&self) -> PathBuf {
        self.0.join("kubelet-server-current.pem")
    }

    /// The cluster's authority, if it was kept.
    pub(crate) fn authority(&self) -> anyhow::Result<Option<String>> {
        read(&self.authority_path())
    }

    pub(crate) fn write_authority(&self, pem: &str) -> anyhow::Result<()> {
        write(&self.authority_path(), pem)
    }

    /// The client certificate and key, if they were kept.
    pub(crate) fn client(&self) -> anyhow::Result<Option<Identity>> {
        Ok(read(&self.client_path())?.and_then(|text| split(&text)))
    }

    pub(crate) fn write_client(&self, identity: &Identity) -> anyhow::Result<()> {
        write(&self.client_path(), &joined(identity))
    }

    /// The serving certificate and key, if they were kept.
    pub(crate) fn serving(&self) -> anyhow::Result<Option<Identity>> {
        Ok(read(&self.serving_path())?.and_then(|text| split(&text)))
    }

    pub(crate) fn write_serving(&self, identity: &Identity) -> anyhow::Result<()> {
        write(&self.serving_path(), &joined(identity))
    }

    /// For people and their tools: the node's own kubeconfig.
    pub(crate) fn write_kubeconfig(&self, text: &str) -> anyhow::Result<()> {
        write(&self.0.join("kubelet.kubeconfig"), text)
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Whole or not at all, for the owner only.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn joined(identity: &Identity) -> String {
    format!("{}{}", identity.certificate_pem, identity.key_pem)
}

/// Certificates first, then the key.
fn split(text: &str) -> Option<Identity> {
    let at = text.find("-----BEGIN PRIVATE KEY-----")?;
    let (certificate, key) = text.split_at(at);
    Some(Identity { certificate_pem: certificate.to_owned(), key_pem: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_auth::pki::{Authority, Profile};

    fn identity(days: u64) -> Identity {
        let day = Duration::from_secs(86_400);
        let authority = Authority::generate("ca", day * 3650, SystemTime::now()).unwrap();
        let profile = Profile::client(Subject::node("n1"), day * u32::try_from(days).unwrap());
        authority.issue(&profile, SystemTime::now()).unwrap()
    }

    #[test]
    fn kept_certificates_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("pki")).unwrap();
        assert!(store.client().unwrap().is_none());
        let identity = identity(10);
        store.write_client(&identity).unwrap();
        let back = store.client().unwrap().unwrap();
        assert_eq!(back.certificate_pem, identity.certificate_pem);
        assert_eq!(back.key_pem, identity.key_pem);
    }

    #[test]
    fn renewed_late_in_life_and_not_after() {
        let (identity, now) = (identity(100), SystemTime::now());
        let day = Duration::from_secs(86_400);
        assert!(!is_due(&identity, "n1", now + day * 69));
        assert!(is_due(&identity, "n1", now + day * 91));
    }
}
