//! The certificates and keys of one cluster, in one folder: made on the first start, renewed in
//! time on later ones.
//!
//! The files have kubeadm's names, so that what reads those finds its way. An authority or the
//! service-account key that is damaged is an error and never replaced: every token and
//! certificate of the cluster hangs on them. A leaf certificate that is missing, damaged, foreign,
//! past [`RENEW_AT`] of its life or short of a name is made anew.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::identity::Validity;
use super::{
    AltName, Authority, Error, Identity, PrivateKey, Profile, Subject, certificate_der, file,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_LIFETIME: Duration = DAY.saturating_mul(3650);
const LEAF_LIFETIME: Duration = DAY.saturating_mul(365);
/// Leaf certificates are renewed from this share (per cent) of their life on.
pub const RENEW_AT: u32 = 70;

/// What the API server's certificate must answer for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServingNames(BTreeSet<AltName>);

impl ServingNames {
    /// The names of the `kubernetes` Service in `cluster_domain` and its address, and loopback.
    pub fn of_cluster(cluster_domain: &str, service_address: IpAddr) -> Self {
        let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
        let mut all: BTreeSet<_> = names.into_iter().map(AltName::parse).collect();
        all.insert(AltName::Dns(format!("kubernetes.default.svc.{cluster_domain}")));
        all.insert(AltName::Ip(service_address));
        all.insert(AltName::Ip(Ipv4Addr::LOCALHOST.into()));
        all.insert(AltName::Ip(Ipv6Addr::LOCALHOST.into()));
        Self(all)
    }

    /// The same and one more name or address.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.0.insert(AltName::parse(name));
        self
    }
}

/// Everything a control plane needs to prove who it is and to recognize others.
#[derive(Debug)]
pub struct ClusterPki {
    /// Signs the cluster's client and serving certificates.
    pub authority: Authority,
    /// Signs the certificate by which an extension API server recognizes this one.
    pub front_proxy_authority: Authority,
    /// Signs service-account tokens.
    pub service_account_key: PrivateKey,
    /// The API server's serving certificate.
    pub apiserver: Identity,
    /// What the API server shows to kubelets.
    pub apiserver_kubelet_client: Identity,
    /// What the API server shows to extension API servers.
    pub front_proxy_client: Identity,
    /// The first administrator, in `system:masters`.
    pub admin: Identity,
    /// `system:kube-controller-manager`.
    pub controller_manager: Identity,
    /// `system:kube-scheduler`.
    pub scheduler: Identity,
}

impl ClusterPki {
    /// Reads `folder`, and makes or renews there what is missing or due at `now`. Processes that
    /// do so at once wait for each other.
    pub fn load_or_create(
        folder: &Path,
        names: &ServingNames,
        now: SystemTime,
    ) -> Result<Self, Error> {
        file::create_dir(folder)?;
        let _lock = file::lock(&folder.join(".lock"))?;
        let folder = Folder { path: folder, now };
        let authority = folder.authority("ca", "kubernetes")?;
        let front_proxy_authority = folder.authority("front-proxy-ca", "front-proxy-ca")?;
        let client = |subject| Profile::client(subject, LEAF_LIFETIME);
        let serving = Profile::server(
            Subject::user("kube-apiserver"),
            names.0.iter().cloned().collect(),
            LEAF_LIFETIME,
        );
        Ok(Self {
            service_account_key: folder.service_account_key()?,
            apiserver: folder.leaf("apiserver", &serving, &authority)?,
            apiserver_kubelet_client: folder.leaf(
                "apiserver-kubelet-client",
                &client(Subject::user("kube-apiserver-kubelet-client")),
                &authority,
            )?,
            front_proxy_client: folder.leaf(
                "front-proxy-client",
                &client(Subject::user("front-proxy-client")),
                &front_proxy_authority,
            )?,
            admin: folder.leaf(
                "admin",
                &client(Subject::member("kubernetes-admin", "system:masters")),
                &authority,
            )?,
            controller_manager: folder.leaf(
                "controller-manager",
                &client(Subject::user("system:kube-controller-manager")),
                &authority,
            )?,
            scheduler: folder.leaf(
                "scheduler",
                &client(Subject::user("system:kube-scheduler")),
                &authority,
            )?,
            authority,
            front_proxy_authority,
        })
    }
}

struct Folder<'a> {
    path: &'a Path,
    now: SystemTime,
}

