//! From a checked file to what the engine runs.

use schemas::registry::RegistryConfig;

use super::keys::Key;
use super::pipeline::{
    DeclaredTopic, EnrichSection, Pipeline, ProcessorSection, SinkSection, SourceSection,
    any_object, set_field,
};
use super::sections::{Deduplicate, OnError, OnMiss, Outcomes, Promise, SinkCommon};
use crate::connector::{Catalogue, Setup, Shared, SinkDeclaration};
use crate::enrichment::{self, Enrichment, Found};
use crate::expression::{Input, sentence};
use crate::kafka::Cluster;
use crate::options::{Period, Property, Retention, Start};
use crate::runtime::{
    Backoff, KeyOf, MaxAhead, OnError as Policy, Plan, ProcessorRoute, SinkOptions, SinkRoute,
    SourceRoute, Topic,
};
use crate::{Fault, outcomes, positions, runtime};

/// What a pipeline is run with, beside its file.
pub struct Surroundings {
    /// The brokers: those of the file ([`Pipeline::cluster`]), or the embedded one.
    pub cluster: Cluster,
    /// The registry: that of the file ([`Pipeline::registry_config`]), or the embedded one.
    pub registry: schemas::registry::Registry,
    /// A name of this instance that survives a restart, if it has one.
    pub instance: Option<String>,
    /// What the routes of this process share.
    pub shared: Shared,
}

impl Pipeline {
    /// Builds every route through the catalogue that checked the file. Opens no connection.
    ///
    /// # Errors
    /// A `Config` fault: a connector refuses its options, although the check accepted them.
    pub fn plan(&self, catalogue: &Catalogue, around: Surroundings) -> Result<Plan, Fault> {
        let Surroundings { cluster, registry, instance, shared } = around;
        let sources = self.sources.iter().map(|source| self.source(source, catalogue, &shared));
        let processors =
            self.processors.iter().map(|processor| self.processor(processor, catalogue, &shared));
        let sinks =
            self.sinks.iter().map(|sink| self.sink(sink, &sink.common.from, catalogue, &shared));
        Ok(Plan {
            pipeline: self.name.clone(),
            cluster,
            registry,
            instance,
            shares: shared.get(),
            topics: self.declared_topics(),
            outcomes: self.outcome_policy(),
            sources: sources.collect::<Result<_, _>>()?,
            processors: processors.collect::<Result<_, _>>()?,
            sinks: sinks.collect::<Result<_, _>>()?,
        })
    }

    /// The cluster that the file names; nothing for the embedded broker.
    pub fn cluster(&self) -> Option<Cluster> {
        self.kafka.as_ref().map(|kafka| kafka.cluster(&self.folder))
    }

    /// The registry that the file names; nothing for the embedded one. Schemas are kept by id in the
    /// data folder.
    pub fn registry_config(&self) -> Option<RegistryConfig> {
        self.registry.as_ref().map(|registry| RegistryConfig {
            cache_directory: Some(self.data.join("schemas")),
            ..registry.config()
        })
    }

    /// How its outcomes are kept; nothing if they are not.
    pub fn outcome_policy(&self) -> Option<outcomes::Policy> {
        let Outcomes { keep, retention, mask, hash_key } = self.outcomes.clone();
        let retention = match retention {
            Retention::For(Period(length)) => Some(length),
            Retention::Forever => None,
        };
        keep.then_some(outcomes::Policy { retention, mask, hash_key })
    }

