//! The topics: what there is, by name and by id, and the logs of their partitions.

mod catalogue;
pub(crate) mod name;
pub(crate) mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kafka_protocol::error::ResponseError;
use uuid::Uuid;

use self::{
    catalogue::{Catalogue, Entry},
    settings::{Overrides, resolve},
};
use crate::{
    error::{BrokerError, doing},
    log::{Log, LogConfig, Syncer},
    refusal::{Outcome, Refusal},
};

/// The topic that holds the offsets of consumer groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that holds the state of transactions.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// Producer ids reserved at a time: a restart skips what is left of them.
const PRODUCER_BLOCK: i64 = 1000;

/// A partition of a topic.
#[derive(Debug)]
pub(crate) struct Partition {
    pub index: i32,
    /// The log, or why it could not be opened.
    log: Result<Log, Refusal>,
}

impl Partition {
    /// The log.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` if it could not be opened.
    pub fn log(&self) -> Outcome<&Log> {
        self.log.as_ref().map_err(Refusal::clone)
    }
}

/// A topic, as of some moment: changes make another.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub name: String,
    pub id: Uuid,
    /// What it sets itself.
    pub overrides: Overrides,
    /// By index.
    pub partitions: Vec<Arc<Partition>>,
}

impl Topic {
    /// A partition.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is none of that index.
    pub fn partition(&self, index: i32) -> Outcome<&Arc<Partition>> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
            .ok_or_else(|| Refusal::unknown_partition(&self.name, index))
    }

    /// Whether the broker itself writes it, and nobody else.
    pub fn is_internal(&self) -> bool {
        [OFFSETS_TOPIC, TRANSACTIONS_TOPIC].contains(&&*self.name)
    }

    /// Keeps clients from changing what the broker itself writes.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION` if it is such a topic.
    pub fn refuse_internal(&self) -> Outcome<()> {
        if self.is_internal() {
            return Err(Refusal::new(
                ResponseError::InvalidTopicException,
                format!("topic {} is the broker's own", self.name),
            ));
        }
        Ok(())
    }

    fn entry(&self) -> Entry {
        Entry {
            name: self.name.clone(),
            id: self.id.to_string(),
            partitions: self.partitions.len().try_into().unwrap_or(i32::MAX),
            settings: self.overrides.clone(),
        }
    }
}

/// The topics as of some moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct View {
    /// By name.
    pub by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl View {
    /// The topic of a name.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is none.
    pub fn named(&self, name: &str) -> Outcome<&Arc<Topic>> {
        self.by_name.get(name).ok_or_else(|| Refusal::unknown_topic(name))
    }

    /// The topic of an id.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_ID` if there is none.
    pub fn identified(&self, id: Uuid) -> Outcome<&Arc<Topic>> {
        self.by_id.get(&id).ok_or_else(|| {
            Refusal::new(
                ResponseError::UnknownTopicId,
                format!("no topic of this broker has the id {id}"),
            )
        })
    }

    /// The topic of a name, or of an id if the name is empty.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(&self, name: &str, id: Uuid) -> Outcome<&Arc<Topic>> {
        if name.is_empty() && !id.is_nil() { self.identified(id) } else { self.named(name) }
    }

    fn put(&mut self, topic: Arc<Topic>) {
        self.by_id.insert(topic.id, Arc::clone(&topic));
        self.by_name.insert(topic.name.clone(), topic);
    }

    fn partitions(&self) -> usize {
        self.by_name.values().map(|topic| topic.partitions.len()).sum()
    }
}

/// What a topic is to be created with.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub name: String,
    pub partitions: i32,
    pub overrides: Overrides,
}

/// The topics of a broker. Reading is cheap; what changes them does blocking file I/O.
#[derive(Debug)]
pub(crate) struct Topics {
    directory: PathBuf,
    pub cluster: String,
    pub defaults: LogConfig,
    most_partitions: usize,
    syncer: Syncer,
    view: RwLock<Arc<View>>,
    producers: Mutex<ProducerIds>,
}

/// Producer ids: given out up to the number reserved in the catalogue. Held by whoever writes the
/// catalogue.
#[derive(Debug)]
struct ProducerIds {
    next: i64,
    reserved: i64,
}

/// The folder of all topics' folders.
fn folder(directory: &Path) -> PathBuf {
    directory.join("topics")
}

