//! Which instance runs a source that must run once: the one that its group gives the only partition
//! of `passerelle.owners` to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{oneshot, watch};

use super::cluster::Cluster;
use super::error::fault;
use super::offsets;
use crate::Fault;
use crate::dispatch::Commit;

/// The compacted topic of owners, one partition. Key: a source's full name; value: its cursor.
pub const OWNERS_TOPIC: &str = "passerelle.owners";

/// How long a poll may block: a question waits for it.
const POLL: Duration = Duration::from_millis(50);

/// How long until a member that librdkafka gave up is replaced. A break in the way to the brokers can
/// make a static member meet its own earlier request, and be refused for ever as another of its name;
/// where there is another, the two must not throw each other out again and again.
const ANEW: Duration = Duration::from_secs(5);

/// Whose a source is, as the group has said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The group has not said yet.
    Unknown,
    /// This process.
    Us,
    /// Another process.
    Another,
}

type Question = oneshot::Sender<Result<(), Fault>>;

/// A membership in the group of a source that must run once. Dropping it leaves the group.
pub struct Ownership {
    owner: watch::Receiver<Owner>,
    questions: mpsc::Sender<Question>,
    stop: Arc<AtomicBool>,
}

impl Ownership {
    /// Joins the source's group.
    ///
    /// # Errors
    /// A `Config` fault when librdkafka refuses a setting.
    pub fn join(
        cluster: &Cluster,
        group: &str,
        instance: Option<&str>,
        route: &Arc<str>,
    ) -> Result<Self, Fault> {
        let doing = format!("joining group {group}");
        let (sender, owner) = watch::channel(Owner::Unknown);
        let seat = Seat {
            settings: cluster.member(group, instance),
            doing: doing.clone(),
            route: Arc::clone(route),
            owner: sender,
        };
        let client = seat.take()?;
        let (questions, asked) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let hold = move || seat.hold(client, &asked, &stopping);
        let spawned = thread::Builder::new().name(format!("own {route}")).spawn(hold);
        spawned
            .map_err(|error| Fault::internal("thread", format!("No thread, {doing}: {error}.")))?;
        Ok(Self { owner, questions, stop })
    }

    /// Whose the source is, and when that changes.
    pub fn owner(&self) -> watch::Receiver<Owner> {
        self.owner.clone()
    }

    /// Asks the group whether the source is still ours: a process that was stopped may not know yet
    /// that it is another's.
    ///
    /// # Errors
    /// A `Remote` fault when it is not, or the brokers do not say so.
    pub async fn confirm(&self) -> Result<(), Fault> {
        let gone = || Fault::internal("ownership", "The thread of the group's member is gone.");
        let (sender, answer) = oneshot::channel();
        self.questions.send(sender).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

type Client = BaseConsumer<Context>;

/// A place in the group.
struct Seat {
    settings: ClientConfig,
    doing: String,
    route: Arc<str>,
    owner: watch::Sender<Owner>,
}

impl Seat {
    fn take(&self) -> Result<Client, Fault> {
        let failed = |error| fault(&self.doing, &error);
        let context = Context { route: Arc::clone(&self.route), owner: self.owner.clone() };
        let client: Client =
            BaseConsumer::from_config_and_context(&self.settings, context).map_err(failed)?;
        client.subscribe(&[OWNERS_TOPIC]).map_err(failed)?;
        Ok(client)
    }

    /// Is a member until it is told to stop.
    fn hold(&self, mut client: Client, asked: &mpsc::Receiver<Question>, stopping: &AtomicBool) {
        while !stopping.load(Ordering::Acquire) {
            // Nothing is read: the partition is paused. Errors pass by themselves, but for fatal ones.
            drop(client.poll(POLL));
            while let Ok(question) = asked.try_recv() {
                // Nobody waits any more when the source has been stopped.
                drop(Question::send(question, confirm(&client)));
            }
            if let Some((_, why)) = client.client().fatal_error() {
                tracing::warn!(route = &*self.route, why, "joins the group of its owners anew");
                self.owner.send_replace(Owner::Unknown);
                thread::sleep(ANEW);
                match self.take() {
                    Ok(taken) => client = taken,
                    Err(fault) => tracing::warn!(route = &*self.route, %fault, "it is tried again"),
                }
            }
        }
    }
}

struct Context {
    route: Arc<str>,
    owner: watch::Sender<Owner>,
}

/// A member that was thrown out is refused a commit.
fn confirm(client: &Client) -> Result<(), Fault> {
    let commit = Commit { partition: 0, offset: 0, metadata: String::new() };
    offsets::commit(client, OWNERS_TOPIC, &[commit])
        .map_err(|error| fault("confirming who runs the source", &error))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::error::log(level, facility, message);
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, client: &Client, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigns = matches!(event, RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        let result = match assigns {
            true => self.assign(client, list),
            false => self.revoke(client, list),
        };
        if let Err(error) = result {
            tracing::warn!(route = &*self.route, %error, "a change of owners was not taken in");
        }
    }
}

impl Context {
    fn assign(&self, client: &Client, list: &mut TopicPartitionList) -> KafkaResult<()> {
        let ours = list.count() > 0;
        list.set_all_offsets(Offset::End)?;
        match client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => client.incremental_assign(list)?,
            _ => client.assign(list)?,
        }
        client.pause(list)?;
        if ours {
            self.owner.send_replace(Owner::Us);
        } else {
            // An incremental assignment of nothing leaves what we have.
            self.owner.send_if_modified(|owner| {
                let first = *owner == Owner::Unknown;
                if first {
                    *owner = Owner::Another;
                }
                first
            });
        }
        Ok(())
    }

    fn revoke(&self, client: &Client, list: &TopicPartitionList) -> KafkaResult<()> {
        if list.count() > 0 {
            self.owner.send_replace(Owner::Another);
            if client.assignment_lost() {
                let route = &*self.route;
                tracing::warn!(
                    route,
                    "this instance was away for too long: another runs the source"
                );
            }
        }
        match client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => client.incremental_unassign(list),
            _ => client.unassign(),
        }
    }
}