impl Folder<'_> {
    fn file(&self, name: &str, extension: &str) -> PathBuf {
        self.path.join(format!("{name}.{extension}"))
    }

    /// The key is written before the certificate: a key alone is a first start that was cut off.
    fn authority(&self, name: &str, common_name: &str) -> Result<Authority, Error> {
        let (certificate_path, key_path) = (self.file(name, "crt"), self.file(name, "key"));
        let Some(certificate) = file::read(&certificate_path)? else {
            let authority = Authority::generate(common_name, AUTHORITY_LIFETIME, self.now)?;
            file::write(&key_path, authority.key_pem())?;
            file::write(&certificate_path, authority.certificate_pem())?;
            return Ok(authority);
        };
        let broken = |problem: String| Error::Contents { path: certificate_path.clone(), problem };
        let key = file::read(&key_path)?.ok_or_else(|| {
            broken("its private key is missing: put it back, or remove the folder to begin a new cluster".into())
        })?;
        Authority::from_pem(&certificate, &key).map_err(|e| broken(e.to_string()))
    }

    fn service_account_key(&self) -> Result<PrivateKey, Error> {
        let path = self.file("sa", "key");
        let key = match file::read(&path)? {
            Some(pem) => PrivateKey::from_pem(&pem)
                .map_err(|e| Error::Contents { path: path.clone(), problem: e.to_string() })?,
            None => {
                let key = PrivateKey::generate()?;
                file::write(&path, &key.to_pem())?;
                key
            }
        };
        let public = self.file("sa", "pub");
        if file::read(&public)?.as_deref() != Some(&key.public_pem()) {
            file::write(&public, &key.public_pem())?;
        }
        Ok(key)
    }

    fn leaf(
        &self,
        name: &str,
        profile: &Profile,
        authority: &Authority,
    ) -> Result<Identity, Error> {
        let (certificate_path, key_path) = (self.file(name, "crt"), self.file(name, "key"));
        if let (Some(certificate_pem), Some(key_pem)) =
            (file::read(&certificate_path)?, file::read(&key_path)?)
        {
            let identity = Identity { certificate_pem, key_pem };
            if self.serves(&identity, profile, authority).unwrap_or(false) {
                return Ok(identity);
            }
        }
        let identity = authority.issue(profile, self.now)?;
        file::write(&key_path, &identity.key_pem)?;
        file::write(&certificate_path, &identity.certificate_pem)?;
        Ok(identity)
    }

    /// Whether a stored leaf can stay: ours, of this subject, fresh, matching its key, and
    /// answering for every name asked for.
    fn serves(
        &self,
        stored: &Identity,
        wanted: &Profile,
        authority: &Authority,
    ) -> Result<bool, Error> {
        let der = certificate_der(&stored.certificate_pem)?;
        let validity = Validity::of(&der)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der)
            .map_err(|e| Error::Certificate(e.to_string()))?;
        let key = PrivateKey::from_pem(&stored.key_pem)?;
        let names = alt_names(&certificate);
        Ok(authority.signed(&der)
            && validity.not_before <= self.now
            && self.now < validity.renew_at(RENEW_AT)
            && key.is_of(&certificate)
            && Subject::of(certificate.subject()).is_ok_and(|subject| subject == wanted.subject)
            && wanted.alt_names.iter().all(|name| names.contains(name)))
    }
}

fn alt_names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> BTreeSet<AltName> {
    use x509_parser::extensions::GeneralName;
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return BTreeSet::new();
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(AltName::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| AltName::Ip(b.into())),
            16 => <[u8; 16]>::try_from(*bytes).ok().map(|b| AltName::Ip(b.into())),
            _ => None,
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names() -> ServingNames {
        ServingNames::of_cluster("cluster.local", "10.96.0.1".parse().unwrap())
    }

    fn load(folder: &Path, now: SystemTime) -> ClusterPki {
        ClusterPki::load_or_create(folder, &names(), now).unwrap()
    }

    #[test]
    fn a_second_start_finds_what_the_first_one_made() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = load(folder.path(), now);
        let second = load(folder.path(), now + DAY);
        assert_eq!(first.authority.fingerprint(), second.authority.fingerprint());
        assert_eq!(first.apiserver, second.apiserver);
        assert_eq!(first.admin, second.admin);
        assert_eq!(first.service_account_key.to_pem(), second.service_account_key.to_pem());
    }

    #[test]
    fn only_the_owner_can_read_and_nothing_temporary_stays() {
        let folder = tempfile::tempdir().unwrap();
        let pki = folder.path().join("pki");
        load(&pki, SystemTime::now());
        assert_eq!(fs::metadata(&pki).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&pki).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!entry.file_name().to_string_lossy().ends_with(".new"));
        }
    }

    #[test]
    fn leaves_are_renewed_when_due_and_keep_their_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = load(folder.path(), now);
        let later = load(folder.path(), now + 300 * DAY);
        assert_ne!(first.apiserver, later.apiserver);
        assert_ne!(first.scheduler, later.scheduler);
        assert_eq!(first.authority.fingerprint(), later.authority.fingerprint());
    }

    #[test]
    fn a_new_address_renews_the_serving_certificate_alone() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = load(folder.path(), now);
        let wider = names().with("10.199.0.11").with("node-1");
        let second = ClusterPki::load_or_create(folder.path(), &wider, now).unwrap();
        assert_ne!(first.apiserver, second.apiserver);
        assert_eq!(first.admin, second.admin);
        let again = load(folder.path(), now);
        assert_eq!(
            again.apiserver, second.apiserver,
            "a certificate with more names than asked for stays"
        );
    }

    #[test]
    fn damaged_leaves_are_replaced_and_damaged_authorities_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = load(folder.path(), now);
        fs::write(folder.path().join("admin.crt"), "gone").unwrap();
        fs::copy(folder.path().join("scheduler.key"), folder.path().join("apiserver.key")).unwrap();
        let second = load(folder.path(), now);
        assert_ne!(first.admin, second.admin);
        assert_ne!(first.apiserver, second.apiserver);

        fs::remove_file(folder.path().join("ca.key")).unwrap();
        let refused = ClusterPki::load_or_create(folder.path(), &names(), now).unwrap_err();
        assert!(refused.to_string().contains("ca.crt: its private key is missing"), "{refused}");
    }

    #[test]
    fn starts_at_one_moment_agree() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let prints: BTreeSet<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| load(folder.path(), now).authority.fingerprint()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(prints.len(), 1);
    }

    #[test]
    fn an_authority_cut_off_before_its_certificate_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.key"), "half").unwrap();
        load(folder.path(), SystemTime::now());
    }
}