    fn source(
        &self,
        source: &SourceSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<SourceRoute, Fault> {
        let SourceSection { name, common, connector, connection, options } = source.clone();
        let mut declared = catalogue.sources.iter();
        let declaration = declared.find(|source| source.name == connector);
        let declared = declaration.ok_or_else(|| unknown(&connector))?;
        let (build, once) = (declared.build, declared.once);
        let setup = Setup { connection, ..self.setup(&name, None, Some(&common.to), shared) };
        let key = common.key;
        let factory = move || build(options.clone(), key.clone(), &setup);
        Ok(SourceRoute { name, build: Box::new(factory), to: common.to, once })
    }

    fn processor(
        &self,
        processor: &ProcessorSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<ProcessorRoute, Fault> {
        let ProcessorSection { name, common, .. } = processor;
        let steps = self.steps(processor, catalogue, shared)?;
        let key = match &common.key {
            None => None,
            Some(_) => self
                .key(processor)?
                .map(|key| -> KeyOf { Box::new(move |event, value| key.of(event, value)) }),
        };
        Ok(ProcessorRoute {
            name: name.clone(),
            from: common.from.clone(),
            to: processor.outputs.clone(),
            deduplicate: self.deduplicate(processor, shared)?,
            enrichments: self.enrichments(processor, catalogue, shared)?,
            steps,
            key,
            start: common.start.map(start),
            on_error: policy(common.on_error),
            promise: match common.delivery {
                Promise::AtLeastOnce => runtime::Promise::AtLeastOnce,
                Promise::ExactlyOnce => runtime::Promise::ExactlyOnce(common.commit_every.0),
            },
        })
    }

    /// The steps of a processor, built, in the order in which they apply.
    pub(super) fn steps(
        &self,
        processor: &ProcessorSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<Vec<Box<dyn crate::Processor>>, Fault> {
        let from = processor.common.from.as_str();
        let mut setup = self.setup(&processor.name, Some(from), None, shared);
        for enrichment in &processor.enrichments {
            set_field(&mut setup.input, &enrichment.field, enrichment.kind.clone());
        }
        let mut steps = Vec::with_capacity(processor.steps.len());
        for (name, options) in &processor.steps {
            let declaration = catalogue.processors.iter().find(|step| step.name == name);
            let step = declaration.ok_or_else(|| unknown(name))?;
            steps.push((step.build)(options.clone(), &setup)?);
            // Only wrong options emit nothing, and these have been built.
            setup.input =
                (step.emits)(options.clone(), &setup).ok().flatten().unwrap_or_else(any_object);
        }
        Ok(steps)
    }

    /// What a processor drops.
    fn deduplicate(
        &self,
        processor: &ProcessorSection,
        shared: &Shared,
    ) -> Result<Option<runtime::Deduplicate>, Fault> {
        let Some(Deduplicate { r#for: Period(length), by }) = &processor.common.deduplicate else {
            return Ok(None);
        };
        let setup = self.setup(&processor.name, Some(&processor.common.from), None, shared);
        let by = by.as_ref().map(|by| Key::compile(&setup.route, by, Input::from(&setup)));
        let by = by.transpose()?;
        let by = by.map(|by| -> KeyOf { Box::new(move |event, value| by.of(event, value)) });
        Ok(Some(runtime::Deduplicate { length: *length, by }))
    }

    /// What a processor's events are enriched with. Opens no connection.
    pub(super) fn enrichments(
        &self,
        processor: &ProcessorSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<Vec<Enrichment>, Fault> {
        let from = processor.common.from.as_str();
        let mut setup = self.setup(&processor.name, Some(from), None, shared);
        let mut enrichments = Vec::with_capacity(processor.enrichments.len());
        for section in &processor.enrichments {
            let on_miss = match section.common.on_miss() {
                OnMiss::Null => enrichment::OnMiss::Null,
                OnMiss::DeadLetter => enrichment::OnMiss::DeadLetter,
                OnMiss::Wait => enrichment::OnMiss::Wait,
            };
            enrichments.push(enrichment(section, on_miss, catalogue, &mut setup)?);
            set_field(&mut setup.input, &section.field, section.kind.clone());
        }
        Ok(enrichments)
    }

    /// The key that a processor gives to what it writes, if it gives one.
    pub(super) fn key(&self, processor: &ProcessorSection) -> Result<Option<Key>, Fault> {
        let Some(key) = &processor.common.key else { return Ok(None) };
        let written = match &processor.outputs[..] {
            [one] => self.topics.get(one).and_then(|topic| topic.schema.as_ref()),
            _ => None,
        };
        let input = written.map_or_else(|| Input::from(&any_object()), Input::from);
        let route = format!("{}/{}", self.name, processor.name);
        Key::compile(&route, key, input).map(Some)
    }

    /// The sink connector of this name: one of the catalogue, or one that the pipeline describes.
    pub fn connector<'c>(
        &'c self,
        name: &str,
        catalogue: &'c Catalogue,
    ) -> Option<&'c SinkDeclaration> {
        let mut own = self.applications.iter().map(|one| &one.declaration);
        catalogue.sink(name).or_else(|| own.find(|own| own.name == name))
    }

    /// The topics as the file declares them.
    pub fn declared_topics(&self) -> Vec<Topic> {
        self.topics.iter().map(|(name, declared)| topic(name, declared)).collect()
    }

    /// A topic as the file declares it.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.topics.get(name).map(|declared| topic(name, declared))
    }

    /// Builds one sink, to deliver events of this topic, which may be another than its own. Opens no
    /// connection.
    ///
    /// # Errors
    /// A `Config` fault: the connector refuses its options with the events of that topic.
    pub fn sink(
        &self,
        sink: &SinkSection,
        from: &str,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<SinkRoute, Fault> {
        let SinkSection { name, common, connector, connection, awaited, options } = sink;
        let declaration = self.connector(connector, catalogue);
        let declared = declaration.ok_or_else(|| unknown(connector))?;
        let mut setup = self.setup(name, Some(from), None, shared);
        let built = (declared.build)(connection.clone(), options.clone(), &setup)?;
        let awaited = awaited
            .iter()
            .map(|section| enrichment(section, enrichment::OnMiss::Wait, catalogue, &mut setup));
        Ok(SinkRoute {
            name: name.clone(),
            from: from.to_owned(),
            awaited: awaited.collect::<Result<_, _>>()?,
            sink: built,
            options: sink_options(common),
        })
    }
}

/// Builds what is looked up for the events of a route. Opens no connection.
fn enrichment(
    section: &EnrichSection,
    on_miss: enrichment::OnMiss,
    catalogue: &Catalogue,
    setup: &mut Setup,
) -> Result<Enrichment, Fault> {
    let EnrichSection { field, common, schema, connector, options, .. } = section;
    let declared = catalogue.lookups.iter().find(|lookup| lookup.name == connector);
    let declared = declared.ok_or_else(|| unknown(connector))?;
    let by = common.by.compile(&*setup).map_err(|mistakes| {
        let mistakes = sentence(&mistakes);
        Fault::config("enrich", format!("`by` of `{field}` is wrong: {mistakes}"))
    })?;
    setup.connection.clone_from(&section.connection);
    setup.output_schema.clone_from(schema);
    Ok(Enrichment {
        field: field.clone(),
        by,
        schema: schema.clone(),
        on_miss,
        lookup: (declared.build)(options.clone(), setup)?,
        found: Found::new(common.keep(), common.at_most()),
    })
}

/// The catalogue is another than the one that checked the file.
fn unknown(connector: &str) -> Fault {
    Fault::internal("catalogue", format!("The connector `{connector}` is not in the catalogue."))
}

fn topic(name: &str, declared: &DeclaredTopic) -> Topic {
    let settings = &declared.settings;
    let mut properties: Vec<_> = settings
        .properties
        .iter()
        .map(|(name, Property(value))| (name.clone(), value.clone()))
        .collect();
    let retention = match settings.retention {
        Some(Retention::For(Period(length))) => Some(length),
        Some(Retention::Forever) => {
            properties.push(("retention.ms".to_owned(), "-1".to_owned()));
            None
        }
        None => None,
    };
    Topic {
        name: name.to_owned(),
        partitions: settings.partitions.map(|number| i32::from(number.get())),
        replication: settings.replication.map(|number| i32::from(number.get())),
        retention,
        compaction: settings.compaction,
        properties,
        schema: declared.schema.clone(),
    }
}

fn sink_options(common: &SinkCommon) -> SinkOptions {
    let limit = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    SinkOptions {
        concurrency: usize::from(common.concurrency.get()),
        max_ahead: MaxAhead {
            events: limit(common.max_ahead.events.get().into()),
            bytes: limit(common.max_ahead.bytes.0),
        },
        start: common.start.map(start),
        on_error: policy(common.on_error),
        give_up_after: common.give_up_after.0,
        backoff: Backoff { initial: common.backoff.initial.0, max: common.backoff.max.0 },
    }
}

fn start(start: Start) -> positions::Start {
    match start {
        Start::Beginning => positions::Start::Beginning,
        Start::Now => positions::Start::Now,
        Start::At(time) => positions::Start::Time(time.timestamp_millis()),
    }
}

fn policy(on_error: OnError) -> Policy {
    match on_error {
        OnError::DeadLetter => Policy::DeadLetter,
        OnError::ParkKey => Policy::ParkKey,
        OnError::Stop => Policy::Stop,
    }
}
