//! `passerelle dead-letters retry`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use engine::dead_letters::{
    Archive, Course, Decision, Entry, Filed, JOURNAL_TOPIC, Letter, Origin, Standing, UNTOLD,
};
use engine::kafka::{Cluster, Follower};
use engine::options::Period;

use super::arguments::Retry;
use super::selection::Chosen;
use super::{Journal, Opened, decision, letters, read};
use crate::failure::{Failure, Outcome};

/// One that has come back this often is refused: it would only come back again.
const RETURNS: u32 = 3;
/// How many are asked for at once: the running route holds them in memory.
const WINDOW: usize = 200;
/// How many may be asked for without waiting.
const MOST_UNWATCHED: usize = 1_000;
/// How long a look at how far the keys have gone is good for, if it did not take longer itself: the running
/// route knows for a minute what it has delivered.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// How often a letter is asked for of which the route could not tell whether its key has gone on.
const ASKED: u32 = 5;
/// How long one look into the journal lasts.
const LOOK: Duration = Duration::from_millis(100);
/// How many of the reasons are shown.
const SHOWN: usize = 10;

/// Has the running route try dead letters again.
pub async fn run(options: Retry) -> Outcome {
    let timeout = Period::parse(&options.timeout)
        .map_err(|error| Failure::new(format!("`--timeout {}`: {error}.", options.timeout)))?;
    let Opened { cluster, archive, .. } = options.of.open().await?;
    let chosen = choose(&options, &archive)?;
    let ordered: &[&Filed] = if options.out_of_order { &[] } else { &chosen };
    let mut keys = Keys::of(&archive.route, ordered);
    keys.look(&cluster)?;
    let (chosen, refused) = sift(&options, &keys.course, chosen);
    for reason in refused.iter().take(SHOWN) {
        eprintln!("{reason}");
    }
    if refused.len() > SHOWN {
        eprintln!("{} more are refused.", refused.len() - SHOWN);
    }
    if options.dry_run {
        say!("{} would be tried again.", letters(chosen.len()));
        return Ok(code(refused.is_empty()));
    }
    if chosen.is_empty() {
        return Err(Failure::new("Nothing is left to be tried again."));
    }
    if options.no_wait && chosen.len() > MOST_UNWATCHED {
        return Err(Failure::new(format!(
            "{} are too many without waiting: leave out --no-wait, or select at most \
             {MOST_UNWATCHED}.",
            chosen.len()
        )));
    }
    let mut retrial = Retrial {
        journal: Journal::open(&cluster)?,
        cluster,
        keys,
        route: archive.route.clone(),
        decision: decision(options.reason.clone()),
        out_of_order: options.out_of_order,
        results: BTreeMap::new(),
        refused: 0,
    };
    if options.no_wait {
        for filed in &chosen {
            retrial.ask(filed).await?;
        }
        let asked = chosen.len() - retrial.refused;
        say!("{} will be tried again by the running route.", letters(asked));
        return Ok(code(refused.is_empty() && retrial.refused == 0));
    }
    let parked = chosen.iter().any(|filed| filed.is_parked());
    let first: Vec<Filed> = chosen.into_iter().cloned().collect();
    retrial.run(archive.journal_end, first, timeout.0).await?;
    if parked {
        retrial.free_keys(timeout.0).await?;
    }
    Ok(code(retrial.report() && refused.is_empty()))
}

fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The selected letters and, of parked keys, all that are parked: they go in order or not at all.
fn choose<'a>(options: &Retry, archive: &'a Archive) -> Result<Vec<&'a Filed>, Failure> {
    let selected = Chosen::read(&options.selection)?.among(archive);
    if selected.is_empty() {
        return Err(Failure::new(format!(
            "No open dead letter of `{}` is selected.",
            archive.route
        )));
    }
    if options.out_of_order {
        return Ok(selected);
    }
    let keys: HashSet<_> =
        selected.iter().filter(|filed| filed.is_parked()).map(|filed| key_of(filed)).collect();
    let places: HashSet<&Origin> = selected.iter().map(|filed| &filed.letter.origin).collect();
    let chosen: Vec<&Filed> = archive
        .open()
        .filter(|filed| {
            places.contains(&filed.letter.origin)
                || (filed.is_parked() && keys.contains(&key_of(filed)))
        })
        .collect();
    if chosen.len() > selected.len() {
        let more = chosen.len() - selected.len();
        say!("{} of the same parked keys are tried again with them.", letters(more));
    }
    Ok(chosen)
}

