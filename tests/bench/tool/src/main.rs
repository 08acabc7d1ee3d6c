//! What the measurements need beside the contestants: orders to work on, a target to call, meters,
//! and the limit itself, rdkafka with no work between reading and writing.
//!
//! A meter prints lines `SECONDS COUNT`, seconds since it started; everything else prints one JSON
//! object. Started by `tests/bench/bench`; all of it is for loopback.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "it is part of the measurements: what goes wrong here ends the run that asked for it"
)]

mod arguments;
mod exchange;
mod http;
mod latency;
mod limit;
mod orders;
mod quantiles;
mod target;
mod verify;
mod watch;

use arguments::Arguments;

const USAGE: &str = "usage:
  orders KAFKA TOPIC --events N --bytes SIZE --schema ID --keys N   fills a topic with orders, [--json 1] as JSON
  verify KAFKA TOPIC --events N --keys N  whether a topic holds each order once, in its key's order
  limit KAFKA FROM TO                     copies a topic, until it is ended
  consume KAFKA FROM                      reads a topic and does nothing, a meter
  carry KAFKA FROM URL --connections N    posts the records of a topic, until it is ended
  watch KAFKA TOPIC --every MS            how many records a topic holds, a meter
  target PORT --delay MS --keys N         answers HTTP calls after a while, a meter
  answer PORT [KAFKA --topic TOPIC [--outcomes TOPIC]]
                                          axum that answers at once, or once a body is written; until it is ended
  call URL --calls N --connections N --bytes SIZE --keys N     webhooks, each after the last's answer
  webhooks URL --rate N --seconds N --bytes SIZE --keys N --target PORT    webhooks at a fixed rate,
                                          and how long each takes to its answer and to the target
  acknowledge KAFKA TOPIC --rate N --seconds N --bytes SIZE --schema ID --keys N    the same for a bare record";

fn main() {
    let mut arguments = Arguments::of_process(USAGE);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match arguments.word().as_str() {
        "orders" => orders::fill(&mut arguments),
        "limit" => limit::copy(&mut arguments),
        "consume" => limit::consume(&mut arguments),
        "carry" => runtime.block_on(limit::carry(&mut arguments)),
        "verify" => verify::verify(&mut arguments),
        "watch" => watch::watch(&mut arguments),
        "target" => runtime.block_on(target::run(&mut arguments)),
        "answer" => runtime.block_on(exchange::answer(&mut arguments)),
        "call" => runtime.block_on(exchange::call(&mut arguments)),
        "webhooks" => runtime.block_on(latency::webhooks(&mut arguments)),
        "acknowledge" => runtime.block_on(latency::acknowledge(&mut arguments)),
        other => panic!("unknown: {other}\n{USAGE}"),
    }
}
