//! `passerelle replay`: sends a sink's history again, beside live traffic.

mod progress;
mod question;

use std::process::ExitCode;
use std::time::Duration;

use engine::ShutdownTrigger;
use engine::clock::unix_millis;
use engine::configuration::{Pipeline, SinkSection};
use engine::connector::SinkDeclaration;
use engine::options::Period;
use engine::replay::{self, Plan, Request, Standing, Summary};
use engine::sink::Once;

use crate::arguments::Replay;
use crate::failure::{Failure, Outcome};
use crate::{catalogue, files, signals};

use progress::Shown;
use question::Question;

/// So many events a dry run shows.
const SAMPLES: usize = 3;
/// The exit code of a replay that was stopped before its end.
const STOPPED: u8 = 2;

/// Sends history again until its end, or until it is stopped.
pub async fn run(options: Replay) -> Outcome {
    let pipelines = files::read(&options.files.files)?.pipelines;
    let question = Question::find(&pipelines, &options)?;
    let request = question.request(&options)?;
    let plan = replay::plan(&request, options.again && !options.dry_run).await?;
    if options.dry_run {
        return dry_run(&request, &plan).await;
    }
    if plan.standing == Standing::Finished {
        return Err(Failure::new(format!(
            "Replay {} came to its end before ({}). Ask something else, or give --again to send it once more.",
            request.id,
            time(plan.captured.finished)
        )));
    }
    let catalogue = catalogue::all();
    let declared = question.pipeline.connector(&question.into.connector, &catalogue);
    if let Some(declared) = declared {
        hold(declared, question.into, &plan, options.accept_duplicates)?;
        warn(declared, question.into);
    }
    let sink = question.sink(&options, &catalogue)?;
    announce(&request, question.pipeline, &plan);
    let (trigger, stop) = ShutdownTrigger::new();
    let stopping = tokio::spawn(async move {
        signals::stop().await;
        trigger.trigger();
        // What is under way is drained; a second signal ends the process at once.
        signals::stop().await;
        std::process::exit(i32::from(STOPPED));
    });
    let mut shown = Shown::new(&plan);
    let id = request.id.clone();
    let ended = replay::run(request, sink, plan, stop, |progress| shown.show(progress)).await;
    shown.finish();
    stopping.abort();
    let summary = ended.map_err(|fault| {
        Failure::new(format!(
            "The replay cannot go on: {} The same command goes on from there.",
            fault.message
        ))
    })?;
    Ok(tell(&id, &summary))
}

async fn dry_run(request: &Request, plan: &Plan) -> Outcome {
    let sample = replay::sample(request, &plan.captured, SAMPLES).await?;
    say!(
        "Would send {} of {} events of {} to {}, from {} on.",
        sample.matched,
        sample.read,
        request.topic.name,
        plan.captured.into,
        time(plan.oldest)
    );
    if let (count, Some(first)) = sample.failed {
        say!("{count} cannot be read, or the filter fails on them; the first: {first}");
    }
    for event in sample.events {
        say!("{event}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to send what the target may take as new.
fn hold(
    declared: &SinkDeclaration,
    sink: &SinkSection,
    plan: &Plan,
    accepted: bool,
) -> Result<(), Failure> {
    let Some(oldest) = plan.oldest else { return Ok(()) };
    let once = (declared.once)(sink.options.clone()).map_err(|error| {
        Failure::new(format!("What `{}` promises is not known: {error}.", sink.name))
    })?;
    let age = Duration::from_millis(u64::try_from(unix_millis() - oldest).unwrap_or(0));
    let promise = match once {
        Once::Forever => return Ok(()),
        Once::For(memory) if memory >= age => return Ok(()),
        Once::For(memory) => {
            format!(
                "remembers events for {}, and the replay reaches back {}",
                Period(memory),
                Period(whole(age))
            )
        }
        Once::No => "does not promise to know an event again".to_owned(),
    };
    if accepted {
        eprintln!(
            "The target of `{}` {promise}: it may take events twice, as accepted.",
            sink.name
        );
        return Ok(());
    }
    Err(Failure::new(format!(
        "The target of `{}` {promise}: it may take events twice. Give --accept-duplicates if that does no harm{}.",
        sink.name,
        match once {
            Once::No => ", or say in the file what it remembers (`once`)",
            _ => ", or a later --from",
        }
    )))
}

fn warn(declared: &SinkDeclaration, sink: &SinkSection) {
    if (declared.overwrites)(sink.options.clone()).unwrap_or(false) {
        eprintln!(
            "Each event of `{}` replaces what the target has: an old one that is sent again can overwrite a newer state. Replay whole histories, up to now, or leave out with --filter what has changed since.",
            sink.name
        );
    }
}

fn announce(request: &Request, pipeline: &Pipeline, plan: &Plan) {
    let (total, done) = plan.progress();
    let verb = if plan.standing == Standing::Begun { "goes on" } else { "begins" };
    let rate = match request.rate {
        Some(rate) => format!("at most {rate} events a second"),
        None => "as fast as the target takes them".to_owned(),
    };
    eprintln!(
        "Replay {} of {}/{} {verb}: {} of {total} offsets of {} left, from {} on, to {}, {rate}.",
        request.id,
        pipeline.name,
        request.route,
        total - done,
        request.topic.name,
        time(plan.oldest),
        plan.captured.into,
    );
}

fn tell(id: &str, summary: &Summary) -> ExitCode {
    let counts = summary.progress.counts;
    let sent = counts.delivered + counts.already_there + counts.dead_letters;
    let seconds = summary.took.as_secs_f64();
    let rate = sent as f64 / seconds.max(0.001);
    say!(
        "Replay {id}: {} read, {} matched, {} delivered, {} already there, {} dead letters in {seconds:.1} s ({rate:.0} events/s).",
        counts.read,
        counts.matched,
        counts.delivered,
        counts.already_there,
        counts.dead_letters
    );
    if summary.finished {
        return ExitCode::SUCCESS;
    }
    let left = summary.progress.total - summary.progress.done;
    say!("Stopped with {left} offsets left; the same command goes on from there.");
    ExitCode::from(STOPPED)
}

/// To the second: an age of days is not told in milliseconds.
fn whole(age: Duration) -> Duration {
    Duration::from_secs(age.as_secs())
}

fn time(millis: Option<i64>) -> String {
    let time = millis.and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(
        || "nowhere".to_owned(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    )
}
