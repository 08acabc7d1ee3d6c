//! What was asked for: which route, which stretch of its topic, to which sink.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::Catalogue;
use engine::configuration::{Pipeline, SinkSection};
use engine::connector::Shared;
use engine::expression::{Expression, Program, sentence};
use engine::replay::{Edge, Request};
use engine::runtime::SinkRoute;
use sha2::{Digest as _, Sha256};

use crate::addresses;
use crate::arguments::Replay;
use crate::failure::Failure;
use crate::place::Place;

/// Without a rate: what leaves the target room for live traffic.
const USUAL_RATE: f64 = 200.0;

/// A replay as it was asked for.
pub struct Question<'a> {
    pub pipeline: &'a Pipeline,
    /// The sink whose topic is read.
    pub route: &'a SinkSection,
    /// The sink that delivers.
    pub into: &'a SinkSection,
}

impl<'a> Question<'a> {
    /// Finds the route and the sink in the files.
    pub fn find(pipelines: &'a [Pipeline], options: &Replay) -> Result<Self, Failure> {
        let (of, name) = match options.route.split_once('/') {
            Some((pipeline, route)) => (Some(pipeline), route),
            None => (None, options.route.as_str()),
        };
        let asked: Vec<&Pipeline> =
            pipelines.iter().filter(|pipeline| of.is_none_or(|of| of == pipeline.name)).collect();
        let found: Vec<(&Pipeline, &SinkSection)> = asked
            .iter()
            .flat_map(|pipeline| pipeline.sinks.iter().map(|sink| (*pipeline, sink)))
            .filter(|(_, sink)| sink.name == name)
            .collect();
        let (pipeline, route) = match found.as_slice() {
            [one] => *one,
            [] => return Err(no_sink(&asked, name)),
            _ => {
                return Err(Failure::new(format!(
                    "Several pipelines have a sink `{name}`: write PIPELINE/{name}."
                )));
            }
        };
        let into = options.into.as_deref().unwrap_or(name);
        let into = pipeline.sinks.iter().find(|sink| sink.name == into);
        let into =
            into.ok_or_else(|| no_sink(&[pipeline], options.into.as_deref().unwrap_or(name)))?;
        Ok(Self { pipeline, route, into })
    }

    /// The request that the engine carries out.
    pub fn request(&self, options: &Replay) -> Result<Request, Failure> {
        let Self { pipeline, route, into } = self;
        let topic = pipeline.topic(&route.common.from).unwrap_or_default();
        Ok(Request {
            id: self.id(options),
            pipeline: pipeline.name.clone(),
            route: route.name.clone(),
            cluster: addresses::cluster(Some(pipeline), &options.address)?,
            registry: addresses::registry(pipeline, &options.address)?,
            topic,
            topics: pipeline.declared_topics(),
            into: into.name.clone(),
            own_topic: into.common.from == route.common.from,
            from: edge(options.from.as_deref().unwrap_or("beginning"), &options.from_offset)?,
            to: edge(&options.to, &options.to_offset)?,
            key: options.key.clone().map(Bytes::from),
            filter: self.filter(options)?,
            rate: rate(options)?,
            outcomes: pipeline.outcome_policy(),
        })
    }

