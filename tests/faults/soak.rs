//! The row that goes on for as long as it is asked to: a random nemesis, and what memory and file
//! descriptors do meanwhile. `just soak MINUTES`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tests::cluster::Use;

use crate::brokers::End;
use crate::endtoend::process::{Process, Signal};
use crate::ledger::{self, Ledger, now};
use crate::proxy::{Proxy, Weather};
use crate::run::Run;
use crate::target::{Act, Manner, Target};
use crate::world::{ORDERS_TO_SALES, World};

const MINUTES: &str = "PASSERELLE_SOAK_MINUTES";

/// It runs only if asked.
pub fn obstacle() -> Option<String> {
    let asked = std::env::var_os(MINUTES).is_some();
    (!asked).then(|| format!("it takes long; `just soak MINUTES` runs it, or {MINUTES}"))
}

/// What a process holds at a moment.
#[derive(Debug, Serialize, Deserialize)]
struct Sample {
    at: u64,
    who: String,
    pid: u32,
    /// Resident memory, in KiB.
    memory: u64,
    descriptors: usize,
}

fn sample(who: &str, pid: u32) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let memory = line.split_whitespace().nth(1)?.parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Sample { at: now(), who: who.to_owned(), pid, memory, descriptors })
}

/// What the nemesis does next.
const DEEDS: [&str; 9] = [
    "nothing",
    "kill",
    "freeze",
    "broker killed",
    "broker stopped",
    "answers 503",
    "answers late",
    "closes connections",
    "network",
];

/// Random faults until the time is over; the process is rarely killed, so that what it holds can be
/// followed.
pub async fn t29_a_random_nemesis_goes_on(run: &Run) {
    let minutes: f64 = std::env::var(MINUTES).unwrap().parse().unwrap();
    let mut world = World::apart(run, ORDERS_TO_SALES, Use::Alone).await;
    let network = Proxy::start(world.target.address).await;
    world.target.address = network.address;
    world.write(&world.folder, "one", ORDERS_TO_SALES);
    let mut process = world.started().await;
    let shop = world.shop(8);
    let samples = world.books.file("samples");
    let book = Ledger::open(&samples);
    let mut done: BTreeMap<&str, usize> = BTreeMap::new();
    let end = Instant::now() + Duration::from_secs_f64(minutes * 60.0);
    while Instant::now() < end {
        let rest = Instant::now() + Duration::from_millis(run.draw(2_000..6_000));
        while Instant::now() < rest {
            let pids = [("passerelle", process.id()), ("broker", world.brokers().process().id())];
            for (who, pid) in pids {
                sample(who, pid).inspect(|sample| book.append(sample));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let deed = DEEDS[run.draw(0..DEEDS.len() as u64) as usize];
        // A quarter of the kills it draws.
        if deed == "kill" && !run.happens(0.25) {
            continue;
        }
        *done.entry(deed).or_default() += 1;
        if deed != "nothing" {
            world.inflicted(deed);
            inflict(run, &mut world, &mut process, &network, deed).await;
            world.healed(deed);
        }
    }
    world.settled([shop]).await;
    let plain = world.account("/plain", &["plain"]).await;
    let unique = world.account("/unique", &["unique"]).await;
    run.report(&plain);
    println!("done: {done:?}\n{}", table(&samples));
    run.note(|finding| finding.note = format!("{minutes} minutes"));
    plain.holds();
    unique.holds();
    assert_eq!((unique.effects_repeated, plain.dead_letters), (0, 0));
    process.assert_alive();
}

async fn inflict(
    run: &Run,
    world: &mut World<'_>,
    process: &mut Process,
    network: &Proxy,
    deed: &str,
) {
    let behave = |target: &mut Target, work: u64, share: Option<f64>, act: Act| {
        target.behave(&[Manner { work, share, act, ..Manner::default() }]);
    };
    match deed {
        "kill" => {
            process.kill();
            *process = world.started().await;
        }
        "freeze" => {
            process.signal(Signal::Stop);
            run.moment(200..9_000).await;
            process.signal(Signal::Continue);
        }
        "broker killed" | "broker stopped" => {
            let end = if deed == "broker killed" { End::Killed } else { End::Stopped };
            world.brokers().end(end).await;
            run.moment(0..2_000).await;
            world.brokers().start_again().await;
        }
        "answers 503" => {
            behave(&mut world.target, 0, None, Act::Answer { status: 503, headers: Vec::new() });
        }
        "answers late" => behave(&mut world.target, 6_000, Some(0.3), Act::Take),
        "closes connections" => behave(&mut world.target, 0, Some(0.3), Act::TakeAndClose),
        _ => {
            let weathers = [Weather::Cut, Weather::Silent, Weather::Lossy(5)];
            network.set(weathers[run.draw(0..3) as usize]);
        }
    }
    if deed.starts_with("answers") || ["closes connections", "network"].contains(&deed) {
        run.moment(500..4_000).await;
        world.target.behave(&[]);
        network.set(Weather::Fair);
    }
}

/// What each process that lived for a minute held: its start is left out.
fn table(samples: &std::path::Path) -> String {
    let mut lives: BTreeMap<(String, u32), Vec<Sample>> = BTreeMap::new();
    for sample in ledger::read::<Sample>(samples) {
        lives.entry((sample.who.clone(), sample.pid)).or_default().push(sample);
    }
    let mut lines = vec![
        "| process | lived | memory at the end | most | slope | descriptors at the end | most |"
            .to_owned(),
        "|---|--:|--:|--:|--:|--:|--:|".to_owned(),
    ];
    for ((who, _), life) in &lives {
        let begun = life[0].at + 20_000;
        let settled: Vec<_> = life.iter().filter(|sample| sample.at >= begun).collect();
        let (Some(last), true) = (settled.last(), settled.len() >= 40) else { continue };
        let most = settled.iter().map(|sample| sample.memory).max().unwrap_or_default();
        let descriptors = settled.iter().map(|sample| sample.descriptors).max().unwrap_or_default();
        lines.push(format!(
            "| {who} | {} s | {:.1} MB | {:.1} MB | {:+.1} MB/h | {} | {descriptors} |",
            (last.at - life[0].at) / 1000,
            last.memory as f64 / 1024.0,
            most as f64 / 1024.0,
            slope(&settled),
            last.descriptors,
        ));
    }
    lines.join("\n")
}

/// How memory grows, by least squares, in MB an hour.
fn slope(samples: &[&Sample]) -> f64 {
    let count = samples.len() as f64;
    let hours = |sample: &Sample| sample.at as f64 / 3_600_000.0;
    let memory = |sample: &Sample| sample.memory as f64 / 1024.0;
    let mean_of = |value: &dyn Fn(&Sample) -> f64| {
        samples.iter().map(|sample| value(sample)).sum::<f64>() / count
    };
    let (at, held) = (mean_of(&hours), mean_of(&memory));
    let covariance: f64 =
        samples.iter().map(|sample| (hours(sample) - at) * (memory(sample) - held)).sum();
    let variance: f64 = samples.iter().map(|sample| (hours(sample) - at).powi(2)).sum();
    covariance / variance
}
