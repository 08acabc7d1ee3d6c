//! Sinks in shadow: beside the flow that runs today, nothing is sent; what would be is written down and
//! held against that flow's log.

mod comparison;
mod entry;
mod follow;
mod recorder;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine::Plan;
use engine::configuration::{Pipeline, Problem};
use engine::runtime::{OnError, SinkRoute};
use engine::sink::SHADOW;
use serde::{Deserialize, Serialize};

use crate::arguments::{Shadow as Asked, Terms as AskedTerms};
use crate::failure::{Failure, Outcome};

use entry::{FieldPath, Terms};
use follow::Followed;
use recorder::{Recorder, Shadowed};
use report::Report;

/// How often a process that runs tells what has changed.
const TELL: Duration = Duration::from_secs(60);
/// How many samples of each kind it tells at its end.
const SAMPLES: usize = 3;
/// The exit code when the logs differ.
const DIFFER: u8 = 2;

/// The sinks of this process that are in shadow.
#[derive(Debug, Default)]
pub struct Shadows(Vec<Shadow>);

#[derive(Debug)]
struct Shadow {
    /// The sink's full name, `pipeline/sink`.
    route: String,
    /// The log of the existing flow.
    theirs: PathBuf,
    recorder: Arc<Recorder>,
    logs: Mutex<Followed>,
}

/// How far a shadow is, for `status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Standing {
    /// The sink's full name.
    pub route: String,
    /// The log of the existing flow.
    pub file: PathBuf,
    /// What the logs come to, in one line; or why that is not known.
    pub summary: String,
}

/// The file in which we write what would be sent, beside that of the existing flow:
/// `zap.passerelle.jsonl` beside `zap.jsonl`.
fn beside(theirs: &Path) -> PathBuf {
    let mut name = theirs.file_stem().unwrap_or_default().to_owned();
    name.push(".passerelle");
    if let Some(extension) = theirs.extension() {
        name.push(".");
        name.push(extension);
    }
    theirs.with_file_name(name)
}

fn terms(asked: &AskedTerms) -> Result<Terms, Failure> {
    let read = |text: &String| {
        text.parse::<FieldPath>()
            .map_err(|why| Failure::new(format!("`{text}` is no field: {why}.")))
    };
    Ok(Terms {
        key: asked.key.as_ref().map(read).transpose()?,
        ignore: asked.ignore.iter().map(read).collect::<Result<_, _>>()?,
    })
}

impl Shadows {
    /// Opens the logs of `SINK=FILE` each.
    ///
    /// # Errors
    /// There is no such sink, or a log cannot be written.
    pub fn open(
        asked: &[String],
        asked_terms: &AskedTerms,
        pipelines: &[Pipeline],
    ) -> Result<Self, Failure> {
        let terms = terms(asked_terms)?;
        let mut all: Vec<Shadow> = Vec::new();
        for text in asked {
            let Some((sink, file)) = text.split_once('=').filter(|(_, file)| !file.is_empty())
            else {
                return Err(Failure::new(format!(
                    "`--shadow {text}` names no file: write `--shadow SINK=FILE`, with the log of the flow that runs today."
                )));
            };
            let (route, theirs) = (find(sink, pipelines)?, PathBuf::from(file));
            if all.iter().any(|other| other.route == route || other.theirs == theirs) {
                return Err(Failure::new(format!(
                    "`--shadow {text}` names a sink or a file for the second time: each sink has a log of its own."
                )));
            }
            let ours = beside(&theirs);
            let logs = Mutex::new(Followed::new(&ours, &theirs, terms.clone()));
            all.push(Shadow { recorder: Arc::new(Recorder::open(&ours)?), route, theirs, logs });
        }
        Ok(Self(all))
    }

    /// Puts the sinks of a plan in shadow that are to be. Each is then a route of its own: it has its
    /// own place in the topic, and leaves the live route's where it is.
    pub fn apply(&self, plan: &mut Plan) {
        let sinks = std::mem::take(&mut plan.sinks).into_iter();
        plan.sinks = sinks.map(|route| self.shadowed(&plan.pipeline, route)).collect();
    }

    fn shadowed(&self, pipeline: &str, mut route: SinkRoute) -> SinkRoute {
        let full = format!("{pipeline}/{}", route.name);
        let Some(shadow) = self.0.iter().find(|shadow| shadow.route == full) else { return route };
        route.name.push_str(SHADOW);
        // What gives no request is in the log. What cannot be read is not to hold up the comparison.
        route.options.on_error = OnError::DeadLetter;
        let recorder = Arc::clone(&shadow.recorder);
        SinkRoute {
            sink: Box::new(Shadowed { route: full.into(), sink: route.sink, recorder }),
            ..route
        }
    }