impl Topics {
    /// Opens every topic of a folder. A log that cannot be opened is no error: its partition says
    /// so, and the others serve.
    ///
    /// # Errors
    /// If the catalogue cannot be used.
    pub fn open(
        directory: &Path,
        defaults: &LogConfig,
        most_partitions: usize,
        syncer: Syncer,
    ) -> Result<Self, BrokerError> {
        let catalogue = Catalogue::load(directory)?;
        let topics = Self {
            directory: directory.to_owned(),
            cluster: catalogue.cluster.clone(),
            defaults: defaults.clone(),
            most_partitions,
            syncer,
            view: RwLock::default(),
            producers: Mutex::new(ProducerIds {
                next: catalogue.next_producer,
                reserved: catalogue.next_producer,
            }),
        };
        let mut view = View::default();
        for entry in catalogue.topics {
            view.put(Arc::new(topics.open_topic(entry)?));
        }
        topics.remove_orphans(&view)?;
        topics.save(&view, catalogue.next_producer)?;
        topics.publish(view);
        Ok(topics)
    }

    fn open_topic(&self, entry: Entry) -> Result<Topic, BrokerError> {
        let wrong = |reason: String| BrokerError::Catalogue {
            path: self.directory.clone(),
            reason: format!("topic {}: {reason}", entry.name),
        };
        let id = entry.id.parse().map_err(|error: uuid::Error| wrong(error.to_string()))?;
        let config =
            resolve(&self.defaults, &entry.settings).map_err(|refusal| wrong(refusal.message))?;
        let partitions =
            (0..entry.partitions).map(|index| self.open_partition(id, index, &config)).collect();
        Ok(Topic { name: entry.name, id, overrides: entry.settings, partitions })
    }

    fn open_partition(&self, id: Uuid, index: i32, config: &LogConfig) -> Arc<Partition> {
        let path = self.topic_folder(id).join(index.to_string());
        let log = Log::open(&path, config.clone(), &self.syncer).map_err(|error| {
            tracing::error!(log = %path.display(), %error, "the partition cannot be opened");
            Refusal::new(ResponseError::KafkaStorageError, error.to_string())
        });
        Arc::new(Partition { index, log })
    }

    fn topic_folder(&self, id: Uuid) -> PathBuf {
        folder(&self.directory).join(id.to_string())
    }

