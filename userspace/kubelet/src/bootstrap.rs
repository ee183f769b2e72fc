//! Joining a cluster with a token, and keeping the node's client certificate young.
//!
//! The token carries the hash of the cluster's authority: nothing is sent to a server that does not
//! show that authority. A node that has a certificate does not use its token again.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use kube::Client;
use skep_auth::kubeconfig::{Cluster, Kubeconfig, User};
use skep_auth::pki::{self, Identity, Subject, Usage};
use skep_auth::token::{BootstrapToken, JoinToken};
use tokio_util::sync::CancellationToken;

use crate::certificate::{self, Store, Wish};
use crate::config::Config;

mod rotating;

use rotating::Rotating;

const RETRY: Duration = Duration::from_secs(2);
/// How often the certificate's age is looked at, clocks being what they are.
const LOOK: Duration = Duration::from_secs(300);

/// A client of the cluster as this node. The first time, `token` buys a certificate; later the kept
/// one is used. The client shows new certificates as they come.
///
/// # Errors
/// When the token is malformed, names another cluster or is refused, or nothing can be stored.
pub async fn join(
    config: &Config,
    server: &str,
    token: &str,
    shutdown: &CancellationToken,
) -> anyhow::Result<Client> {
    let server = server.trim_end_matches('/');
    ensure!(server.starts_with("https://"), "--server: {server:?} is not https://HOST:PORT");
    let store = Store::open(&config.cert_dir)
        .with_context(|| format!("--cert-dir: cannot use {}", config.cert_dir.display()))?;
    let kept = store.client()?.filter(is_valid);
    let (authority, identity) = match (kept, store.authority()?) {
        (Some(identity), Some(authority)) => (authority, identity),
        _ => admit(config, &store, server, token, shutdown).await?,
    };
    let kubeconfig = kubeconfig(config, &store, server);
    store.write_kubeconfig(&kubeconfig)?;
    let connect = {
        let (server, authority) = (server.to_owned(), authority);
        move |identity: &Identity| client(&server, &authority, User::embedded(identity))
    };
    let rotating = Rotating::new(connect(&identity)?);
    let client = rotating.client();
    tokio::spawn(rotate(config.clone(), store, identity, rotating, connect, shutdown.clone()));
    Ok(client)
}

fn is_valid(identity: &Identity) -> bool {
    identity.validity().is_ok_and(|validity| validity.contains(SystemTime::now()))
}

/// Finds the authority, checks it, and asks it for a certificate.
async fn admit(
    config: &Config,
    store: &Store,
    server: &str,
    token: &str,
    shutdown: &CancellationToken,
) -> anyhow::Result<(String, Identity)> {
    let token: JoinToken =
        token.parse().context("--token: make one on the server with `skep token create`")?;
    let authority = loop {
        match fetch_authority(server).await {
            Ok(authority) => break authority,
            Err(error) => tracing::warn!(%error, server, "cannot reach the server yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => bail!("stopped before the server answered"),
            () = tokio::time::sleep(RETRY) => {}
        }
    };
    let der = pki::certificate_der(&authority).context("the server's authority")?;
    ensure!(
        token.trusts(&der),
        "--token: {server} belongs to another cluster than this token: its authority has the hash {}",
        pki::fingerprint(&der)
    );
    store.write_authority(&authority)?;
    let bearer = User::token(bearer(&token.token));
    let wish = client_wish(config);
    let client = client(server, &authority, bearer)?;
    let identity = certificate::obtain(&client, &wish)
        .await
        .context("asking for this node's client certificate")?;
    store.write_client(&identity)?;
    tracing::info!(server, "this node has joined");
    Ok((authority, identity))
}

fn bearer(token: &BootstrapToken) -> String {
    format!("{}.{}", token.id(), token.secret())
}

fn client_wish(config: &Config) -> Wish {
    Wish {
        signer: "kubernetes.io/kube-apiserver-client-kubelet",
        subject: Subject::node(&config.node_name),
        alt_names: Vec::new(),
        usages: Usage::CLIENT,
    }
}

/// The server's authority, fetched without trust: only its hash will tell.
async fn fetch_authority(server: &str) -> anyhow::Result<String> {
    let mut config = kube::Config::new(server.parse().context("--server")?);
    config.accept_invalid_certs = true;
    let client = Client::try_from(config)?;
    let request = http::Request::get("/cacerts").body(Vec::new())?;
    Ok(client.request_text(request).await?)
}

fn client(server: &str, authority: &str, user: User) -> anyhow::Result<Client> {
    let cluster = Cluster::embedded(server, authority);
    let text = Kubeconfig::new("skep", cluster, "node", user).to_text();
    let kubeconfig: kube::config::Kubeconfig = serde_json::from_str(&text)?;
    let mut config = loaded(kubeconfig)?;
    // Watches may be silent for minutes.
    config.read_timeout = None;
    Ok(Client::try_from(config)?)
}

fn loaded(kubeconfig: kube::config::Kubeconfig) -> anyhow::Result<kube::Config> {
    let options = kube::config::KubeConfigOptions::default();
    let load = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    // Everything is embedded: the future has nothing to wait for.
    futures::executor::block_on(load).context("the node's own kubeconfig")
}

fn kubeconfig(config: &Config, store: &Store, server: &str) -> String {
    let cluster = Cluster {
        server: server.to_owned(),
        certificate_authority_data: None,
        certificate_authority: Some(store.authority_path().display().to_string()),
    };
    let pem = store.client_path().display().to_string();
    let user = User::files(pem.clone(), pem);
    let name = format!("system:node:{}", config.node_name);
    Kubeconfig::new("skep", cluster, &name, user).to_text()
}

/// Replaces the certificate in the last part of its life.
async fn rotate(
    config: Config,
    store: Store,
    mut identity: Identity,
    rotating: Rotating,
    connect: impl Fn(&Identity) -> anyhow::Result<Client>,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        if !certificate::is_due(&identity, &config.node_name, SystemTime::now()) {
            continue;
        }
        let renewed = certificate::obtain(&rotating.client(), &client_wish(&config)).await;
        let taken = renewed.and_then(|fresh| {
            store.write_client(&fresh)?;
            rotating.replace(connect(&fresh)?);
            Ok(fresh)
        });
        match taken {
            Ok(fresh) => {
                tracing::info!("the node's client certificate is renewed");
                identity = fresh;
            }
            Err(error) => tracing::warn!(%error, "cannot renew the node's client certificate"),
        }
    }
}
