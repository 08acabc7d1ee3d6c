import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.*;

/** Consumer groups. */
final class Groups {
  private static final String ASSIGNOR = "partition.assignment.strategy";

  /** Partitions are shared among the members there are. */
  static void range(Check c) throws Exception {
    String topic = c.topic("shared", 4), group = c.prefix + ".range";
    Object[] range = {ASSIGNOR, RangeAssignor.class.getName()};
    Member one = Member.join(c, group, topic, range);
    Member.shared(c, List.of(4), one);
    Member two = Member.join(c, group, topic, range);
    Member.shared(c, List.of(2, 2), one, two);
    c.note("given up by the first", one.revoked);
    c.note("the first has", one.owned());
    one.leave();
    Member.shared(c, List.of(4), two);
    c.says("join with another assignor", () -> {
      Member other = Member.join(c, group, topic, ASSIGNOR, RoundRobinAssignor.class.getName());
      c.eventually("it is refused", () -> other.failure != null);
      throw other.failure;
    });
  }

  /** A cooperative member keeps what it need not give up. */
  static void cooperative(Check c) throws Exception {
    String topic = c.topic("shared", 4), group = c.prefix + ".cooperative";
    Object[] cooperative = {ASSIGNOR, CooperativeStickyAssignor.class.getName()};
    Member one = Member.join(c, group, topic, cooperative);
    Member.shared(c, List.of(4), one);
    Member two = Member.join(c, group, topic, cooperative);
    Member.shared(c, List.of(2, 2), one, two);
    c.note("given up by the first", one.revoked);
    two.leave();
    Member.shared(c, List.of(4), one);
    c.note("given up when the second leaves", one.revoked - 2);
  }

  /** A static member that comes back disturbs no other; of two of one name the older is fenced. */
  static void staticMembers(Check c) throws Exception {
    String topic = c.topic("shared", 4), group = c.prefix + ".static";
    Object[] range = {ASSIGNOR, RangeAssignor.class.getName(), "group.instance.id", "one"};
    Object[] two = {ASSIGNOR, RangeAssignor.class.getName(), "group.instance.id", "two"};
    Member first = Member.join(c, group, topic, range);
    Member.shared(c, List.of(4), first);
    Member second = Member.join(c, group, topic, two);
    Member.shared(c, List.of(2, 2), first, second);
    int before = first.revoked;
    second.leave();
    Member again = Member.join(c, group, topic, two);
    Member.shared(c, List.of(2, 2), first, again);
    c.note("given up by the first", first.revoked - before);
    Member usurper = Member.join(c, group, topic, two);
    c.eventually("the older hears of it", () -> again.failure != null);
    c.note("the older", Check.reason(again.failure));
    Member.shared(c, List.of(2, 2), first, usurper);
    first.leave();
    usurper.leave();
    c.says("remove", () -> c.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(
        List.of(new MemberToRemove("one"), new MemberToRemove("two")))).all().get());
  }

  /** What a group commits it finds again, and goes on from. */
  static void commits(Check c) throws Exception {
    String topic = c.topic("committed", 1), group = c.prefix + ".committed";
    TopicPartition partition = new TopicPartition(topic, 0);
    Check.write(c.producer(), topic, 0, 10);
    KafkaConsumer<String, String> one = c.consumer("group.id", group, "max.poll.records", 4);
    one.subscribe(List.of(topic));
    c.poll(one, 4);
    one.commitSync();
    KafkaConsumer<String, String> stranger = c.consumer("group.id", group);
    stranger.assign(List.of(partition));
    c.says("a stranger commits", () -> {
      stranger.commitSync(Map.of(partition, new OffsetAndMetadata(9)));
      return "ok";
    });
    one.close();
    KafkaConsumer<String, String> two = c.consumer("group.id", group);
    two.subscribe(List.of(topic));
    c.says("goes on at", () -> c.poll(two, 1).get(0).offset());
    two.commitSync(Map.of(partition, new OffsetAndMetadata(7, Optional.of(0), "näher")));
    c.says("committed", () -> two.committed(Set.of(partition)).get(partition));
    c.says("too much metadata", () -> {
      two.commitSync(Map.of(partition, new OffsetAndMetadata(7, "x".repeat(4097))));
      return "ok";
    });
  }

  /** The group protocol of KIP-848 is for brokers that have it. */
  static void newer(Check c) throws Exception {
    String topic = c.topic("newer", 1);
    Check.write(c.producer(), topic, 0, 1);
    KafkaConsumer<String, String> consumer = c.consumer("group.id", c.prefix + ".newer", "group.protocol", "consumer");
    consumer.subscribe(List.of(topic));
    c.says("group.protocol=consumer", () -> c.poll(consumer, 1).size() + " record");
  }

  /** Groups are listed, described, moved, and deleted once empty. */
  static void administered(Check c) throws Exception {
    String topic = c.topic("grouped", 4), group = c.prefix + ".grouped";
    TopicPartition partition = new TopicPartition(topic, 1);
    Check.write(c.producer(), topic, 1, 3);
    Member member = Member.join(c, group, topic, "client.id", "reader", ASSIGNOR, RangeAssignor.class.getName());
    Member.shared(c, List.of(4), member);
    c.says("listed", () -> c.admin.listGroups().all().get().stream().filter(one -> one.groupId().equals(group))
        .map(one -> one.type() + " " + one.protocol() + " " + one.groupState()).toList());
    ConsumerGroupDescription described =
        c.admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
    MemberDescription only = described.members().iterator().next();
    c.note("described", described.groupState() + " " + described.type() + " " + described.partitionAssignor() + " "
        + described.coordinator().id() + " " + only.clientId() + " " + only.host() + " "
        + only.assignment().topicPartitions().size());
    c.says("a group that is not there", () -> c.admin.describeConsumerGroups(List.of(c.prefix)).all().get());
    Map<TopicPartition, OffsetAndMetadata> to = Map.of(partition, new OffsetAndMetadata(2));
    c.says("move a live group", () -> c.admin.alterConsumerGroupOffsets(group, to).all().get());
    c.says("delete a live group", () -> c.admin.deleteConsumerGroups(List.of(group)).all().get());
    member.leave();
    c.eventually("it is empty", () -> c.admin.describeConsumerGroups(List.of(group)).all().get().get(group)
        .groupState() != GroupState.STABLE);
    c.says("move", () -> c.admin.alterConsumerGroupOffsets(group, to).all().get());
    c.says("offsets", () -> c.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
    c.says("delete offsets",
        () -> c.admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all().get());
    c.says("offsets after it", () -> c.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get());
    // Without offsets a group may be gone already.
    c.admin.alterConsumerGroupOffsets(group, to).all().get();
    for (String call : List.of("delete", "delete again")) {
      c.says(call, () -> c.admin.deleteConsumerGroups(List.of(group)).all().get());
    }
  }
}
