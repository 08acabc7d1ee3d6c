//! The row in which the process's wall clock is wrong, and jumps.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::endtoend::process::Signal;
use crate::endtoend::shop::{Answer, Shop, order, signed};
use crate::run::Run;
use crate::target::{Act, Manner};
use crate::world::{PROCESSOR, SINKS, SOURCE, TOPICS, World};

/// `clock.c` has to be compiled.
pub fn obstacle() -> Option<String> {
    library().as_ref().err().cloned()
}

/// The library that processes preload, or why there is none.
fn library() -> &'static Result<PathBuf, String> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/faults/clock.c");
        // It stays for as long as this process, whose children load it.
        let library = TempDir::new().unwrap().keep().join("clock.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .output();
        match compiled {
            Ok(output) if output.status.success() => Ok(library),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(format!("`cc` cannot compile tests/faults/clock.c here: {}", said.trim()))
            }
            Err(error) => Err(format!("`cc` is needed to compile tests/faults/clock.c: {error}")),
        }
    })
}

/// The wall clock of a process, as somebody has set it.
struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// A clock that is wrong by so many minutes.
    fn wrong_by(minutes: i64, folder: &Path) -> Self {
        let path = folder.join("clock");
        let file = File::create(&path).unwrap();
        let clock = Self { path, file };
        clock.set(minutes);
        clock
    }

    /// Sets it: so many minutes from the right time. A process that runs with it sees it jump.
    fn set(&self, minutes: i64) {
        let milliseconds = minutes * 60_000;
        self.file.write_all_at(&milliseconds.to_ne_bytes(), 0).unwrap();
    }

    /// What makes a process run with it.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let library = library().as_ref().expect("the row was added for it");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec![("LD_PRELOAD", text(library)), ("PASSERELLE_CLOCK", text(&self.path))]
    }
}

/// A webhook with the tolerance that is the default.
const STRICT: &str = r#"
  strict:
    webhook: { path: /strict, signature: { standard_webhooks: "${file:shop.secret}" } }
    to: @shop.orders
    key: .customer.id
"#;

/// How long anything may be held: far longer than a backoff or a session, far shorter than a jump.
const AT_ONCE: Duration = Duration::from_secs(60);

/// The process runs ten minutes ahead, is set back and forth while the application answers 503, and
/// starts again ten minutes behind. Only the webhook whose tolerance that exceeds refuses calls; all
/// that waits goes on by clocks that nobody sets.
pub async fn t21_the_clock_is_wrong_and_jumps(run: &Run) {
    let source = SOURCE.replace("path: /shop,", "path: /shop, tolerance: 15m,")
        + STRICT.trim_start_matches('\n');
    let processor =
        PROCESSOR.replace("start: beginning", "start: beginning\n    delivery: exactly_once");
    let mut world = World::around(run, &[TOPICS, &source, &processor, SINKS]).await;
    let clock = Clock::wrong_by(10, world.folder.path());
    world.environment = clock.environment();
    let mut process = world.started().await;
    let shop = world.shop(8);
    world.receives("/plain", 20).await;
    let mut refused = vec![call_strict(&world).await];
    let mut next_tries = Vec::new();
    // Back by 8 minutes, back by 12, forward by 20.
    for minutes in [2, -10, 10] {
        world.inflicted(&format!("503, and the clock is set {minutes} min from the right time"));
        let unavailable = Act::Answer { status: 503, headers: Vec::new() };
        world.target.behave(&[Manner { act: unavailable, ..Manner::default() }]);
        run.moment(1_000..2_000).await;
        clock.set(minutes);
        let jumped = Instant::now();
        world.receives("/plain", 4).await;
        next_tries.push(jumped.elapsed());
        world.target.behave(&[]);
        world.healed("201");
        world.receives("/plain", 20).await;
    }
    clock.set(-10);
    process.signal(Signal::Terminate);
    assert!(process.ended().await.success(), "it stops in good order");
    process = world.started().await;
    world.receives("/plain", 20).await;
    refused.push(call_strict(&world).await);
    world.settled([shop]).await;

    let (plain, unique) =
        (world.account("/plain", &["plain"]).await, world.account("/unique", &["unique"]).await);
    run.report(&plain);
    let slowest = slowest(&world);
    run.note(|finding| finding.note = format!("the slowest order took {} ms", slowest.as_millis()));
    plain.holds();
    unique.holds();
    assert_eq!((plain.repeated, plain.dead_letters, unique.dead_letters), (0, 0, 0));
    assert!(next_tries.iter().all(|waited| *waited < AT_ONCE), "{next_tries:?}");
    assert!(slowest < AT_ONCE, "an order was held for {slowest:?}");
    for answer in refused {
        let reason = answer.body.to_string();
        assert!(answer.status == 401 && reason.contains("clock"), "{}: {reason}", answer.status);
    }
    process.assert_alive();
}

/// A good call, signed now, of which the process's clock is too far.
async fn call_strict(world: &World<'_>) -> Answer {
    let shop = Shop::new(&format!("http://{}/strict", world.folder.webhooks));
    shop.send(signed("strict", order("S9-0/000000", "S9-0").to_string())).await
}

/// The longest that an order was on its way, from the answer to the shop until it arrived; while the
/// application answered 503 is part of it.
fn slowest(world: &World<'_>) -> Duration {
    let calls = world.books.calls();
    let acknowledged = calls.iter().filter(|call| call.is_acknowledged());
    let acknowledged: BTreeMap<_, _> = acknowledged.map(|call| (&call.id, call.at)).collect();
    let receipts = world.books.receipts("/plain");
    let taken = receipts.iter().filter(|receipt| receipt.taken);
    let waits =
        taken.filter_map(|taken| Some(taken.at.saturating_sub(*acknowledged.get(&taken.id)?)));
    Duration::from_millis(waits.max().unwrap_or_default())
}
