//! Consumer groups: who owns which partition, and who is in them.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rdkafka::{Offset, consumer::Consumer as _, error::RDKafkaErrorCode};
use tests::{
    admin::{Admin, unique},
    cluster::Cluster,
    consumer::{Member, commit, committed, consumer},
    deadline::eventually,
    producer::Producer,
    record::Record,
};

use crate::wire::Connection;

const PARTITIONS: i32 = 6;

/// A topic of six partitions, written to, and the members of a group that reads it.
struct Group<'c> {
    cluster: &'c Cluster,
    settings: Vec<(&'static str, &'static str)>,
    topic: String,
    name: String,
    written: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl<'c> Group<'c> {
    fn new(cluster: &'c Cluster, strategy: &'static str) -> Self {
        let topic = Admin::new(cluster.address()).topic("grouped", PARTITIONS, &[]);
        let settings = vec![
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "500"),
        ];
        let (written, seen) = (BTreeSet::new(), BTreeSet::new());
        Self { cluster, settings, topic, name: unique("group"), written, seen }
    }

    fn join(&self) -> Member {
        Member::join(self.cluster.address(), &self.name, &self.topic, &self.settings)
    }

    fn join_static(&self, instance: &str) -> Member {
        let mut settings = self.settings.clone();
        settings.push(("group.instance.id", instance));
        Member::join(self.cluster.address(), &self.name, &self.topic, &settings)
    }

    /// Writes some records to each partition.
    fn write(&mut self) {
        let producer = Producer::new(self.cluster.address(), &[]);
        for partition in 0..PARTITIONS {
            let value = |number| format!("{partition}/{}/{number}", self.written.len());
            let values: Vec<_> = (0..20).map(value).collect();
            let records: Vec<_> = values.iter().map(|value| Record::of(value.as_str())).collect();
            producer.write(&self.topic, partition, &records);
            self.written.extend(values);
        }
    }

    /// Waits until each partition has one owner, and each member its share.
    fn settle(&self, members: &[&Member]) {
        let share = usize::try_from(PARTITIONS).unwrap() / members.len();
        eventually("each member owns its share, and none another's", || {
            let owned: Vec<_> = members.iter().map(|member| member.owned()).collect();
            let all: BTreeSet<_> = owned.iter().flatten().copied().collect();
            let fair = owned.iter().all(|owned| owned.len() == share);
            (fair && all == (0..PARTITIONS).collect()).then_some(())
        });
    }

    fn note(&mut self, member: &Member) {
        let seen = member.seen();
        self.seen.extend(seen.iter().filter_map(|seen| seen.record.text()).map(str::to_owned));
    }

    /// Waits until the members have seen all that was written.
    fn caught_up(&mut self, members: &[&Member]) {
        eventually("the group has seen every record", || {
            members.iter().for_each(|member| self.note(member));
            (self.seen == self.written).then_some(())
        });
    }
}

fn share_a_topic(cluster: &Cluster, strategy: &'static str) {
    let mut group = Group::new(cluster, strategy);
    group.write();
    let first = group.join();
    group.settle(&[&first]);
    let second = group.join();
    group.settle(&[&first, &second]);
    let third = group.join();
    group.settle(&[&first, &second, &third]);
    group.write();
    group.caught_up(&[&first, &second, &third]);

    group.write();
    group.note(&second);
    drop(second);
    group.settle(&[&first, &third]);
    group.note(&first);
    drop(first);
    group.settle(&[&third]);
    group.write();
    group.caught_up(&[&third]);
}

pub fn range_gives_every_partition_to_one_of_the_members(cluster: &mut Cluster) {
    share_a_topic(cluster, "range");
}

pub fn cooperative_sticky_gives_every_partition_to_one_of_the_members(cluster: &mut Cluster) {
    share_a_topic(cluster, "cooperative-sticky");
}

pub fn a_static_member_comes_back_to_its_partitions_without_a_rebalance(cluster: &mut Cluster) {
    let mut group = Group::new(cluster, "range");
    // Long enough to come back on the slowest machine.
    group.settings.push(("session.timeout.ms", "60000"));
    let (staying, restarted) = (group.join_static("staying"), group.join_static("restarted"));
    group.settle(&[&staying, &restarted]);
    let (rebalances, owned) = (staying.rebalances(), restarted.owned());

    restarted.leave();
    let restarted = group.join_static("restarted");
    eventually("it owns again what it owned", || (restarted.owned() == owned).then_some(()));
    group.write();
    group.caught_up(&[&staying, &restarted]);
    assert_eq!(staying.rebalances(), rebalances, "the other member noticed");
}

