//! Webhooks as fast as they are answered, and the server that answers at once.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use rdkafka::{producer::FutureRecord, util::Timeout};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    arguments::Arguments,
    http::{Connection, Url},
    latency::producer,
    orders::Orders,
    quantiles::quantiles,
};

const OK: (StatusCode, &str) = (StatusCode::OK, r#"{"id":"","duplicate":false}"#);

/// An HTTP server that answers at once: what webhooks can reach at most. With a topic it writes each
/// body there as it came, and answers once that is acknowledged: what they can reach with Kafka. With
/// another one for outcomes it writes as many bytes there, behind the answers: what they can reach if it is
/// to be kept what came of each event.
pub async fn answer(arguments: &mut Arguments) {
    let port: u16 = arguments.word().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let topic = arguments.option_or("topic", String::new());
    let outcomes = arguments.option_or("outcomes", String::new());
    let answers = match topic.is_empty() {
        true => post(|_body: Bytes| async { OK }),
        false => {
            let producer = producer(&arguments.word());
            let next = Arc::new(AtomicU64::new(0));
            post(async move |body: Bytes| {
                // Records without a key would all go to one partition for a while: less work.
                let key = next.fetch_add(1, Ordering::Relaxed).to_ne_bytes();
                let record = |topic| FutureRecord::<[u8], [u8]>::to(topic).key(&key).payload(&body);
                producer.send(record(&topic), Timeout::Never).await.unwrap();
                if !outcomes.is_empty() {
                    drop(producer.send_result(record(&outcomes)).unwrap());
                }
                OK
            })
        }
    };
    axum::serve(listener, Router::new().route("/{*path}", answers)).await.unwrap();
}

/// Calls, each connection one after another.
pub async fn call(arguments: &mut Arguments) {
    let url = Url::new(&arguments.word());
    let (calls, connections): (u64, u64) =
        (arguments.option("calls"), arguments.option("connections"));
    // So that no two runs on one topic send the same order.
    let first: u64 = arguments.option_or("first", 0);
    let orders = Arc::new(Orders::new(arguments.option("bytes"), arguments.option("keys")));
    let next = Arc::new(AtomicU64::new(first));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (url, orders, next) = (url.clone(), Arc::clone(&orders), Arc::clone(&next));
        tasks.spawn(async move {
            let mut connection = Connection::open(&url.address).await.unwrap();
            let (mut taken, mut refused) = (Vec::<Duration>::new(), 0_u64);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= first + calls {
                    return (taken, refused);
                }
                let body = orders.json(number);
                let sent = Instant::now();
                match connection.post(&url, &body).await.unwrap() {
                    200..300 => taken.push(sent.elapsed()),
                    _ => refused += 1,
                }
            }
        });
    }
    let (mut taken, mut refused) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (durations, not) = done.unwrap();
        taken.extend(durations);
        refused += not;
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = taken.len() as f64 / seconds;
    let answered = quantiles(taken);
    println!(
        "{}",
        serde_json::json!({ "seconds": seconds, "rate": rate, "refused": refused, "answered": answered })
    );
}
