//! What a replay would send, without sending it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Sender, channel};

use super::selection::passes;
use super::{Captured, Request};
use crate::codec::{Decoders, Decoding};
use crate::kafka::{Cluster, Reader, blocking};
use crate::{Event, Fault};

/// How long reading may go without anything coming.
const SILENCE: Duration = Duration::from_secs(10);

/// What a replay would send.
#[derive(Debug, Default)]
pub struct Sample {
    /// Events read.
    pub read: u64,
    /// Those of them that would be sent.
    pub matched: u64,
    /// Those that cannot be decoded, or on which the filter fails, and why the first one.
    pub failed: (u64, Option<String>),
    /// The first of those that would be sent.
    pub events: Vec<Json>,
}

/// Reads the whole stretch and counts; shows the first `most` events.
///
/// # Errors
/// A `Remote` fault when the brokers do not answer.
pub async fn sample(request: &Request, captured: &Captured, most: usize) -> Result<Sample, Fault> {
    let decoders = Arc::new(Decoders::new(&request.registry, request.topic.schema.as_ref()));
    let (mut decoding, mut sample) = (decoders.view(), Sample::default());
    let (sender, mut events) = channel(256);
    let (cluster, stretch) = (request.cluster.clone(), captured.clone());
    let reading = tokio::spawn(blocking(move || read(&cluster, &stretch, &sender)));
    while let Some(mut event) = events.recv().await {
        sample.read += 1;
        if request.key.is_some() && request.key != event.key {
            continue;
        }
        let shown = sample.events.len() < most;
        let read = match shown || request.filter.is_some() {
            true => decode(&mut event, &mut decoding).await,
            false => Ok(()),
        };
        match read.and_then(|()| passes(request.filter.as_ref(), &event)) {
            Ok(true) => {
                sample.matched += 1;
                if shown {
                    sample.events.push(show(&event));
                }
            }
            Ok(false) => {}
            Err(fault) => {
                sample.failed.0 += 1;
                sample.failed.1.get_or_insert(format!("{}: {}", event.id(), fault.message));
            }
        }
    }
    match reading.await {
        Ok(result) => result.map(|()| sample),
        Err(error) => Err(Fault::internal("task", format!("Reading ended: {error}."))),
    }
}

async fn decode(event: &mut Event, decoding: &mut Decoding) -> Result<(), Fault> {
    if let Some(payload) = &event.payload {
        event.value = Some(decoding.decode(payload).await?);
    }
    Ok(())
}

fn read(cluster: &Cluster, captured: &Captured, events: &Sender<Event>) -> Result<(), Fault> {
    let begins: BTreeMap<i32, i64> =
        captured.spans.iter().map(|(partition, span)| (*partition, span.from)).collect();
    if begins.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::open_at(cluster, &captured.topic, &begins)?;
    let mut last = Instant::now();
    while !reader.is_at_end() {
        let Some(event) = reader.next(Duration::from_millis(200))? else {
            if last.elapsed() > SILENCE {
                let message = format!("Reading topic {}: nothing comes.", captured.topic);
                return Err(Fault::remote("kafka_timeout", message));
            }
            continue;
        };
        last = Instant::now();
        let (partition, next) = (event.partition, event.offset + 1);
        let end = captured.spans.get(&partition).map_or(0, |span| span.to);
        if next >= end {
            reader.leave(partition);
        }
        if next <= end && events.blocking_send(event).is_err() {
            break;
        }
    }
    Ok(())
}

fn show(event: &Event) -> Json {
    let time = chrono::DateTime::from_timestamp_millis(event.timestamp);
    let value = event.value.as_ref().map(schemas::json::write);
    let value = value.and_then(|text| serde_json::from_str::<Json>(&text).ok());
    json!({
        "partition": event.partition,
        "offset": event.offset,
        "time": time.map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        "id": event.id(),
        "key": event.key_text(),
        "value": value,
    })
}