    /// The same for the same question: it names the group, so that the same command goes on.
    fn id(&self, options: &Replay) -> String {
        let Replay { from, to, from_offset, to_offset, key, filter, .. } = options;
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            // The length goes first so that no two lists of parts read the same.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        for part in [&self.pipeline.name, &self.route.name, &self.into.name, to] {
            add(part);
        }
        for part in [from, key, filter] {
            add(if part.is_some() { "some" } else { "none" });
            add(part.as_deref().unwrap_or_default());
        }
        for offsets in [from_offset, to_offset] {
            add(&offsets.len().to_string());
            offsets.iter().for_each(|offset| add(offset));
        }
        hex::encode(&hash.finalize()[..6])
    }

    fn filter(&self, options: &Replay) -> Result<Option<Program>, Failure> {
        let Some(text) = &options.filter else { return Ok(None) };
        let from = &self.route.common.from;
        let setup = self.pipeline.setup(&self.route.name, Some(from), None, &Shared::default());
        let program = Expression(text.clone()).compile(&setup).map_err(|mistakes| {
            Failure::new(format!("The filter is wrong: {}", sentence(&mistakes)))
        })?;
        if !program.kind().contains_boolean() {
            return Err(Failure::new(
                "The filter is wrong: it gives neither true nor false; write a condition such as `.total > 100`.",
            ));
        }
        Ok(Some(program))
    }

    /// Builds the sink; without a rate it takes half of its concurrency.
    pub fn sink(&self, options: &Replay, catalogue: &Catalogue) -> Result<SinkRoute, Failure> {
        let from = &self.route.common.from;
        let mut sink = self.pipeline.sink(self.into, from, catalogue, &Shared::default())?;
        if options.rate.is_none() {
            sink.options.concurrency = (sink.options.concurrency / 2).max(1);
        }
        Ok(sink)
    }
}

fn no_sink(pipelines: &[&Pipeline], name: &str) -> Failure {
    let sinks = pipelines.iter().flat_map(|pipeline| {
        pipeline.sinks.iter().map(|sink| format!("{}/{}", pipeline.name, sink.name))
    });
    let sinks = sinks.collect::<Vec<_>>().join(", ");
    let processor = pipelines.iter().flat_map(|pipeline| &pipeline.processors);
    if processor.clone().any(|processor| processor.name == name) {
        return Failure::new(format!(
            "`{name}` is a processor: what it writes again would go to every route behind its topic. Replay the sink that needs it, one of: {sinks}."
        ));
    }
    Failure::new(format!("There is no sink `{name}` in the files; they have: {sinks}."))
}

fn rate(options: &Replay) -> Result<Option<f64>, Failure> {
    match options.rate.as_deref() {
        None => Ok(Some(USUAL_RATE)),
        Some("unlimited") => Ok(None),
        Some(text) => {
            let number = text.trim_end_matches("/s").parse::<f64>().ok();
            let number = number.filter(|rate| rate.is_finite() && *rate > 0.0);
            number.map(Some).ok_or_else(|| {
                Failure::new(format!(
                    "`{text}` is not a rate: write events a second, such as 50 or 0.5, or `unlimited`."
                ))
            })
        }
    }
}

fn edge(place: &str, offsets: &[String]) -> Result<Edge, Failure> {
    if !offsets.is_empty() {
        let parsed = offsets.iter().map(|text| offset(text));
        return Ok(Edge::Offsets(parsed.collect::<Result<BTreeMap<_, _>, _>>()?));
    }
    Ok(match Place::read(place)? {
        Place::Beginning => Edge::Oldest,
        Place::Now => Edge::Newest,
        Place::Time(time) => Edge::Time(time.timestamp_millis()),
    })
}

/// `42`, or `3:42` for partition 3.
fn offset(text: &str) -> Result<(Option<i32>, i64), Failure> {
    let read = || match text.split_once(':') {
        Some((partition, offset)) => Some((Some(partition.parse().ok()?), offset.parse().ok()?)),
        None => Some((None, text.parse().ok()?)),
    };
    read().ok_or_else(|| {
        Failure::new(format!("`{text}` is not an offset: write 42, or 3:42 for partition 3."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_of_every_partition_or_of_one() {
        assert_eq!(offset("42").unwrap(), (None, 42));
        assert_eq!(offset("3:42").unwrap(), (Some(3), 42));
        assert!(offset("3:").is_err_and(|failure| failure.0.contains("3:42")));
        assert!(matches!(edge("beginning", &[]).unwrap(), Edge::Oldest));
        assert!(matches!(edge("now", &["1".into()]).unwrap(), Edge::Offsets(_)));
    }
}