    /// Removes what a crash in the middle of creating or deleting a topic left.
    fn remove_orphans(&self, view: &View) -> Result<(), BrokerError> {
        let folder = folder(&self.directory);
        fs::create_dir_all(&folder).map_err(doing("create", &folder))?;
        for entry in fs::read_dir(&folder).map_err(doing("list", &folder))?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok());
            if id.is_some_and(|id| !view.by_id.contains_key(&id)) {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(doing("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The topics as of now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn publish(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    fn save(&self, view: &View, next_producer: i64) -> Result<(), BrokerError> {
        let topics = view.by_name.values().map(|topic| topic.entry()).collect();
        Catalogue::new(self.cluster.clone(), next_producer, topics).save(&self.directory)
    }

    /// Makes a change: what `change` returns is on disk before anyone sees it.
    fn change<T>(&self, change: impl FnOnce(&mut View) -> Outcome<T>) -> Outcome<T> {
        let producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut view = View::clone(&self.view());
        let made = change(&mut view)?;
        self.save(&view, producers.reserved)?;
        self.publish(view);
        Ok(made)
    }

    /// A producer id never given before.
    ///
    /// # Errors
    /// If no more can be reserved on disk.
    pub fn producer_id(&self) -> Outcome<i64> {
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        if producers.next == producers.reserved {
            let reserved = producers.reserved + PRODUCER_BLOCK;
            self.save(&self.view(), reserved)?;
            producers.reserved = reserved;
        }
        producers.next += 1;
        Ok(producers.next - 1)
    }

    /// Whether a topic could be created as asked, and the configuration it would have.
    ///
    /// # Errors
    /// What is wrong with the name, the number of partitions or the configuration.
    pub fn check(&self, creation: &Creation) -> Outcome<LogConfig> {
        name::check(&creation.name)?;
        let view = self.view();
        if view.by_name.contains_key(&creation.name) {
            return Err(Refusal::new(
                ResponseError::TopicAlreadyExists,
                format!("topic {} already exists", creation.name),
            ));
        }
        if creation.partitions < 1 {
            return Err(invalid_partitions(format!(
                "topic {}: {} partitions, at least 1 is needed",
                creation.name, creation.partitions
            )));
        }
        self.check_room(&view, creation.partitions)?;
        resolve(&self.defaults, &creation.overrides)
    }

    fn check_room(&self, view: &View, more: i32) -> Outcome<()> {
        let now = view.partitions();
        if now + usize::try_from(more).unwrap_or_default() > self.most_partitions {
            return Err(invalid_partitions(format!(
                "{more} partitions more would make {}, the limit of this broker is {}",
                now + usize::try_from(more).unwrap_or_default(),
                self.most_partitions
            )));
        }
        Ok(())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// As [`check`](Self::check), or if the disk is full or fails: there is no topic then.
    pub fn create(&self, creation: Creation) -> Outcome<Arc<Topic>> {
        let id = Uuid::new_v4();
        let created = self.change(|view| {
            let config = self.check(&creation)?;
            let Creation { name, partitions, overrides } = creation;
            let partitions = self.open_new(id, 0..partitions, &config)?;
            let topic = Arc::new(Topic { name, id, overrides, partitions });
            view.put(Arc::clone(&topic));
            Ok(topic)
        });
        if created.is_err() {
            // Whether or not it had begun: the next start would remove it too.
            let _ = fs::remove_dir_all(self.topic_folder(id));
        }
        created
    }

    fn open_new(
        &self,
        id: Uuid,
        indices: std::ops::Range<i32>,
        config: &LogConfig,
    ) -> Outcome<Vec<Arc<Partition>>> {
        let folder = self.topic_folder(id);
        fs::create_dir_all(&folder).map_err(doing("create", &folder))?;
        indices
            .map(|index| {
                let partition = self.open_partition(id, index, config);
                partition.log()?;
                Ok(partition)
            })
            .collect()
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// If there is none, it is the broker's own, or the disk fails: the topic stays then.
    pub fn delete(&self, name: &str) -> Outcome<()> {
        let topic = self.change(|view| {
            let topic = Arc::clone(view.named(name)?);
            topic.refuse_internal()?;
            view.by_name.remove(name);
            view.by_id.remove(&topic.id);
            Ok(topic)
        })?;
        self.remove(&topic);
        Ok(())
    }

    /// Removes a deleted topic's files; the next start removes what is left.
    fn remove(&self, topic: &Topic) {
        for log in topic.partitions.iter().filter_map(|partition| partition.log().ok()) {
            if let Err(error) = log.remove() {
                tracing::warn!(topic = topic.name, %error, "remove a deleted topic's log");
            }
        }
        let folder = self.topic_folder(topic.id);
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!(topic = topic.name, folder = %folder.display(), %error,
                "remove a deleted topic's folder");
        }
    }

    /// Whether a topic could be given this many partitions.
    ///
    /// # Errors
    /// What is wrong with the number.
    pub fn check_partitions(&self, name: &str, count: i32) -> Outcome<()> {
        let view = self.view();
        let topic = view.named(name)?;
        topic.refuse_internal()?;
        let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if count <= now {
            return Err(invalid_partitions(format!(
                "topic {name} has {now} partitions, which can only grow; {count} were asked for"
            )));
        }
        self.check_room(&view, count - now)
    }

    /// Adds partitions to a topic, up to a count.
    ///
    /// # Errors
    /// As [`check_partitions`](Self::check_partitions), or if the disk fails.
    pub fn add_partitions(&self, name: &str, count: i32) -> Outcome<()> {
        self.change(|view| {
            self.check_partitions(name, count)?;
            let mut topic = Topic::clone(view.named(name)?);
            let config = resolve(&self.defaults, &topic.overrides)?;
            let first = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            topic.partitions.extend(self.open_new(topic.id, first..count, &config)?);
            view.put(Arc::new(topic));
            Ok(())
        })
    }

    /// Puts other settings in force: what `make` makes of those there are.
    ///
    /// # Errors
    /// If there is no such topic, a setting is wrong, or the disk fails.
    pub fn configure(
        &self,
        name: &str,
        validate_only: bool,
        make: impl FnOnce(&mut Overrides) -> Outcome<()>,
    ) -> Outcome<()> {
        if validate_only {
            return self.altered(&self.view(), name, make).map(|_| ());
        }
        let (topic, config) = self.change(|view| {
            let (topic, config) = self.altered(view, name, make)?;
            view.put(Arc::clone(&topic));
            Ok((topic, config))
        })?;
        for log in topic.partitions.iter().filter_map(|partition| partition.log().ok()) {
            log.set_config(config.clone());
        }
        Ok(())
    }

    /// A topic with other settings, and the configuration that they make.
    fn altered(
        &self,
        view: &View,
        name: &str,
        make: impl FnOnce(&mut Overrides) -> Outcome<()>,
    ) -> Outcome<(Arc<Topic>, LogConfig)> {
        let mut topic = Topic::clone(view.named(name)?);
        make(&mut topic.overrides)?;
        let config = resolve(&self.defaults, &topic.overrides)?;
        Ok((Arc::new(topic), config))
    }

    /// Closes every log: the next start need not recover them.
    pub fn close(&self) {
        self.view().by_name.values().for_each(|topic| close(topic));
    }
}

fn close(topic: &Topic) {
    for partition in &topic.partitions {
        if let Err(error) = partition.log().and_then(|log| Ok(log.close()?)) {
            tracing::warn!(topic = topic.name, partition = partition.index, %error,
                "the log will be recovered at the next start");
        }
    }
}

fn invalid_partitions(message: String) -> Refusal {
    Refusal::new(ResponseError::InvalidPartitions, message)
}
