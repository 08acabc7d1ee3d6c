//! How far topics reach, asked beside those who read them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::iter;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::ends::Measured;
use super::login::Login;
use super::{offsets, reader};
use crate::{Fault, clock};

/// Many routes ask at about the same time: what comes within this is one question to the brokers.
const GATHER: Duration = Duration::from_millis(50);
/// How long brokers have to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long they have for one topic that is in doubt. (The first of them has as long as all others: a slow
/// answer is one, too.)
const DOUBTED: Duration = Duration::from_millis(250);
/// Once so much time went for topics in doubt, the rest of them waits for the next question.
const ALL_DOUBTED: Duration = Duration::from_millis(500);
/// How often what librdkafka has to say is heard: nobody else takes it out of its queue.
const HEAR: Duration = Duration::from_secs(1);
/// So many of its words are heard at once, at most.
const WORDS: usize = 100;

/// Asks where partitions end, with a client and a thread of its own, for all the readers of a cluster. Asked
/// with a reader's client, a question stands in line behind the fetch that waits for the next event, and
/// who waits for the answer reads nothing meanwhile.
#[derive(Clone)]
pub struct Survey(Sender<Question>);

/// Where do these partitions end?
struct Question {
    topic: Arc<str>,
    partitions: Vec<i32>,
    answer: Sender<Measured>,
}

impl Survey {
    /// Connects in the background; ends once nobody can ask any more.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting, an `Internal` one without a thread.
    pub fn new(cluster: &Cluster) -> Result<Self, Fault> {
        let client = reader::client(cluster, "preparing to measure how far topics reach")?;
        let (sender, questions) = mpsc::channel();
        let mut surveyor = Surveyor { client, doubted: VecDeque::new() };
        let spawned = thread::Builder::new().name("survey".to_owned()).spawn(move || {
            loop {
                match questions.recv_timeout(HEAR) {
                    Ok(first) => {
                        thread::sleep(GATHER);
                        surveyor.answer(iter::once(first).chain(questions.try_iter()).collect());
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                surveyor.hear();
            }
        });
        spawned.map_err(|error| {
            let message = format!("No thread to measure how far topics reach: {error}.");
            Fault::internal("thread", message)
        })?;
        Ok(Self(sender))
    }

    /// Asks; what is received is the answer, or that there is none.
    pub fn ask(&self, topic: &Arc<str>, partitions: Vec<i32>) -> Receiver<Measured> {
        let (answer, receiver) = mpsc::channel();
        let question = Question { topic: Arc::clone(topic), partitions, answer };
        // Should the thread be gone, so is the question, and whoever asked learns it.
        drop(self.0.send(question));
        receiver
    }
}

struct Surveyor {
    client: BaseConsumer<Login>,
    /// Topics that may be why a question was not answered, e.g. for want of a leader: each is asked for by
    /// itself, those that failed last at the end, so that no topic keeps the others' answers back.
    doubted: VecDeque<Arc<str>>,
}

impl Surveyor {
    /// Answers what can be answered now; who gets no answer asks again.
    fn answer(&mut self, questions: Vec<Question>) {
        let (mut doubted, sound): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|question| self.doubted.contains(&question.topic));
        if self.ask(&sound, TIMEOUT).is_err() {
            let topics: BTreeSet<_> = sound.iter().map(|question| &question.topic).collect();
            self.doubted.extend(topics.into_iter().cloned());
            doubted.extend(sound);
        }
        let (started, mut timeout) = (Instant::now(), TIMEOUT);
        for topic in self.doubted.clone() {
            let these: Vec<_> =
                doubted.extract_if(.., |question| question.topic == topic).collect();
            if these.is_empty() {
                continue;
            }
            if started.elapsed() > ALL_DOUBTED {
                break;
            }
            let answered = self.ask(&these, timeout);
            timeout = DOUBTED;
            self.doubted.retain(|other| *other != topic);
            if let Err(error) = answered {
                tracing::debug!(%error, %topic, "how far the topic reaches could not be measured");
                self.doubted.push_back(topic);
            }
        }
    }

    /// Logs what the client has to say.
    fn hear(&self) {
        (0..WORDS).for_each(|_| drop(self.client.poll(Duration::ZERO)));
    }

    fn ask(&self, questions: &[Question], timeout: Duration) -> KafkaResult<()> {
        if questions.is_empty() {
            return Ok(());
        }
        let all = questions.iter().flat_map(|question| {
            question.partitions.iter().map(|partition| (&*question.topic, *partition))
        });
        let mut list = TopicPartitionList::new();
        for (topic, partition) in all.collect::<BTreeSet<_>>() {
            list.add_partition_offset(topic, partition, Offset::End)?;
        }
        let at = clock::unix_millis();
        let ends = offsets::seen(&self.client, list, timeout)?;
        for question in questions {
            question.tell(at, &ends);
        }
        Ok(())
    }
}

impl Question {
    /// An answer tells of all partitions, or is none.
    fn tell(&self, at: i64, ends: &HashMap<(String, i32), i64>) {
        let end = |partition: &i32| {
            let end = ends.get(&(self.topic.to_string(), *partition))?;
            Some((*partition, *end))
        };
        let ends: Option<BTreeMap<_, _>> = self.partitions.iter().map(end).collect();
        if let Some(ends) = ends {
            // Whoever asked may be gone.
            drop(self.answer.send(Measured { at, ends }));
        }
    }
}
