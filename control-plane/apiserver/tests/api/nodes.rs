//! What is passed on to kubelets: against one of the test's own.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Request;
use serde_json::json;
use skep_auth::pki::tls::{ClientCertificates, Slot, server_config};
use skep_auth::pki::{AltName, Profile, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::server::Server;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A kubelet that shows what it was asked; after an upgrade it sends back whatever it receives.
async fn kubelet(server: &Server) -> u16 {
    let names = vec![AltName::parse("127.0.0.1")];
    let profile = Profile::server(Subject::user("system:node:n"), names, DAY);
    let identity = server.running.authority.issue(&profile, SystemTime::now()).unwrap();
    let clients = ClientCertificates::Required(&server.running.root_ca_pem);
    let mut tls = server_config(Slot::new(&identity).unwrap(), clients).unwrap();
    tls.alpn_protocols.clear();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let mut stream = acceptor.accept(socket).await.unwrap();
            let head = read_head(&mut stream).await;
            let line = head.lines().next().unwrap();
            if head.to_ascii_lowercase().contains("\r\nupgrade:") {
                let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut reader, mut writer) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            } else {
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{line}", line.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    port
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn server_with_pod() -> Server {
    let server = Server::start().await;
    let port = kubelet(&server).await;
    let node = json!({"metadata": {"name": "n"}});
    server.admin.create("/api/v1/nodes", node).await.unwrap();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    server.admin.merge("/api/v1/nodes/n/status", status).await.unwrap();
    let namespace = "/api/v1/namespaces/default";
    let account = json!({"metadata": {"name": "default"}});
    server.admin.create(&format!("{namespace}/serviceaccounts"), account).await.unwrap();
    let containers = json!([{"name": "c", "image": "i"}]);
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": containers}});
    server.admin.create(&format!("{namespace}/pods"), pod).await.unwrap();
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_proxied_paths_reach_the_kubelet() {
    let server = server_with_pod().await;
    let cases = [
        (
            "/api/v1/namespaces/default/pods/p/log?tailLines=3&follow=true",
            "GET /containerLogs/default/p/c?follow=true&tailLines=3 HTTP/1.1",
        ),
        ("/api/v1/nodes/n/proxy/stats/summary?a=b", "GET /stats/summary?a=b HTTP/1.1"),
    ];
    for (path, expected) in cases {
        let request = Request::get(path).body(Vec::new()).unwrap();
        assert_eq!(server.admin.client.request_text(request).await.unwrap(), expected);
    }
    let unknown = server.admin.get("/api/v1/namespaces/default/pods/p/log?container=x").await;
    assert_eq!(unknown.unwrap_err(), (400, "container x is not valid for pod p".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxied_root_is_read_below_the_last_slash() {
    let server = server_with_pod().await;
    let get = |path: &str| {
        let request = Request::get(path).body(kube::client::Body::empty()).unwrap();
        server.admin.client.send(request)
    };
    let moved = get("/api/v1/nodes/n/proxy?a=b").await.unwrap();
    assert_eq!(moved.status(), 301);
    assert_eq!(moved.headers()["location"], "/api/v1/nodes/n/proxy/?a=b");
    assert_eq!(get("/api/v1/nodes/n/proxy/?a=b").await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_is_passed_through_byte_for_byte() {
    let server = server_with_pod().await;
    let profile = Profile::client(Subject::member("a", "system:masters"), DAY);
    let identity = server.running.authority.issue(&profile, SystemTime::now()).unwrap();
    let slot = Slot::new(&identity).unwrap();
    let mut tls =
        skep_auth::pki::tls::client_config(&server.running.root_ca_pem, Some(slot)).unwrap();
    tls.alpn_protocols.clear();
    let socket = TcpStream::connect(server.address()).await.unwrap();
    let name = "127.0.0.1".try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(name, socket).await.unwrap();
    let request = "POST /api/v1/namespaces/default/pods/p/exec?command=ls&stdout=true HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let sent: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = sent.clone();
    tokio::spawn(async move { writer.write_all(&writing).await });
    let mut received = vec![0; sent.len()];
    reader.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
}
