//! `skep token`: the bootstrap tokens by which nodes join, kept as Secrets in the cluster.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Config};
use skep_auth::token::{
    BootstrapToken, JoinToken, SecretToken, TokenSpec, secret_manifest, secret_name,
};

use crate::connect;

/// What to do with tokens.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a token and print what `skep agent --token` takes
    Create {
        /// How long it is valid, such as 24h; 0 for ever
        #[arg(long, default_value = "24h", value_parser = ttl)]
        ttl: Duration,
        /// The cluster, else $KUBECONFIG or ~/.kube/config
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
    /// List tokens
    List {
        /// The cluster, else $KUBECONFIG or ~/.kube/config
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
    /// Delete a token
    Delete {
        /// Its id: the part between the dots of the join token
        id: String,
        /// The cluster, else $KUBECONFIG or ~/.kube/config
        #[arg(long)]
        kubeconfig: Option<PathBuf>,
    },
}

/// Does it.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub(crate) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Create { ttl, kubeconfig } => create(ttl, kubeconfig).await,
        Command::List { kubeconfig } => list(kubeconfig).await,
        Command::Delete { id, kubeconfig } => {
            let (secrets, _) = secrets(kubeconfig).await?;
            secrets.delete(&secret_name(&id), &DeleteParams::default()).await?;
            println!("token {id} deleted");
            Ok(())
        }
    }
}

async fn create(ttl: Duration, kubeconfig: Option<PathBuf>) -> Result<()> {
    let (secrets, authority) = secrets(kubeconfig).await?;
    let token = BootstrapToken::generate();
    let expires = (!ttl.is_zero()).then(|| SystemTime::now() + ttl);
    let manifest = secret_manifest(&token, &TokenSpec::join(expires));
    secrets.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
    let fingerprint = skep_auth::pki::fingerprint(&authority);
    println!("{}", JoinToken { fingerprint, token });
    Ok(())
}

async fn list(kubeconfig: Option<PathBuf>) -> Result<()> {
    let (secrets, _) = secrets(kubeconfig).await?;
    let all = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
    println!("ID      DESCRIPTION");
    for secret in secrets.list(&all).await? {
        let description = secret.data.as_ref().and_then(|data| data.get("description"));
        let text = description
            .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        if let Some(token) = SecretToken::from_secret(&serde_json::to_value(&secret)?) {
            println!("{}  {text}", token.token().id());
        }
    }
    Ok(())
}

/// The Secrets of kube-system, and the DER of the cluster's authority.
async fn secrets(kubeconfig: Option<PathBuf>) -> Result<(Api<Secret>, Vec<u8>)> {
    let config = match &kubeconfig {
        Some(path) => connect::read(path).await?,
        None => Config::infer().await.context("no --kubeconfig, and none is found by itself")?,
    };
    let Some(authority) =
        config.root_cert.as_ref().and_then(|certificates| certificates.first().cloned())
    else {
        bail!(
            "the kubeconfig names no certificate authority, whose fingerprint belongs to the token"
        );
    };
    Ok((Api::namespaced(Client::try_from(config)?, "kube-system"), authority))
}

fn ttl(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let number: u64 =
        number.parse().map_err(|_| format!("{text} is not a duration such as 24h"))?;
    let seconds = match unit {
        "" if number == 0 => 0,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text}: the unit is s, m or h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_has_a_unit_unless_it_is_zero() {
        for (text, seconds) in
            [("24h", Some(86400)), ("90s", Some(90)), ("0", Some(0)), ("5", None), ("h", None)]
        {
            assert_eq!(ttl(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