/// A static member says nothing when it ends, as one that was killed.
pub fn a_silent_members_partitions_go_to_another(cluster: &mut Cluster) {
    let mut group = Group::new(cluster, "range");
    let (staying, ended) = (group.join(), group.join_static("ended"));
    group.settle(&[&staying, &ended]);
    let end = Instant::now();
    ended.leave();
    group.settle(&[&staying]);
    // Its session is 6 s, and its last word may be older than its end.
    assert!(end.elapsed() > Duration::from_secs(3), "handed over after {:?}", end.elapsed());
    group.write();
    group.caught_up(&[&staying]);
}

pub fn a_second_process_of_one_instance_fences_the_first(cluster: &mut Cluster) {
    let mut group = Group::new(cluster, "range");
    let instance = ("group.instance.id", "one");
    let first = [&group.settings[..], &[instance, ("group.id", &group.name)]].concat();
    let first = consumer(cluster.address(), &first);
    first.subscribe(&[&group.topic]).unwrap();
    eventually("the first is a member", || {
        let _ = first.poll(Duration::from_millis(50));
        (first.assignment().unwrap().count() == 6).then_some(())
    });
    let second = group.join_static("one");
    eventually("the first is told that it is fenced", || {
        let _ = first.poll(Duration::from_millis(50));
        let (code, _) = first.client().fatal_error()?;
        assert_eq!(code, RDKafkaErrorCode::FencedInstanceId);
        Some(())
    });
    group.write();
    group.caught_up(&[&second]);
}

/// Who is no member commits only for groups without members: a zombie overwrites nothing.
pub fn only_members_commit_for_a_live_group(cluster: &mut Cluster) {
    const UNKNOWN_MEMBER_ID: i16 = 25;
    const ILLEGAL_GENERATION: i16 = 22;
    let mut group = Group::new(cluster, "range");
    let member = group.join();
    group.settle(&[&member]);
    group.write();
    group.caught_up(&[&member]);
    let outside = commit(cluster.address(), &group.name, &group.topic, 0, (1, "")).unwrap_err();
    let unknown = Some(RDKafkaErrorCode::UnknownMemberId);
    assert_eq!(outside.rdkafka_error_code(), unknown, "{outside}");

    let described = Admin::new(cluster.address()).groups(Some(&group.name));
    let id = described.groups()[0].members()[0].id().to_owned();
    let mut connection = Connection::open(cluster.address());
    let mut commit = |member: &str, generation| {
        connection.commit(&group.name, member, generation, &group.topic, 1)
    };
    assert_eq!(commit("nobody", 1), UNKNOWN_MEMBER_ID);
    assert_eq!(commit(&id, 0), ILLEGAL_GENERATION, "an old generation");
    assert_eq!(commit(&id, 1000), ILLEGAL_GENERATION, "one that is yet to come");
    eventually("what the member itself committed stays", || {
        let (offset, _) = committed(cluster.address(), &group.name, &group.topic, 0);
        (offset == Offset::Offset(20)).then_some(())
    });
}

pub fn a_group_is_described(cluster: &mut Cluster) {
    let mut group = Group::new(cluster, "range");
    group.settings.push(("client.id", "described"));
    let admin = Admin::new(cluster.address());
    let members = [group.join(), group.join()];
    group.settle(&members.each_ref());
    let described = admin.groups(Some(&group.name));
    let [info] = described.groups() else { panic!("one group was asked for") };
    assert_eq!((info.name(), info.state()), (group.name.as_str(), "Stable"));
    assert_eq!((info.protocol_type(), info.protocol()), ("consumer", "range"));
    assert_eq!(info.members().len(), 2);
    for member in info.members() {
        assert_eq!(member.client_id(), "described");
        assert!(member.id().starts_with("described-"), "{}", member.id());
        assert!(member.client_host().contains("127.0.0.1"), "{}", member.client_host());
        assert!(member.metadata().is_some() && member.assignment().is_some());
    }
    // Without a committed offset, an empty group would be forgotten.
    group.write();
    group.caught_up(&members.each_ref());
    drop(members);
    eventually("the group is empty", || {
        let described = admin.groups(Some(&group.name));
        (described.groups()[0].state() == "Empty").then_some(())
    });
    let all = admin.groups(None);
    assert!(all.groups().iter().any(|info| info.name() == group.name), "it is not listed");
}

pub fn a_group_is_deleted_once_it_is_empty(cluster: &mut Cluster) {
    let mut group = Group::new(cluster, "range");
    let admin = Admin::new(cluster.address());
    let member = group.join();
    group.settle(&[&member]);
    group.write();
    group.caught_up(&[&member]);
    assert_eq!(admin.delete_group(&group.name), Err(RDKafkaErrorCode::NonEmptyGroup));
    member.leave();
    eventually("an empty group is deleted", || admin.delete_group(&group.name).ok());
    assert_eq!(admin.delete_group(&group.name), Err(RDKafkaErrorCode::GroupIdNotFound));

    // Its offsets went with it: a new group of the name begins anew.
    group.seen.clear();
    let member = group.join();
    group.caught_up(&[&member]);
}
