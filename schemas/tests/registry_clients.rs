//! Clients that others wrote, on the embedded registry.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::{Command, Output};

use apache_avro::types::Value;
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use schema_registry_converter::schema_registry_common::{
    SchemaType, SubjectNameStrategy, SuppliedSchema,
};
use schemas::registry::server::{MemoryLog, Server};

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"string"},{"name":"total","type":"int"}]}"#;

/// Serves an empty registry on loopback; returns its address.
async fn serve() -> String {
    let server = Server::open(MemoryLog::default()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, server.router()).await.unwrap() });
    url
}

#[tokio::test]
async fn schema_registry_converter_encodes_and_decodes() {
    // What the binary does at its start: reqwest needs a provider of cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = SrSettings::new(serve().await);
    let encoder = AvroEncoder::new(settings.clone());
    let supplied =
        SuppliedSchema::new(Some("shop.Order".to_owned()), SchemaType::Avro, ORDER.to_owned());
    let strategy =
        SubjectNameStrategy::TopicNameStrategyWithSchema("shop/orders".into(), false, supplied);
    let fields = vec![("id", Value::String("1".to_owned())), ("total", Value::Int(3))];
    let bytes = encoder.encode(fields, strategy).await.unwrap();
    assert_eq!(bytes[..5], [0, 0, 0, 0, 1]);
    let decoded = AvroDecoder::new(settings).decode(Some(&bytes)).await.unwrap();
    let expected =
        vec![("id".to_owned(), Value::String("1".to_owned())), ("total".to_owned(), Value::Int(3))];
    assert_eq!(decoded.value, Value::Record(expected));
    assert_eq!(decoded.name.unwrap().fullname(None), "shop.Order");
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_python_client_finds_its_registry() {
    let Some(python) = std::env::var_os("PASSERELLE_PYTHON") else {
        eprintln!(
            "SKIPPED: PASSERELLE_PYTHON is not set. To run Confluent's client on the registry:\n  \
             python3 -m venv target/python\n  \
             target/python/bin/pip install 'confluent-kafka[avro,schemaregistry]'\n  \
             PASSERELLE_PYTHON=$PWD/target/python/bin/python cargo test -p schemas confluent"
        );
        return;
    };
    let script =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/registry/confluent_client.py");
    let url = serve().await;
    let run = move |arguments: &[&str]| -> std::io::Result<Output> {
        Command::new(&python).args(arguments).output()
    };
    let outcome = tokio::task::spawn_blocking(move || {
        let import = "from confluent_kafka.schema_registry.avro import AvroSerializer";
        match run(&["-c", import]) {
            Ok(output) if output.status.success() => {
                run(&[&script.display().to_string(), &url]).map(Some)
            }
            Ok(_) => Ok(None),
            Err(cause) => Err(cause),
        }
    });
    let Some(output) = outcome.await.unwrap().expect("PASSERELLE_PYTHON names no program") else {
        eprintln!(
            "SKIPPED: PASSERELLE_PYTHON lacks the package: \
             pip install 'confluent-kafka[avro,schemaregistry]'"
        );
        return;
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    print!("{}", text(&output.stdout));
}
