//! Open loop: what is sent is sent at its time, whatever became of what was sent before, and its
//! latency counts from the time it was to be sent (so that a stall counts for all that it delays:
//! no coordinated omission).

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rdkafka::{
    ClientConfig,
    producer::{FutureProducer, FutureRecord},
};
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    arguments::Arguments,
    http::{Connection, Url},
    orders::Orders,
    quantiles::quantiles,
    target::{ANSWER, number},
};

/// When each of a row of events was to be sent.
struct Timetable {
    first: Instant,
    rate: f64,
    events: u64,
}

impl Timetable {
    fn new(arguments: &Arguments) -> Self {
        let (rate, seconds): (f64, f64) = (arguments.option("rate"), arguments.option("seconds"));
        let first = Instant::now() + Duration::from_millis(200);
        Self { first, rate, events: (rate * seconds) as u64 }
    }

    fn due(&self, number: u64) -> Instant {
        self.first + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// Idle connections, taken and given back; a new one is opened when all are busy.
#[derive(Default)]
struct Pool(Mutex<Vec<Connection>>);

impl Pool {
    async fn post(&self, url: &Url, body: &str) -> std::io::Result<u16> {
        let idle = self.0.lock().unwrap().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&url.address).await?,
        };
        let status = connection.post(url, body).await?;
        self.0.lock().unwrap().push(connection);
        Ok(status)
    }
}

/// Sends webhooks and is the target that they end at.
pub async fn webhooks(arguments: &mut Arguments) {
    let url = Url::new(&arguments.word());
    let port: u16 = arguments.option("target");
    let warm_up: u64 = arguments.option_or("warm-up", 0);
    let orders = Arc::new(Orders::new(arguments.option("bytes"), arguments.option("keys")));
    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    tokio::spawn(accept(listener, arrivals));
    let timetable = Timetable::new(arguments);
    let pool = Arc::new(Pool::default());
    let mut calls = JoinSet::new();
    for event in 0..timetable.events {
        let due = timetable.due(event);
        let body = orders.json(event);
        sleep_until(due).await;
        let (url, pool) = (url.clone(), Arc::clone(&pool));
        calls.spawn(async move {
            let status = pool.post(&url, &body).await;
            (event, matches!(status, Ok(200..300)), due.elapsed())
        });
    }
    let results = calls.join_all().await;
    let refused = results.iter().filter(|(_, accepted, _)| !accepted).count();
    let counted = |event: u64| event >= warm_up && event < timetable.events;
    let answered = results.iter().filter(|(event, accepted, _)| *accepted && counted(*event));
    let answered = quantiles(answered.map(|(.., taken)| *taken).collect());
    let mut delivered = vec![None; timetable.events as usize];
    let (mut repeated, mut missing) = (0, timetable.events - refused as u64);
    let patience = Instant::now() + Duration::from_secs(20);
    while missing > 0 {
        let next = tokio::time::timeout_at(patience, arrived.recv()).await;
        let Ok(Some((order, at))) = next else { break };
        let Some(place) = delivered.get_mut(order as usize) else { continue };
        if place.is_some() {
            repeated += 1;
        } else {
            *place = Some(Instant::duration_since(&at, timetable.due(order)));
            missing -= 1;
        }
    }
    let delivered = (0..).zip(delivered).filter(|(event, _)| counted(*event));
    let delivered = quantiles(delivered.filter_map(|(_, taken)| taken).collect());
    println!(
        "{}",
        serde_json::json!({
            "sent": timetable.events, "refused": refused, "missing": missing, "repeated": repeated,
            "answered": answered, "delivered": delivered
        })
    );
}

async fn accept(listener: TcpListener, arrivals: mpsc::UnboundedSender<(u64, Instant)>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let mut connection = Connection::new(stream)?;
            while let Some(order) = connection.read(|message| number(message.body)).await? {
                if let Some(order) = order {
                    // The one that waits for them may have seen enough.
                    let _ = arrivals.send((order, Instant::now()));
                }
                connection.write(ANSWER).await?;
            }
            std::io::Result::Ok(())
        });
    }
}

/// With what Passerelle says to librdkafka for a source that somebody waits for.
pub fn producer(kafka: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.type", "lz4")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0.5")
        .set("socket.nagle.disable", "true")
        .create()
        .unwrap()
}

/// Writes bare records and waits for their acknowledgement: what a webhook's answer cannot be
/// faster than.
pub async fn acknowledge(arguments: &mut Arguments) {
    let (kafka, topic) = (arguments.word(), arguments.word());
    let schema: u32 = arguments.option("schema");
    let warm_up: u64 = arguments.option_or("warm-up", 0);
    let orders = Arc::new(Orders::new(arguments.option("bytes"), arguments.option("keys")));
    let producer = producer(&kafka);
    let timetable = Timetable::new(arguments);
    let mut records = JoinSet::new();
    for event in 0..timetable.events {
        let due = timetable.due(event);
        let (value, key) = (orders.avro(event, schema), orders.key(event));
        sleep_until(due).await;
        let (producer, topic) = (producer.clone(), topic.clone());
        records.spawn(async move {
            let record = FutureRecord::to(&topic).key(&key).payload(&value);
            producer.send(record, Duration::ZERO).await.unwrap();
            (event, due.elapsed())
        });
    }
    let results = records.join_all().await;
    let counted = results.iter().filter(|(event, _)| *event >= warm_up);
    let acknowledged = quantiles(counted.map(|(_, taken)| *taken).collect());
    sleep(Duration::from_millis(100)).await;
    println!("{}", serde_json::json!({ "sent": timetable.events, "acknowledged": acknowledged }));
}