    /// The sinks that are in shadow and that these files no longer have: under another name they would
    /// send.
    pub fn missing(&self, pipelines: &[Pipeline]) -> Vec<Problem> {
        let lost = self.0.iter().filter(|shadow| {
            !pipelines.iter().any(|pipeline| {
                let mut names = pipeline.sinks.iter().map(|sink| &sink.name);
                names.any(|name| shadow.route == format!("{}/{name}", pipeline.name))
            })
        });
        let file = pipelines.first().map(|pipeline| pipeline.file.clone()).unwrap_or_default();
        let problem = |shadow: &Shadow| {
            let cause = format!(
                "the sink `{}` is in shadow, and is no longer in the files: under another name it would send",
                shadow.route
            );
            Problem::of_file(&file, "shadow_missing", cause)
                .hint("take the change back, or restart the process with another `--shadow`")
        };
        lost.map(problem).collect()
    }

    /// How far each is.
    pub fn standings(&self) -> Vec<Standing> {
        self.0.iter().map(Shadow::standing).collect()
    }

    /// Tells what each came to, with samples.
    pub fn tell(&self) {
        for shadow in &self.0 {
            match shadow.report(SAMPLES) {
                Ok(report) => say!("\nShadow of {}\n{report}", shadow.route),
                Err(cause) => say!("\nShadow of {}: {cause}", shadow.route),
            }
        }
    }

    /// Logs what has changed, again and again.
    pub async fn watch(self: Arc<Self>) {
        let mut told: Vec<String> = vec![String::new(); self.0.len()];
        loop {
            tokio::time::sleep(TELL).await;
            let shadows = Arc::clone(&self);
            let Ok(now) = tokio::task::spawn_blocking(move || shadows.standings()).await else {
                return;
            };
            for (told, Standing { route, summary, .. }) in told.iter_mut().zip(now) {
                if *told != summary {
                    tracing::info!(route, summary, "in shadow");
                    *told = summary;
                }
            }
        }
    }
}

impl Shadow {
    fn report(&self, samples: usize) -> Result<Report, String> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.catch_up()?;
        Ok(logs.report(samples))
    }

    fn standing(&self) -> Standing {
        let summary = self.report(0).map_or_else(|cause| cause, |report| report.summary());
        Standing { route: self.route.clone(), file: self.theirs.clone(), summary }
    }
}

/// The full name of the sink that is meant.
fn find(asked: &str, pipelines: &[Pipeline]) -> Result<String, Failure> {
    let sinks = pipelines.iter().flat_map(|pipeline| {
        pipeline
            .sinks
            .iter()
            .map(|sink| (sink.name.as_str(), format!("{}/{}", pipeline.name, sink.name)))
    });
    let all: Vec<(&str, String)> = sinks.collect();
    let meant: Vec<&String> = all
        .iter()
        .filter(|(name, full)| *name == asked || full == asked)
        .map(|(_, full)| full)
        .collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let names: Vec<_> = all.iter().map(|(_, full)| full.as_str()).collect();
            Err(Failure::new(format!(
                "`--shadow {asked}=…`: there is no sink `{asked}` in the files; they have: {}.",
                names.join(", ")
            )))
        }
        _ => Err(Failure::new(format!(
            "Several pipelines have a sink `{asked}`: write `--shadow PIPELINE/{asked}=FILE`."
        ))),
    }
}

/// `passerelle shadow`: holds two logs against each other.
pub fn run(options: &Asked) -> Outcome {
    let Asked { file, ours, terms: asked, samples, json } = options;
    let ours = ours.clone().unwrap_or_else(|| beside(file));
    for log in [&ours, file] {
        if !log.is_file() {
            return Err(Failure::new(format!(
                "There is no log {}: give the log of the flow that runs today, as `run --shadow SINK=FILE` was given it.",
                log.display()
            )));
        }
    }
    let mut logs = Followed::new(&ours, file, terms(asked)?);
    logs.catch_up().map_err(Failure::new)?;
    let report = logs.report(*samples);
    if *json {
        let text = serde_json::to_string_pretty(&report);
        say!("{}", text.map_err(|error| Failure::new(error.to_string()))?);
    } else {
        crate::output::write(&report);
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(DIFFER) })
}
