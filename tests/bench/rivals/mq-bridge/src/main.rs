//! A topic to an address with mq-bridge: KAFKA TOPIC URL GROUP. Four routes, each a member of the
//! consumer group with one call in flight, which is how the order of a key is kept. It reads no
//! Avro: its topic holds the orders as JSON already, so it does less than the others.

use std::env;

use mq_bridge::models::Route;
use serde_json::json;

#[tokio::main]
async fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    let given: Vec<String> = env::args().skip(1).collect();
    let [kafka, topic, url, group] = &given[..] else { panic!("KAFKA TOPIC URL GROUP") };
    let route = json!({
        "input": { "kafka": {
            "url": kafka, "topic": topic, "group_id": group,
            "consumer_options": [["auto.offset.reset", "earliest"]]
        } },
        "output": { "http": { "url": url, "method": "POST", "batch_concurrency": 1 } },
        "concurrency": 1,
        "batch_size": 500
    });
    let mut running = Vec::new();
    for number in 0..4 {
        let route: Route = serde_json::from_value(route.clone()).expect("a route");
        running.push(route.run(&format!("orders-{number}")).await.expect("it runs"));
    }
    tokio::signal::ctrl_c().await.expect("it waits");
}
