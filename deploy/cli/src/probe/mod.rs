//! `passerelle probe`: what an application lets us read, write and subscribe to, and the fallback that
//! follows.

mod shown;

use std::path::Path;
use std::process::ExitCode;

use engine::Catalogue;
use engine::configuration::{ConnectionSection, Pipeline};
use engine::connector::Shared;
use engine::study::{OpenApi, Question, Study};
use serde_json::{Value as Json, json};

use crate::arguments::Probe;
use crate::failure::{Failure, Outcome};
use crate::{catalogue, files};

/// Descriptions of APIs above this size are not read.
const LARGEST: u64 = 32 << 20;

/// Studies the applications of one connection or several.
pub async fn run(options: Probe) -> Outcome {
    let loaded = files::read_quietly(std::slice::from_ref(&options.file))?;
    let pipeline = loaded.pipelines.into_iter().next();
    let pipeline = pipeline.ok_or_else(|| Failure::new("The file holds no pipeline."))?;
    let names = names(&options.connections, &pipeline)?;
    let question = question(&options)?;
    let catalogue = catalogue::all();
    let mut studies = Vec::new();
    let mut failed = false;
    for name in names {
        match study(name, &pipeline, &catalogue, &question).await {
            Ok((connector, study)) if options.json => {
                studies.push(as_json(name, connector, &study))
            }
            Ok((connector, study)) => {
                let single = question.object.is_some();
                shown::study(name, connector, &options.file, &study, single);
            }
            Err(failure) => {
                failed = true;
                eprintln!("The connection `{name}` of {}: {failure}", options.file.display());
            }
        }
    }
    if options.json {
        let text = serde_json::to_string_pretty(&studies)
            .map_err(|error| Failure::new(error.to_string()))?;
        say!("{text}");
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The connections that are asked for, in their order.
fn names<'o>(asked: &'o str, pipeline: &Pipeline) -> Result<Vec<&'o str>, Failure> {
    let asked: Vec<_> = asked.split(',').map(str::trim).collect();
    let known: Vec<_> = pipeline.connections.keys().map(String::as_str).collect();
    let unknown = asked.iter().find(|name| !known.contains(name));
    match (unknown, known.as_slice()) {
        (None, _) => Ok(asked),
        (Some(name), []) => Err(Failure::new(format!(
            "{} has no connection `{name}`, nor any other: declare it under `connections`.",
            pipeline.file.display()
        ))),
        (Some(name), known) => Err(Failure::new(format!(
            "{} has no connection `{name}`; there are: {}.",
            pipeline.file.display(),
            known.join(", ")
        ))),
    }
}

fn question(options: &Probe) -> Result<Question, Failure> {
    let openapi = match &options.openapi {
        None => None,
        Some(place) if Path::new(place).is_file() => Some(description(place)?),
        Some(place) => Some(OpenApi::Path(place.clone())),
    };
    Ok(Question { object: options.object.clone(), openapi })
}

/// A description in a file.
fn description(name: &str) -> Result<OpenApi, Failure> {
    let unreadable =
        |why: String| Failure::new(format!("The description `{name}` cannot be read: {why}."));
    let size = std::fs::metadata(name).map_err(|error| unreadable(error.to_string()))?.len();
    if size > LARGEST {
        return Err(unreadable(format!(
            "it has {size} bytes, of which at most {LARGEST} are read"
        )));
    }
    let text = std::fs::read_to_string(name).map_err(|error| unreadable(error.to_string()))?;
    Ok(OpenApi::File { name: name.to_owned(), text })
}

/// The study of one connection, and its connector.
async fn study<'p>(
    name: &str,
    pipeline: &'p Pipeline,
    catalogue: &Catalogue,
    question: &Question,
) -> Result<(&'p str, Study), Failure> {
    let missing = || Failure::new(format!("there is no connection `{name}`."));
    let ConnectionSection { connector, options } =
        pipeline.connections.get(name).ok_or_else(missing)?;
    let probe =
        pipeline.connector(connector, catalogue).and_then(|declared| declared.probe.clone());
    let Some(probe) = probe else {
        let able: Vec<_> = catalogue.sinks.iter().filter(|one| one.probe.is_some()).collect();
        let able = able.iter().map(|one| one.name.as_ref()).collect::<Vec<_>>().join(", ");
        let sentence = format!("`{connector}` cannot be probed; these can: {able}.");
        return Err(Failure::new(sentence));
    };
    let setup = pipeline.setup(name, None, None, &Shared::default());
    let study = probe(options.clone(), question.clone(), setup).await?;
    let study = match &question.object {
        Some(object) => study.of_object(object).map_err(Failure::new)?,
        None => study,
    };
    Ok((connector, study.bounded()))
}

fn as_json(connection: &str, connector: &str, study: &Study) -> Json {
    json!({
        "connection": connection,
        "connector": connector,
        "study": study,
        "fallback": study.fallback(),
    })
}
