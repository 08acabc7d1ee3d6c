use std::io::{Read, Write};
use std::net::TcpListener;

use engine::connector::Findings;
use engine::{Domain, Retry};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::*;

const CA: &str = include_str!("../../exchange/src/certificates/ca.pem");
const SERVER: [&str; 2] = [
    include_str!("../../exchange/src/certificates/server.pem"),
    include_str!("../../exchange/src/certificates/server.key"),
];

fn connection(options: serde_json::Value) -> Connection {
    serde_json::from_value(options).unwrap()
}

fn mistakes(options: serde_json::Value) -> Vec<String> {
    let mut findings = Findings::default();
    connection(options).check(&mut findings);
    findings.0.into_iter().map(|finding| finding.cause).collect()
}

#[test]
fn an_address_names_a_user_a_host_and_a_database_and_no_password() {
    assert_eq!(mistakes(serde_json::json!({"url": "postgres://me@db.example/shop"})), [""; 0]);
    for url in [
        "db.example",
        "mysql://me@db.example/shop",
        "postgres://me@/shop",
        "postgres://me@a.example,b.example/shop",
        "postgres://db.example/shop",
        "postgres://me@db.example",
        "postgres://me@db.example/shop?sslmode=disable",
        "postgres://me:top-secret@db.example/shop",
        "postgres://me:top-secret@db.example:port/shop",
    ] {
        let found = mistakes(serde_json::json!({ "url": url }));
        assert_eq!(found.len(), 1, "{url}: {found:?}");
        assert!(!found[0].contains("top-secret"), "{found:?}");
    }
}

#[test]
fn a_connection_is_encrypted_unless_it_stays_on_this_machine_or_says_off() {
    let required =
        |mode: Option<Mode>, host: &str| Tls { mode, ..Tls::default() }.is_required(host);
    assert!(required(None, "db.example") && required(None, "10.0.0.1"));
    assert!(!required(None, "localhost") && !required(None, "127.0.0.1") && !required(None, "::1"));
    assert!(required(Some(Mode::Required), "localhost"));
    assert!(!required(Some(Mode::Off), "db.example"));
}

#[test]
fn certificates_that_cannot_be_read_are_a_mistake_that_shows_no_key() {
    let tls = serde_json::json!({"certificate": CA, "key": "top-secret"});
    let found = mistakes(serde_json::json!({"url": "postgres://me@db.example/shop", "tls": tls}));
    assert!(matches!(&found[..], [cause] if !cause.contains("top-secret")), "{found:?}");
    let tls = serde_json::json!({"ca": "nonsense"});
    let found = mistakes(serde_json::json!({"url": "postgres://me@db.example/shop", "tls": tls}));
    assert_eq!(found.len(), 1, "{found:?}");
}

/// A server that speaks TLS, or does not, and refuses each log-in; gives its port.
fn serve(speaks_tls: bool) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(SERVER[0].as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(SERVER[1].as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            socket.read_exact(&mut [0; 8]).unwrap();
            socket.write_all(if speaks_tls { b"S" } else { b"N" }).unwrap();
            let mut session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            // A client that does not like the certificate leaves; the next one is served.
            if stream.read(&mut [0; 4096]).is_ok() {
                let said = b"SFATAL\0C28P01\0Mpassword authentication failed\0\0";
                let length = u32::try_from(said.len() + 4).unwrap().to_be_bytes();
                let _ = stream.write_all(&[b"E", &length[..], said].concat());
            }
        }
    });
    port
}

async fn connect(port: u16, host: &str, tls: serde_json::Value) -> Fault {
    let url = format!("postgres://me@{host}:{port}/shop");
    let options = serde_json::json!({"url": url, "password": "top-secret", "tls": tls});
    let database = Database::new(&connection(options), "tests").unwrap();
    database.connect().await.err().unwrap()
}

#[tokio::test]
async fn a_server_is_trusted_by_the_authority_and_the_name_that_the_file_gives() {
    let port = serve(true);
    let untrusted = connect(port, "localhost", serde_json::json!({"mode": "required"})).await;
    assert_eq!((untrusted.cause, untrusted.retry), ("postgres_tls", Retry::Route), "{untrusted}");
    let tls = serde_json::json!({"mode": "required", "ca": CA});
    let let_in = connect(port, "localhost", tls.clone()).await;
    assert_eq!((let_in.cause, let_in.domain), ("postgres_login", Domain::Remote), "{let_in}");
    assert!(let_in.message.contains("28P01") && !let_in.message.contains("top-secret"));
    assert_eq!(connect(port, "127.0.0.1", tls).await.cause, "postgres_tls");
    let tls = serde_json::json!({"mode": "required", "ca": CA, "server_name": "localhost"});
    assert_eq!(connect(port, "127.0.0.1", tls).await.cause, "postgres_login");
}

#[tokio::test]
async fn a_server_without_tls_is_never_spoken_to_in_plain_text_unless_the_file_says_so() {
    let fault = connect(serve(false), "localhost", serde_json::json!({"mode": "required"})).await;
    assert_eq!(fault.cause, "postgres_tls", "{fault}");
    assert!(fault.message.contains("mode: off"), "{fault}");
}

#[tokio::test]
async fn a_server_that_is_away_is_told_by_its_address() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fault = connect(port, "127.0.0.1", serde_json::json!({})).await;
    assert_eq!((fault.cause, fault.retry), ("postgres_connect", Retry::Backoff), "{fault}");
    assert!(fault.message.contains(&format!("127.0.0.1:{port}")), "{fault}");
}
