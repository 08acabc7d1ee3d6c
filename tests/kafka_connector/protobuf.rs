//! Topics in Protobuf, written by Google's and Confluent's Python.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value as Json;

use super::endtoend::folder::Folder;
use super::endtoend::{topic, until};
use super::{Application, BrokerProcess, THEIRS, registry, theirs};

/// Written by `write.py` beside them.
macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../producers/src/kafka/protobuf/samples/", $name))
    };
}

fn sections(broker: &BrokerProcess, value: &str) -> String {
    format!(
        r#"
connections:
  others: {{ kafka: {{ brokers: "{}" }} }}
topics:
  shop.orders: {{ partitions: 1, schema: order.avsc }}
sources:
  theirs:
    from: others
    kafka: {{ topic: {THEIRS}, value: protobuf, start: beginning, {value} }}
    to: shop.orders
    key: .customer.id
"#,
        broker.address()
    )
}

/// Waits until our topic holds so many orders.
async fn orders(folder: &Folder, count: usize) -> Vec<Json> {
    until(&format!("{count} orders are there"), async || {
        let orders = folder.tap("shop.orders").await;
        (orders.len() == count).then_some(orders)
    })
    .await
}

/// Waits until so many dead letters are there; their causes.
async fn letters(folder: &Folder, count: usize) -> Vec<String> {
    until(&format!("{count} dead letters are there"), async || {
        let letters = topic::read(folder.kafka(), "orders.theirs.dead-letters").await;
        let cause = |letter: &topic::Record| {
            letter.header("__connect.errors.exception.class.name").to_owned()
        };
        (letters.len() == count).then(|| letters.iter().map(cause).collect())
    })
    .await
}

fn assert_whole(order: &Json) {
    let value = &order["value"];
    assert_eq!((&value["id"], &order["key"]), (&"O-1".into(), &"C-1".into()), "{order}");
    assert_eq!((&value["total"], &value["note"]), (&"99.90".into(), &"à emporter".into()));
    assert_eq!(value["placed_at"], "2026-01-31T08:00:00.123Z");
    assert_eq!(value["customer"]["address"]["city"], "Lyon");
    assert_eq!(
        (&value["lines"][0]["description"], &value["lines"][1]["description"]),
        (&"Bee".into(), &Json::Null)
    );
    assert_eq!(value["lines"][1]["quantity"], "0.5000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_confluents_serializer_writes_becomes_orders() {
    let registry =
        registry::serve(include_str!("../../producers/src/kafka/protobuf/samples/registered.json"))
            .await;
    let broker = theirs();
    let folder = Folder::with(&sections(&broker, &format!("registry: {{ url: \"{registry}\" }}")));
    let application = Application::of(&broker);
    let order = sample!("order.confluent.bin");
    application.write("1", "C-1", order);
    application.write("2", "C-1", [0, 0, 0, 0, 2, 2, 40]);
    application.write("3", "C-1", sample!("refund.confluent.bin"));
    application.write("4", "C-1", &order[..40]);
    application.write("5", "C-1", "{}");
    application.flush();
    let process = folder.run().await;
    assert_whole(&orders(&folder, 1).await[0]);
    let mut causes = letters(&folder, 4).await;
    causes.sort();
    assert_eq!(causes, ["message_mismatch", "protobuf_invalid", "wire_format", "wire_format"]);

    let Some(output) = python(&["send", &broker.address().to_string(), &registry, THEIRS]).await
    else {
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all = orders(&folder, 101).await;
    let mut ids: Vec<_> = all.iter().map(|order| order["value"]["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 101);
    assert!(process.terminate().await.success());
}

/// Runs `write.py`; nothing, and a word about it, where Python or its packages are missing.
async fn python(arguments: &[&str]) -> Option<Output> {
    const HOW: &str = "python3 -m venv v && v/bin/pip install \
        'confluent-kafka[protobuf,schemaregistry]' grpcio-tools, and PASSERELLE_PYTHON=v/bin/python";
    let Some(python) = std::env::var_os("PASSERELLE_PYTHON").filter(|path| !path.is_empty()) else {
        eprintln!("SKIPPED: Confluent's own client. {HOW}");
        return None;
    };
    let script = samples().join("write.py");
    let mut command = tokio::process::Command::new(python);
    let output = command.arg(script).args(arguments).output().await;
    let output = output.expect("PASSERELLE_PYTHON names a program");
    if output.status.code() == Some(77) {
        eprintln!("SKIPPED: PASSERELLE_PYTHON lacks packages. {HOW}");
        return None;
    }
    Some(output)
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../producers/src/kafka/protobuf/samples")
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_messages_are_read_by_a_proto_file_that_check_reads_too() {
    let broker = theirs();
    let value = "proto: { file: protos/shop/order.proto, imports: protos, message: shop.Order }";
    let folder = Folder::with(&sections(&broker, value));
    std::fs::create_dir_all(folder.path().join("protos/shop")).unwrap();
    for name in ["order.proto", "customer.proto"] {
        let text = std::fs::read_to_string(samples().join("shop").join(name)).unwrap();
        folder.write(&format!("protos/shop/{name}"), &text);
    }
    let application = Application::of(&broker);
    application.write("1", "C-1", sample!("order.bin"));
    application.write("2", "C-1", "{ JSON }");
    application.flush();
    let process = folder.run().await;
    assert_whole(&orders(&folder, 1).await[0]);
    assert_eq!(letters(&folder, 1).await, ["protobuf_invalid"]);
    assert!(process.terminate().await.success());

    folder.set_pipeline(&sections(&broker, &value.replace("shop.Order", "shop.Ordre")));
    let unknown = folder.passerelle(&["check", "pipeline.yaml"]).await;
    assert!(unknown.code == 1 && unknown.stdout.contains("declares `shop.Ordre`"), "{unknown:?}");
    assert!(unknown.stdout.contains("`shop.Refund`, `shop.Order`"), "{unknown:?}");
    folder.set_pipeline(&sections(&broker, value));
    folder.write(
        "protos/shop/customer.proto",
        "syntax = \"proto3\";\nmessage Customer {\n  strin a = 1;\n}",
    );
    let broken = folder.passerelle(&["check", "pipeline.yaml"]).await;
    assert!(broken.code == 1 && broken.stdout.contains("shop/customer.proto:3:3"), "{broken:?}");
}
