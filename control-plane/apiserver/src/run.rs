//! From a configuration to a running server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use skep_auth::pki::tls::{self, ClientCertificates, Slot};
use skep_auth::pki::{Authority, ClusterPki, Identity, ServingNames};
use skep_auth::serviceaccount::{PublicKeys, Signer, Verifier};
use skep_store::{EmbeddedStore, Options, Revision, Store};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ApiServer;
use crate::bootstrap;
use crate::config::{Config, Settings};
use crate::facts::{self, Facts};
use crate::http::listen;
use crate::identity::Authentication;
use crate::server::Parts;
use crate::services::Services;
use crate::subresource::node::Kubelets;

/// How much of the past stays readable: between one and two of these, as upstream has it.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(300);
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A server that answers.
pub struct Running {
    /// For clients in the same process.
    pub server: ApiServer,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The cluster's authority, for whoever signs certificate requests.
    pub authority: Authority,
    /// The authority's certificate, for whoever must trust the server.
    pub root_ca_pem: String,
    /// Ends after the shutdown, when what was under way has come to its end.
    pub ended: JoinHandle<anyhow::Result<()>>,
}

/// Opens the store, makes or reads the certificates, prepares the cluster's first objects, and opens
/// the sockets.
///
/// # Errors
/// What is wrong with a flag, a file or an address, naming it.
pub async fn start(config: Config, shutdown: CancellationToken) -> anyhow::Result<Running> {
    let flags = &config.flags;
    let pki = pki(&config)?;
    let store_folder = flags.data_dir.join("store");
    let store = EmbeddedStore::open(&store_folder, Options::default())
        .with_context(|| format!("open the store in {}", store_folder.display()))?;
    let tls = serving(&config, &pki)?;
    let server = ApiServer::new(parts(&config, &pki, Arc::new(store))?);
    // What runs beside the requests goes on until the last of them is answered.
    let background = CancellationToken::new();
    let stop_background = background.clone().drop_guard();
    bootstrap::remember(&server).await.context("read the Services")?;
    tokio::spawn(facts::follow(server.clone(), background.clone()));
    tokio::spawn(keep_history(server.clone(), background));
    bootstrap::run(&server, &flags.service_cluster_ip_range)
        .await
        .context("prepare the cluster's first objects")?;
    server.facts().caught_up(&server).await?;
    let mut listeners = listen::passed_listeners()?;
    let address = SocketAddr::new(flags.bind_address, flags.secure_port);
    let listener = TcpListener::bind(address).await;
    listeners.push(
        listener.with_context(|| format!("--bind-address, --secure-port: listen on {address}"))?,
    );
    let addresses: Vec<SocketAddr> =
        listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    tracing::info!(?addresses, "the API is served");
    let serving = server.clone();
    let ended = tokio::spawn(async move {
        listen::serve(&serving, listeners, tls, shutdown).await;
        drop(stop_background);
        Ok(())
    });
    let root_ca_pem = pki.authority.certificate_pem().to_owned();
    Ok(Running { server, addresses, authority: pki.authority, root_ca_pem, ended })
}

/// Runs an API server by itself.
///
/// # Errors
/// See [`start`].
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    start(config, shutdown).await?.ended.await?
}

fn pki(config: &Config) -> anyhow::Result<ClusterPki> {
    let flags = &config.flags;
    let service = Services::first_address(config.first_service_range());
    let mut names = ServingNames::of_cluster(&flags.cluster_domain, service)
        .with(&config.advertise_address.to_string());
    if !flags.bind_address.is_unspecified() {
        names = names.with(&flags.bind_address.to_string());
    }
    let names = flags.tls_san.iter().fold(names, |names, name| names.with(name));
    let folder = config.pki_folder();
    ClusterPki::load_or_create(&folder, &names, SystemTime::now())
        .with_context(|| format!("certificates and keys in {}", folder.display()))
}

fn serving(config: &Config, pki: &ClusterPki) -> anyhow::Result<rustls::ServerConfig> {
    let flags = &config.flags;
    let read = |flag: &str, path: &std::path::Path| {
        std::fs::read_to_string(path).with_context(|| format!("{flag}: {}", path.display()))
    };
    let identity = match (&flags.tls_cert_file, &flags.tls_private_key_file) {
        (Some(certificate), Some(key)) => Identity {
            certificate_pem: read("--tls-cert-file", certificate)?,
            key_pem: read("--tls-private-key-file", key)?,
        },
        _ => pki.apiserver.clone(),
    };
    let clients = match &flags.client_ca_file {
        Some(path) => read("--client-ca-file", path)?,
        None => pki.authority.certificate_pem().to_owned(),
    };
    let slot = Slot::new(&identity).context("--tls-cert-file, --tls-private-key-file")?;
    tls::server_config(slot, ClientCertificates::Accepted(&clients)).context("--client-ca-file")
}

fn parts(config: &Config, pki: &ClusterPki, store: Arc<dyn Store>) -> anyhow::Result<Parts> {
    let flags = &config.flags;
    let issuer = &flags.service_account_issuer;
    let key = &pki.service_account_key;
    let keys = PublicKeys::from_pem(&[key.public_pem()])?;
    let audiences = match flags.api_audiences.as_slice() {
        [] => vec![issuer.clone()],
        audiences => audiences.to_vec(),
    };
    let kubelet_client = Slot::new(&pki.apiserver_kubelet_client)?;
    let authority_pem = pki.authority.certificate_pem().to_owned();
    let kubelets = Kubelets::new(tls::client_config(&authority_pem, Some(kubelet_client))?);
    Ok(Parts {
        store,
        settings: Settings {
            advertise_address: config.advertised(),
            authority_pem,
            front_proxy_authority_pem: pki.front_proxy_authority.certificate_pem().to_owned(),
            max_readonly: flags.max_requests_inflight,
            max_mutating: flags.max_mutating_requests_inflight,
        },
        authentication: Authentication {
            verifier: Verifier::new([issuer.clone()], keys),
            signer: Signer::new(issuer.as_str(), key)?,
            audiences,
            anonymous: flags.anonymous_auth,
            bootstrap_tokens: flags.enable_bootstrap_token_auth,
        },
        facts: Facts::default(),
        services: Services::new(
            flags.service_cluster_ip_range.clone(),
            flags.service_node_port_range.clone(),
        ),
        kubelets,
    })
}

/// Tells watches how far they are, and forgets what nobody needs any more.
async fn keep_history(server: ApiServer, shutdown: CancellationToken) {
    let mut bookmarks = tokio::time::interval(BOOKMARK_INTERVAL);
    let mut compactions = tokio::time::interval(COMPACTION_INTERVAL);
    let mut before = Revision::FIRST;
    loop {
        let done = tokio::select! {
            () = shutdown.cancelled() => return,
            _ = bookmarks.tick() => server.store().progress().await,
            _ = compactions.tick() => {
                let compacted = server.store().compact(before).await;
                if let Ok(revision) = server.store().revision().await {
                    before = revision;
                }
                compacted
            }
        };
        match done {
            Ok(()) | Err(skep_store::Error::Compacted { .. }) => {}
            Err(error) => tracing::warn!(%error, "keep the history"),
        }
    }
}
