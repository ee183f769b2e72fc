//! TLS settings: rustls with the ring provider, and a slot whose certificate can be exchanged
//! while connections go on.

use std::sync::{Arc, RwLock};

use rustls::client::ResolvesClientCert;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::CertificateDer;

use super::{Error, Identity};

/// Who serves HTTP/2 and HTTP/1.1 says so.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// All certificates of a PEM text; at least one.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let refuse = |problem: String| Error::Pem { expected: "CERTIFICATE", problem };
    let blocks = pem::parse_many(pem).map_err(|e| refuse(e.to_string()))?;
    let found: Vec<_> = blocks
        .into_iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| CertificateDer::from(block.into_contents()))
        .collect();
    if found.is_empty() { Err(refuse("found none".into())) } else { Ok(found) }
}

fn roots(authorities_pem: &str) -> Result<Arc<RootCertStore>, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(authorities_pem)? {
        store.add(certificate)?;
    }
    Ok(Arc::new(store))
}

/// How a server treats client certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates<'a> {
    /// It does not ask for any.
    Ignored,
    /// A client may show one; if it does, one of these authorities (PEM) must have signed it.
    Accepted(&'a str),
    /// A client must show one that one of these authorities (PEM) has signed.
    Required(&'a str),
}

impl ClientCertificates<'_> {
    fn verifier(self) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let (pem, required) = match self {
            Self::Ignored => return Ok(WebPkiClientVerifier::no_client_auth()),
            Self::Accepted(pem) => (pem, false),
            Self::Required(pem) => (pem, true),
        };
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots(pem)?, provider());
        if !required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|e| Error::Certificate(e.to_string()))
    }
}

/// Settings of a server that shows what `slot` holds at each handshake.
pub fn server_config(
    slot: Arc<Slot>,
    clients: ClientCertificates<'_>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.verifier()?)
        .with_cert_resolver(slot);
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Settings of a client that trusts `authorities_pem` and shows what `slot` holds, if anything.
pub fn client_config(
    authorities_pem: &str,
    slot: Option<Arc<Slot>>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authorities_pem)?);
    Ok(match slot {
        Some(slot) => builder.with_client_cert_resolver(slot),
        None => builder.with_no_client_auth(),
    })
}

/// The certificate one party shows, exchangeable at any time: new handshakes see the new one.
#[derive(Debug)]
pub struct Slot(RwLock<Arc<CertifiedKey>>);

impl Slot {
    /// A slot with a first certificate.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(certified(identity)?))))
    }

    /// Puts in another certificate. On an error the old one stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), Error> {
        let key = certified(identity)?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = key;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    Ok(Arc::new(CertifiedKey::from_der(identity.chain()?, identity.key()?, &provider())?))
}

impl ResolvesServerCert for Slot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Slot {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rustls::{ClientConnection, ServerConnection};

    use super::*;
    use crate::pki::{AltName, Authority, Profile, Subject};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Party {
        authority: Authority,
        server: Arc<Slot>,
    }

    fn party() -> Party {
        let now = SystemTime::now();
        let authority = Authority::generate("skep", 10 * DAY, now).unwrap();
        let names = vec![AltName::parse("server"), AltName::parse("::1")];
        let profile = Profile::server(Subject::user("server"), names, DAY);
        let server = Slot::new(&authority.issue(&profile, now).unwrap()).unwrap();
        Party { authority, server }
    }

    fn client_slot(authority: &Authority) -> Arc<Slot> {
        let profile = Profile::client(Subject::node("n1"), DAY);
        Slot::new(&authority.issue(&profile, SystemTime::now()).unwrap()).unwrap()
    }

    /// Runs a handshake in memory; the certificate the server saw, or the first error.
    fn handshake(
        client: ClientConfig,
        server: ServerConfig,
        name: &str,
    ) -> Result<Option<Vec<u8>>, String> {
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets().map_err(|e| format!("server: {e}"))?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().map_err(|e| format!("client: {e}"))?;
        }
        Ok(server.peer_certificates().map(|chain| chain[0].to_vec()))
    }

    #[test]
    fn both_sides_recognize_each_other() {
        let party = party();
        let pem = party.authority.certificate_pem();
        let slot = client_slot(&party.authority);
        for name in ["server", "::1"] {
            let client = client_config(pem, Some(slot.clone())).unwrap();
            let server =
                server_config(party.server.clone(), ClientCertificates::Required(pem)).unwrap();
            assert!(handshake(client, server, name).unwrap().is_some(), "{name}");
        }
    }

    #[test]
    fn a_client_without_certificate_passes_only_where_none_is_required() {
        let party = party();
        let pem = party.authority.certificate_pem();
        let cases = [
            (ClientCertificates::Ignored, true),
            (ClientCertificates::Accepted(pem), true),
            (ClientCertificates::Required(pem), false),
        ];
        for (clients, passes) in cases {
            let client = client_config(pem, None).unwrap();
            let server = server_config(party.server.clone(), clients).unwrap();
            assert_eq!(handshake(client, server, "server").is_ok(), passes, "{clients:?}");
        }
    }

    #[test]
    fn strangers_are_refused_on_both_sides() {
        let (ours, theirs) = (party(), party());
        let pem = ours.authority.certificate_pem();
        let stranger = client_config(pem, Some(client_slot(&theirs.authority))).unwrap();
        let server = server_config(ours.server.clone(), ClientCertificates::Accepted(pem)).unwrap();
        assert!(handshake(stranger, server, "server").unwrap_err().starts_with("server:"));

        let client = client_config(pem, None).unwrap();
        let server = server_config(theirs.server, ClientCertificates::Ignored).unwrap();
        assert!(handshake(client, server, "server").unwrap_err().starts_with("client:"));

        let client = client_config(pem, None).unwrap();
        let server = server_config(ours.server, ClientCertificates::Ignored).unwrap();
        assert!(handshake(client, server, "elsewhere").unwrap_err().starts_with("client:"));
    }

    #[test]
    fn a_replaced_certificate_shows_at_the_next_handshake() {
        let party = party();
        let pem = party.authority.certificate_pem();
        let slot = client_slot(&party.authority);
        let seen = |slot: &Arc<Slot>| {
            let client = client_config(pem, Some(slot.clone())).unwrap();
            let server =
                server_config(party.server.clone(), ClientCertificates::Required(pem)).unwrap();
            handshake(client, server, "server").unwrap()
        };
        let before = seen(&slot);
        let profile = Profile::client(Subject::node("n1"), DAY);
        slot.replace(&party.authority.issue(&profile, SystemTime::now()).unwrap()).unwrap();
        assert_ne!(before, seen(&slot));
    }
}
