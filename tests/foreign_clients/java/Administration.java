import java.util.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** What an administrator asks for of topics and of the cluster. */
final class Administration {
  /** Topics are created, described, grown and deleted. */
  static void topics(Check c) throws Exception {
    String topic = c.prefix + ".one";
    NewTopic asked = new NewTopic(topic, 2, (short) 1).configs(Map.of("retention.ms", "86400000"));
    CreateTopicsResult created = c.admin.createTopics(List.of(asked));
    c.says("create", () -> created.numPartitions(topic).get() + " on " + created.replicationFactor(topic).get() + ", "
        + created.config(topic).get().get("retention.ms").value());
    c.says("create again", () -> c.admin.createTopics(List.of(asked)).all().get());
    c.says("two replicas", () ->
        c.admin.createTopics(List.of(new NewTopic(c.prefix + ".two", 1, (short) 2))).all().get());
    c.says("placed", () ->
        c.admin.createTopics(List.of(new NewTopic(c.prefix + ".placed", Map.of(0, List.of(1))))).all().get());
    c.says("placed elsewhere", () ->
        c.admin.createTopics(List.of(new NewTopic(c.prefix + ".far", Map.of(0, List.of(9))))).all().get());
    c.eventually("it is listed", () -> c.admin.listTopics().names().get().contains(topic));
    c.says("described", () -> c.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()
        .stream().map(of -> of.partition() + " " + of.leader().id() + " " + of.isr().size()).toList());
    Uuid id = c.admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
    c.says("described by id", () -> c.admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get()
        .get(id).name());
    c.says("grow", () -> c.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get());
    c.says("shrink", () -> c.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(1))).all().get());
    c.says("delete by id", () -> c.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get());
    c.says("delete again", () -> c.admin.deleteTopics(List.of(topic)).all().get());
  }

  /** Settings are described and altered one by one. */
  static void settings(Check c) throws Exception {
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, c.topic("set", 1, "retention.ms", "1000"));
    alter(c, "set", topic, "segment.bytes", "2097152", AlterConfigOp.OpType.SET);
    alter(c, "delete", topic, "retention.ms", "", AlterConfigOp.OpType.DELETE);
    alter(c, "append", topic, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
    alter(c, "subtract", topic, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
    alter(c, "append to what is no list", topic, "retention.ms", "1", AlterConfigOp.OpType.APPEND);
    alter(c, "wrong value", topic, "retention.ms", "tomorrow", AlterConfigOp.OpType.SET);
    alter(c, "unknown setting", topic, "retention.hours", "1", AlterConfigOp.OpType.SET);
    ConfigResource nowhere = new ConfigResource(ConfigResource.Type.TOPIC, c.prefix);
    alter(c, "of a topic that is not there", nowhere, "retention.ms", "1", AlterConfigOp.OpType.SET);
    c.eventually("it is described", () -> own(c, topic).equals("{cleanup.policy=compact, segment.bytes=2097152}"));
    c.says("described of a topic that is not there", () -> own(c, nowhere));
    ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
    c.says("the broker's can be described", () -> !c.admin.describeConfigs(List.of(broker)).all().get().isEmpty());
  }

  private static void alter(
      Check c, String call, ConfigResource of, String name, String value, AlterConfigOp.OpType how) {
    Collection<AlterConfigOp> ops = List.of(new AlterConfigOp(new ConfigEntry(name, value), how));
    c.says(call, () -> c.admin.incrementalAlterConfigs(Map.of(of, ops)).all().get());
  }

  /** What a topic sets itself. */
  private static String own(Check c, ConfigResource of) throws Exception {
    return c.admin.describeConfigs(List.of(of)).all().get().get(of).entries().stream()
        .filter(entry -> entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG)
        .collect(Collectors.toMap(ConfigEntry::name, ConfigEntry::value, (a, b) -> a, TreeMap::new)).toString();
  }

  /** The cluster and its folders are described. */
  static void cluster(Check c) throws Exception {
    String topic = c.topic("stored", 1);
    Check.write(c.producer(), topic, 0, 3);
    DescribeClusterResult described = c.admin.describeCluster();
    c.says("nodes", () -> described.nodes().get().stream().map(node -> node.id() + " at " + node.host() + ":" + node.port()).toList());
    c.says("controller", () -> described.controller().get().id());
    c.says("operations", () -> described.authorizedOperations().get());
    Check.holds("the cluster has an id", !described.clusterId().get().isEmpty());
    c.says("folders", () -> {
      LogDirDescription of = c.admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().iterator().next();
      ReplicaInfo stored = of.replicaInfos().get(new TopicPartition(topic, 0));
      return of.error() + " " + (stored.size() > 0) + " " + stored.isFuture() + " " + stored.offsetLag();
    });
    c.says("features", () -> c.admin.describeFeatures().featureMetadata().get().finalizedFeatures().keySet().stream().sorted().toList());
    c.says("transactions of version 2", () ->
        c.admin.describeFeatures().featureMetadata().get().finalizedFeatures().get("transaction.version"));
  }

  /** Offsets are found at the ends and by time; records are deleted before one. */
  static void offsets(Check c) throws Exception {
    String topic = c.topic("found", 1);
    TopicPartition partition = new TopicPartition(topic, 0);
    long base = System.currentTimeMillis() - 3_600_000;
    var producer = c.producer();
    for (int minute : new int[] {0, 20, 10, 30}) {
      producer.send(new org.apache.kafka.clients.producer.ProducerRecord<>(
          topic, 0, base + minute * 60_000L, "key", "value")).get();
    }
    Map<String, OffsetSpec> specs = new LinkedHashMap<>();
    specs.put("earliest", OffsetSpec.earliest());
    specs.put("latest", OffsetSpec.latest());
    specs.put("greatest time", OffsetSpec.maxTimestamp());
    specs.put("minute 5", OffsetSpec.forTimestamp(base + 300_000));
    specs.put("minute 31", OffsetSpec.forTimestamp(base + 1_860_000));
    specs.put("earliest local", OffsetSpec.earliestLocal());
    specs.put("latest tiered", OffsetSpec.latestTiered());
    for (var spec : specs.entrySet()) {
      c.says(spec.getKey(), () -> {
        var found = c.admin.listOffsets(Map.of(partition, spec.getValue())).partitionResult(partition).get();
        long minute = found.timestamp() < 0 ? -1 : (found.timestamp() - base) / 60_000;
        return found.offset() + " of minute " + minute + ", " + found.leaderEpoch();
      });
    }
    for (long before : new long[] {2, 1, 9, -2, -1}) {
      c.says("delete before " + before, () -> c.admin.deleteRecords(
          Map.of(partition, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(partition).get().lowWatermark());
    }
    c.says("earliest after it", () ->
        c.admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset());
  }

  /** What one node without security has no use for: no call waits in vain. */
  static void notServed(Check c) throws Exception {
    TopicPartition partition = new TopicPartition(c.topic("placed", 1), 0);
    c.says("describe ACLs", () -> c.admin.describeAcls(AclBindingFilter.ANY).values().get());
    c.says("describe quotas", () -> c.admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get());
    c.says("describe users", () -> c.admin.describeUserScramCredentials().all().get());
    c.says("list reassignments", () -> c.admin.listPartitionReassignments(Set.of(partition)).reassignments().get());
    c.says("elect leaders", () -> c.admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get());
    c.says("describe the quorum", () -> c.admin.describeMetadataQuorum().quorumInfo().get().leaderId());
    c.says("list what has settings", () ->
        c.admin.listConfigResources(Set.of(ConfigResource.Type.CLIENT_METRICS), new ListConfigResourcesOptions()).all().get());
  }
}