fn key_of(filed: &Filed) -> (i32, Option<&[u8]>) {
    (filed.letter.origin.partition, filed.letter.event.key.as_deref())
}

/// Takes out those that are refused, each with its reason. If one of a parked key is refused, so are
/// those behind it.
fn sift<'a>(
    options: &Retry,
    course: &Course,
    chosen: Vec<&'a Filed>,
) -> (Vec<&'a Filed>, Vec<String>) {
    let (mut taken, mut refused, mut shut) = (Vec::new(), Vec::new(), HashSet::new());
    for filed in chosen {
        let Letter { event, is_event, .. } = &filed.letter;
        let id = event.id();
        let returned = filed.entry.as_ref().map_or(0, |entry| entry.returned);
        let reason = if filed.is_retried() {
            format!("{id} is being tried again already.")
        } else if !is_event {
            format!(
                "{id} is not an event of a topic: its source could not read it. Have it sent again, \
                 or discard it."
            )
        } else if returned >= RETURNS && !options.again {
            format!(
                "{id} has come back {returned} times: mend its cause ({}), then add --again.",
                filed.cause().0
            )
        } else if course.has_passed(filed) {
            passed(&id)
        } else if !options.out_of_order && shut.contains(&key_of(filed)) {
            format!("{id} waits for the one before it.")
        } else {
            taken.push(filed);
            continue;
        };
        if filed.is_parked() {
            shut.insert(key_of(filed));
        }
        refused.push(reason);
    }
    (taken, refused)
}

fn passed(id: &str) -> String {
    format!(
        "{id} is refused: later events of its key have been delivered since, or may have been. Add \
         --out-of-order if that does no harm."
    )
}

/// How far the keys of the letters have gone, and when that was looked at.
struct Keys {
    course: Course,
    /// When the last look began, and how long it is good for.
    looked: Option<(Instant, Duration)>,
}

impl Keys {
    /// Those of letters that keep the order of their keys.
    fn of(route: &str, ordered: &[&Filed]) -> Self {
        Self { course: Course::of(route, ordered), looked: None }
    }

    /// Looks, unless the last look is still good; tells when that one began.
    fn look(&mut self, cluster: &Cluster) -> Result<Instant, Failure> {
        if let Some((began, good_for)) = self.looked
            && began.elapsed() < good_for
        {
            return Ok(began);
        }
        let mut began = Instant::now();
        tokio::task::block_in_place(|| {
            self.course.look(cluster)?;
            // The first one may have read for long: what has come meanwhile is looked at too.
            if began.elapsed() < GOOD_FOR {
                return Ok(());
            }
            began = Instant::now();
            self.course.look(cluster)
        })?;
        self.looked = Some((began, GOOD_FOR.max(2 * began.elapsed())));
        Ok(began)
    }

    /// That look was too long ago for the route.
    fn look_anew(&mut self, after: Option<Instant>) {
        self.looked = self.looked.filter(|(began, _)| Some(*began) != after);
    }
}

/// Letters that are tried again, and what became of each.
struct Retrial {
    journal: Journal,
    cluster: Cluster,
    keys: Keys,
    route: String,
    decision: Decision,
    out_of_order: bool,
    results: BTreeMap<Origin, Entry>,
    /// How many were refused when it was their turn.
    refused: usize,
}

/// A letter that is asked for.
struct Asked {
    filed: Filed,
    /// How often, this time included.
    times: u32,
    /// When the look began that went before it.
    looked: Option<Instant>,
}

impl Retrial {
    /// Has the route try a letter; tells when the look began that went before. Nothing if it is refused, for
    /// its key has gone on meanwhile.
    async fn ask(&mut self, filed: &Filed) -> Result<Option<Instant>, Failure> {
        let began = self.keys.look(&self.cluster)?;
        let course = &self.keys.course;
        if course.has_passed(filed) {
            eprintln!("{}", passed(&filed.letter.event.id()));
            self.refused += 1;
            return Ok(None);
        }
        let (decision, looked) = (self.decision.clone(), course.looked(filed));
        let entry = filed.next_entry(&self.route);
        let entry = entry.retried(&filed.letter, decision, self.out_of_order, looked);
        self.journal.write(&entry).await?;
        Ok(Some(began))
    }

