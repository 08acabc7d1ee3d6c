//! Against a server that speaks TLS. The certificates are of an authority made for these tests, good
//! for a hundred years from 2026: `ca` signs `server` (for `localhost`) and `client`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

use super::tests::{call, setup, target};
use super::*;

const CA: &str = include_str!("certificates/ca.pem");
const SERVER: [&str; 2] =
    [include_str!("certificates/server.pem"), include_str!("certificates/server.key")];
const CLIENT: [&str; 2] =
    [include_str!("certificates/client.pem"), include_str!("certificates/client.key")];

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Starts a server that wants a certificate of its clients, or does not; gives its address.
fn serve(wants_a_certificate: bool) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = if wants_a_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(CA)).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_slice(SERVER[1].as_bytes()).unwrap();
    let config = config.with_single_cert(vec![certificate(SERVER[0])], key).unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = Stream::new(&mut connection, &mut socket);
            // A client that does not like the certificate leaves; the next one is served.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            }
        }
    });
    format!("https://localhost:{port}")
}

async fn send(url: &str, tls: Tls) -> Result<Answer, Fault> {
    let target = Target { tls, ..target(url, 5_000) };
    Exchange::new(&target, &[], &setup()).unwrap().send(call("/")).await
}

fn trusting() -> Tls {
    Tls { ca: Some(CA.to_owned()), ..Tls::default() }
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_that_the_file_names() {
    let url = serve(false);
    let fault = send(&url, Tls::default()).await.unwrap_err();
    assert_eq!((fault.cause, fault.unknown_outcome), ("http_tls", false), "{fault}");
    assert!(fault.message.contains("UnknownIssuer"), "{fault}");
    assert_eq!(send(&url, trusting()).await.unwrap().status, StatusCode::NO_CONTENT);
    let other_name = url.replace("localhost", "127.0.0.1");
    assert_eq!(send(&other_name, trusting()).await.unwrap_err().cause, "http_tls");
}

#[tokio::test]
async fn our_certificate_is_shown_to_a_server_that_wants_one() {
    let url = serve(true);
    send(&url, trusting()).await.unwrap_err();
    let [certificate, key] = CLIENT;
    let tls = Tls {
        certificate: Some(certificate.to_owned()),
        key: Some(Secret::new(key)),
        ..trusting()
    };
    assert_eq!(send(&url, tls).await.unwrap().status, StatusCode::NO_CONTENT);
}
