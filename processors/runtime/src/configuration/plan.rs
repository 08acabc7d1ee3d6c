//! From a checked file to what the engine runs.

use std::collections::BTreeMap;

use schemas::registry::{Auth, RegistryConfig};

use super::keys::Key;
use super::pipeline::{
    DeclaredTopic, Pipeline, ProcessorSection, SinkSection, SourceSection, any_object,
};
use super::sections::{Kafka, Mechanism, OnError, Registry, SinkCommon};
use crate::connector::{Catalogue, Shared};
use crate::expression::Input;
use crate::kafka::Cluster;
use crate::options::{Period, Property, Retention, Start};
use crate::runtime::{
    Backoff, KeyOf, MaxAhead, OnError as Policy, Plan, ProcessorRoute, SinkOptions, SinkRoute,
    SourceRoute, Topic,
};
use crate::{Fault, positions};

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
        let sinks = self.sinks.iter().map(|sink| self.sink(sink, catalogue, &shared));
        Ok(Plan {
            pipeline: self.name.clone(),
            cluster,
            registry,
            instance,
            topics: self.topics.iter().map(|(name, declared)| topic(name, declared)).collect(),
            sources: sources.collect::<Result<_, _>>()?,
            processors: processors.collect::<Result<_, _>>()?,
            sinks: sinks.collect::<Result<_, _>>()?,
        })
    }

    /// The cluster that the file names; nothing for the embedded broker.
    pub fn cluster(&self) -> Option<Cluster> {
        self.kafka.as_ref().map(|kafka| Cluster {
            brokers: kafka.brokers.clone(),
            properties: self.client_properties(kafka),
        })
    }

    /// The registry that the file names; nothing for the embedded one. Schemas are kept by id in the
    /// data folder.
    pub fn registry_config(&self) -> Option<RegistryConfig> {
        self.registry.as_ref().map(|registry| RegistryConfig {
            auth: auth(registry),
            cache_directory: Some(self.data.join("schemas")),
            ..RegistryConfig::new(registry.url.clone())
        })
    }

    /// librdkafka's settings (CONFIGURATION.md of librdkafka 2).
    fn client_properties(&self, kafka: &Kafka) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        let mut set = |name: &str, value: &str| all.insert(name.to_owned(), value.to_owned());
        let tls = kafka.security.tls.as_ref();
        let sasl = kafka.security.sasl.as_ref();
        match (tls.is_some(), sasl.is_some()) {
            (true, true) => drop(set("security.protocol", "sasl_ssl")),
            (true, false) => drop(set("security.protocol", "ssl")),
            (false, true) => drop(set("security.protocol", "sasl_plaintext")),
            (false, false) => {}
        }
        if let Some(tls) = tls {
            let files = [
                ("ssl.ca.location", &tls.ca),
                ("ssl.certificate.location", &tls.certificate),
                ("ssl.key.location", &tls.key),
            ];
            for (name, path) in files {
                if let Some(path) = path {
                    set(name, &self.folder.join(path).display().to_string());
                }
            }
            if let Some(password) = &tls.key_password {
                set("ssl.key.password", password.reveal());
            }
        }
        if let Some(sasl) = sasl {
            let mechanism = match sasl.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            set("sasl.mechanism", mechanism);
            set("sasl.username", &sasl.username);
            set("sasl.password", sasl.password.reveal());
        }
        let further = kafka.properties.iter();
        all.extend(further.map(|(name, Property(value))| (name.clone(), value.clone())));
        all
    }

    fn source(
        &self,
        source: &SourceSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<SourceRoute, Fault> {
        let SourceSection { name, common, connector, options } = source.clone();
        let mut declared = catalogue.sources.iter();
        let declaration = declared.find(|source| source.name == connector);
        let build = declaration.map(|source| source.build).ok_or_else(|| unknown(&connector))?;
        let setup = self.setup(&name, None, Some(&common.to), shared);
        let key = common.key;
        let factory = move || build(options.clone(), key.clone(), &setup);
        Ok(SourceRoute { name, build: Box::new(factory), to: common.to })
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
            to: common.to.clone(),
            steps,
            key,
            start: common.start.map(start),
            on_error: policy(common.on_error),
        })
    }

    /// The steps of a processor, built, in the order in which they apply.
    pub(super) fn steps(
        &self,
        processor: &ProcessorSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<Vec<Box<dyn crate::Processor>>, Fault> {
        let (from, to) = (processor.common.from.as_str(), processor.common.to.as_str());
        let setup = self.setup(&processor.name, Some(from), Some(to), shared);
        let build = |(name, options): &(String, _)| {
            let declaration = catalogue.processors.iter().find(|step| step.name == name);
            let step = declaration.ok_or_else(|| unknown(name))?;
            (step.build)(serde_json::Value::clone(options), &setup)
        };
        processor.steps.iter().map(build).collect()
    }

    /// The key that a processor gives to what it writes, if it gives one.
    pub(super) fn key(&self, processor: &ProcessorSection) -> Result<Option<Key>, Fault> {
        let Some(key) = &processor.common.key else { return Ok(None) };
        let written = self.topics.get(&processor.common.to).and_then(|topic| topic.schema.as_ref());
        let input = written.map_or_else(|| Input::from(&any_object()), Input::from);
        let route = format!("{}/{}", self.name, processor.name);
        Key::compile(&route, key, input).map(Some)
    }

    fn sink(
        &self,
        sink: &SinkSection,
        catalogue: &Catalogue,
        shared: &Shared,
    ) -> Result<SinkRoute, Fault> {
        let SinkSection { name, common, connector, connection, options } = sink;
        let declaration = catalogue.sinks.iter().find(|declared| declared.name == connector);
        let declared = declaration.ok_or_else(|| unknown(connector))?;
        let setup = self.setup(name, Some(&common.from), None, shared);
        Ok(SinkRoute {
            name: name.clone(),
            from: common.from.clone(),
            sink: (declared.build)(connection.clone(), options.clone(), &setup)?,
            options: sink_options(common),
        })
    }
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
        OnError::Stop => Policy::Stop,
    }
}

fn auth(registry: &Registry) -> Auth {
    match (&registry.username, &registry.password, &registry.bearer) {
        (_, _, Some(token)) => Auth::Bearer(token.reveal().to_owned()),
        (Some(user), password, None) => Auth::Basic {
            user: user.clone(),
            password: password
                .as_ref()
                .map(|secret| secret.reveal().to_owned())
                .unwrap_or_default(),
        },
        _ => Auth::None,
    }
}
