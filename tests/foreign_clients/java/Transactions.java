import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;

/** Transactions. */
final class Transactions {
  private static final Object[] COMMITTED = {"isolation.level", "read_committed"};

  /** What is committed is read; what is aborted is not; what is neither holds back what follows. */
  static void committedAndAborted(Check c) throws Exception {
    String topic = c.topic("written", 1);
    TopicPartition partition = new TopicPartition(topic, 0);
    KafkaProducer<String, String> producer = c.transactional("writer");
    producer.initTransactions();
    producer.beginTransaction();
    c.says("write", () -> Check.write(producer, topic, 0, 3));
    KafkaConsumer<String, String> committed = c.consumer(COMMITTED);
    c.says("stable end while it is open", () -> committed.endOffsets(List.of(partition)).get(partition));
    c.says("end while it is open", () -> c.consumer().endOffsets(List.of(partition)).get(partition));
    c.says("read uncommitted", () -> c.read(topic, 0, 3).size());
    committed.assign(List.of(partition));
    c.says("read committed", () -> committed.poll(Duration.ofSeconds(1)).count());
    producer.commitTransaction();
    producer.beginTransaction();
    Check.write(producer, topic, 0, 2);
    producer.abortTransaction();
    producer.beginTransaction();
    Check.write(producer, topic, 0, 1);
    producer.commitTransaction();
    c.eventually("all is stable", () -> committed.endOffsets(List.of(partition)).get(partition) == 9);
    c.says("offsets committed", () -> c.read(topic, 0, 4, COMMITTED).stream().map(ConsumerRecord::offset).toList());
    c.says("offsets of all", () -> c.read(topic, 0, 6).stream().map(ConsumerRecord::offset).toList());
    producer.beginTransaction();
    c.says("commit nothing", () -> {
      producer.commitTransaction();
      return "ok";
    });
    KafkaProducer<String, String> long_ = c.transactional("long", "transaction.timeout.ms", 3_600_000);
    c.says("a timeout of an hour", () -> {
      long_.initTransactions();
      return "ok";
    });
  }

  /** A group's offsets are committed with what was made of the records. */
  static void offsets(Check c) throws Exception {
    String from = c.topic("in", 1), to = c.topic("out", 1), group = c.prefix + ".mover";
    TopicPartition partition = new TopicPartition(from, 0);
    Check.write(c.producer(), from, 0, 10);
    KafkaProducer<String, String> producer = c.transactional("mover");
    producer.initTransactions();
    KafkaConsumer<String, String> consumer =
        c.consumer("group.id", group, "isolation.level", "read_committed", "max.poll.records", 2);
    consumer.subscribe(List.of(from));
    for (boolean commit : new boolean[] {true, false, true}) {
      List<ConsumerRecord<String, String>> read = c.poll(consumer, 4);
      producer.beginTransaction();
      for (ConsumerRecord<String, String> record : read) producer.send(new ProducerRecord<>(to, record.value()));
      long next = read.get(read.size() - 1).offset() + 1;
      producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(next)), consumer.groupMetadata());
      if (commit) producer.commitTransaction();
      else producer.abortTransaction();
      // The client waits while an offset is not stable.
      c.says((commit ? "committed" : "aborted") + " at " + next,
          () -> consumer.committed(Set.of(partition)).get(partition).offset());
      if (!commit) consumer.seek(partition, consumer.committed(Set.of(partition)).get(partition));
    }
    c.says("moved", () -> c.read(to, 0, 8, COMMITTED).stream().map(ConsumerRecord::value).toList());
    producer.beginTransaction();
    c.says("offsets of a member that is none", () -> {
      producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(1)),
          new ConsumerGroupMetadata(group, 1, "nobody", Optional.empty()));
      producer.commitTransaction();
      return "ok";
    });
  }

  /** Of two producers of one transactional id, the older writes and commits nothing more. */
  static void zombies(Check c) throws Exception {
    String topic = c.topic("fenced", 1);
    KafkaProducer<String, String> older = c.transactional("writer");
    older.initTransactions();
    older.beginTransaction();
    Check.write(older, topic, 0, 1);
    KafkaProducer<String, String> newer = c.transactional("writer");
    newer.initTransactions();
    newer.beginTransaction();
    Check.write(newer, topic, 0, 2);
    c.says("the older writes", () -> Check.write(older, topic, 0, 1));
    c.says("the older commits", () -> {
      older.commitTransaction();
      return "ok";
    });
    newer.commitTransaction();
    c.says("committed", () -> c.read(topic, 0, 2, COMMITTED).stream().map(ConsumerRecord::offset).toList());
  }

  /** Transactions and producers are listed, described, fenced and aborted by an administrator. */
  static void administered(Check c) throws Exception {
    String topic = c.topic("described", 1), id = c.prefix + ".writer";
    TopicPartition partition = new TopicPartition(topic, 0);
    KafkaProducer<String, String> producer = c.transactional("writer", "transaction.timeout.ms", 30000);
    producer.initTransactions();
    producer.beginTransaction();
    Check.write(producer, topic, 0, 3);
    TransactionDescription open = c.admin.describeTransactions(List.of(id)).description(id).get();
    c.note("described", open.state() + " " + open.transactionTimeoutMs() + " ms in " + open.topicPartitions() + " by "
        + open.coordinatorId());
    c.says("a transaction that is not there", () -> c.admin.describeTransactions(List.of(c.prefix)).all().get());
    c.says("listed", () -> listed(c, id, new ListTransactionsOptions()));
    c.says("listed as complete", () ->
        listed(c, id, new ListTransactionsOptions().filterStates(List.of(TransactionState.COMPLETE_COMMIT))));
    c.says("listed as older than an hour", () ->
        listed(c, id, new ListTransactionsOptions().filterOnDuration(3_600_000)));
    ProducerState state = c.admin.describeProducers(List.of(partition)).partitionResult(partition).get()
        .activeProducers().get(0);
    c.note("producer", "last sequence " + state.lastSequence() + ", transaction from "
        + state.currentTransactionStartOffset() + ", the same " + (state.producerId() == open.producerId()));
    c.says("abort", () -> c.admin.abortTransaction(new AbortTransactionSpec(
        partition, state.producerId(), (short) state.producerEpoch(), state.coordinatorEpoch().orElse(0))).all().get());
    c.says("fence", () -> c.admin.fenceProducers(List.of(id)).all().get());
    c.says("commit", () -> {
      producer.commitTransaction();
      return "ok";
    });
  }

  private static Object listed(Check c, String id, ListTransactionsOptions options) throws Exception {
    return c.admin.listTransactions(options).all().get().stream()
        .filter(one -> one.transactionalId().equals(id)).map(TransactionListing::state).toList();
  }
}
