//! The kubelet's serving certificate: one of its own making at first, the cluster's as soon as the
//! cluster has signed one, and a new one in time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use skep_auth::pki::tls::{self, ClientCertificates, Slot};
use skep_auth::pki::{AltName, Authority, Identity, Profile, Subject, Usage};
use tokio_util::sync::CancellationToken;

use crate::certificate::{self, Store, Wish};
use crate::config::Config;
use crate::kubelet::Kubelet;

const RETRY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_secs(300);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// TLS settings; a task keeps the certificate in them current.
pub(super) fn config(
    kubelet: &Arc<Kubelet>,
    shutdown: &CancellationToken,
) -> anyhow::Result<rustls::ServerConfig> {
    let config = &kubelet.config;
    let store = Store::open(&config.cert_dir)
        .with_context(|| format!("--cert-dir: cannot use {}", config.cert_dir.display()))?;
    let now = SystemTime::now();
    let kept = store.serving()?.filter(|kept| kept.validity().is_ok_and(|v| v.contains(now)));
    let signed = kept.clone();
    let first = match kept {
        Some(kept) => kept,
        None => own(config, now)?,
    };
    let slot = Slot::new(&first)?;
    let authority = match &config.client_ca_file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .with_context(|| format!("--client-ca-file: cannot read {}", path.display()))?,
        ),
        None => store.authority()?,
    };
    let clients = match &authority {
        Some(pem) => ClientCertificates::Accepted(pem),
        None => ClientCertificates::Ignored,
    };
    let mut tls = tls::server_config(slot.clone(), clients)?;
    // Streams are upgrades of HTTP/1.1.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    tokio::spawn(keep(kubelet.clone(), store, slot, signed, shutdown.clone()));
    Ok(tls)
}

/// A certificate that only tells one node from another until the cluster signs one.
fn own(config: &Config, now: SystemTime) -> anyhow::Result<Identity> {
    let name = format!("{}-ca@self", config.node_name);
    let authority = Authority::generate(&name, YEAR, now)?;
    let subject = Subject::user(config.node_name.clone());
    Ok(authority.issue(&Profile::server(subject, names(config), YEAR), now)?)
}

fn names(config: &Config) -> Vec<AltName> {
    let addresses = config.node_ips.iter().map(|ip| AltName::Ip(*ip));
    std::iter::once(AltName::Dns(config.node_name.clone())).chain(addresses).collect()
}

async fn keep(
    kubelet: Arc<Kubelet>,
    store: Store,
    slot: Arc<Slot>,
    mut signed: Option<Identity>,
    shutdown: CancellationToken,
) {
    let wish = Wish {
        signer: "kubernetes.io/kubelet-serving",
        subject: Subject::node(&kubelet.config.node_name),
        alt_names: names(&kubelet.config),
        usages: Usage::SERVER,
    };
    loop {
        let name = &kubelet.config.node_name;
        let due = signed
            .as_ref()
            .is_none_or(|signed| certificate::is_due(signed, name, SystemTime::now()));
        let mut pause = LOOK;
        if due {
            let obtained = tokio::select! {
                () = shutdown.cancelled() => return,
                obtained = certificate::obtain(&kubelet.client, &wish) => obtained,
            };
            let taken = obtained.and_then(|fresh| {
                slot.replace(&fresh)?;
                store.write_serving(&fresh)?;
                Ok(fresh)
            });
            match taken {
                Ok(fresh) => {
                    tracing::info!("the cluster has signed this node's serving certificate");
                    signed = Some(fresh);
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "no signed serving certificate yet"
                    );
                    pause = RETRY;
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