    /// Asks for letters, in their order, and waits until each is delivered or comes back.
    async fn run(
        &mut self,
        from: i64,
        asked: Vec<Filed>,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let mut follower =
            tokio::task::block_in_place(|| Follower::open(&self.cluster, JOURNAL_TOPIC, 0, from))?;
        let first = |filed| Asked { filed, times: 1, looked: None };
        let mut left: VecDeque<Asked> = asked.into_iter().map(first).collect();
        let (mut waiting, mut last) = (HashMap::<Origin, Asked>::new(), Instant::now());
        while !(left.is_empty() && waiting.is_empty()) {
            while waiting.len() < WINDOW
                && let Some(mut asked) = left.pop_front()
            {
                asked.looked = self.ask(&asked.filed).await?;
                if asked.looked.is_some() {
                    waiting.insert(asked.filed.letter.origin.clone(), asked);
                }
            }
            let record = tokio::task::block_in_place(|| follower.next(LOOK))?;
            let Some(entry) = record.as_ref().and_then(Entry::read) else {
                if last.elapsed() > timeout {
                    return Err(self.in_vain(waiting.len(), left.len()));
                }
                continue;
            };
            if entry.route != self.route || matches!(entry.standing, Standing::Retrying { .. }) {
                continue;
            }
            let Some(mut asked) = waiting.remove(&entry.origin) else { continue };
            last = Instant::now();
            match &entry.standing {
                Standing::Returned { cause, .. } if cause == UNTOLD && asked.times < ASKED => {
                    self.keys.look_anew(asked.looked);
                    asked.filed.entry = Some(entry);
                    left.push_back(Asked { times: asked.times + 1, ..asked });
                }
                _ => drop(self.results.insert(entry.origin.clone(), entry)),
            }
        }
        Ok(())
    }

    fn in_vain(&self, waiting: usize, unasked: usize) -> Failure {
        self.report();
        let unasked = match unasked {
            0 => String::new(),
            count => format!(" {} were not asked for yet.", letters(count)),
        };
        Failure::new(format!(
            "Nothing has become of {} in that time: they stay asked for, and the route tries them \
             once it can. Does it run, and does its target answer? See `passerelle status`.{unasked}",
            letters(waiting)
        ))
    }

    /// What was parked behind them meanwhile is tried again too, until their keys are free.
    async fn free_keys(&mut self, timeout: Duration) -> Result<(), Failure> {
        loop {
            let archive = read(&self.cluster, self.route.clone()).await?;
            let keys: HashSet<_> = self
                .results
                .values()
                .filter(|entry| {
                    entry.parked && matches!(entry.standing, Standing::Delivered { .. })
                })
                .map(|entry| (entry.origin.partition, entry.key.as_deref()))
                .collect();
            let parked = archive.open().filter(|filed| {
                filed.is_parked() && !filed.is_retried() && keys.contains(&key_of(filed))
            });
            let more: Vec<Filed> = parked
                .filter(|filed| !self.results.contains_key(&filed.letter.origin))
                .cloned()
                .collect();
            if more.is_empty() {
                return Ok(());
            }
            say!("{} were parked behind them meanwhile.", letters(more.len()));
            self.run(archive.journal_end, more, timeout).await?;
        }
    }

    /// Says what became of them; true if all are delivered.
    fn report(&self) -> bool {
        let (mut delivered, mut returned, mut waiting) = (0, Vec::new(), 0);
        for entry in self.results.values() {
            match &entry.standing {
                Standing::Delivered { .. } => delivered += 1,
                Standing::Returned { cause, message } => {
                    returned.push(format!("{} came back: {message} ({cause})", entry.id));
                }
                _ => waiting += 1,
            }
        }
        if delivered > 0 {
            say!("{} delivered.", letters(delivered));
        }
        for line in returned.iter().take(SHOWN) {
            say!("{line}");
        }
        if returned.len() > SHOWN {
            say!("{} more came back.", returned.len() - SHOWN);
        }
        if waiting > 0 {
            say!(
                "{} of their keys were not tried: they stay in order behind them.",
                letters(waiting)
            );
        }
        returned.is_empty() && waiting == 0 && self.refused == 0
    }
}
