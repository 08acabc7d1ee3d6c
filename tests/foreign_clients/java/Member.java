import java.time.Duration;
import java.util.*;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;

/** A member of a group that polls a topic, in a thread of its own, until it leaves. */
final class Member implements ConsumerRebalanceListener, AutoCloseable {
  private final KafkaConsumer<String, String> consumer;
  private final Thread thread;
  private final Set<Integer> owned = new TreeSet<>();
  private volatile boolean leaves;
  /** Counts the partitions it was asked to give up, one by one. */
  volatile int revoked;
  volatile Exception failure;

  private Member(KafkaConsumer<String, String> consumer, String topic) {
    this.consumer = consumer;
    thread = new Thread(() -> poll(topic));
  }

  static Member join(Check c, String group, String topic, Object... settings) {
    List<Object> all = new ArrayList<>(List.of("group.id", group, "heartbeat.interval.ms", 200));
    all.addAll(List.of("session.timeout.ms", 6000));
    all.addAll(List.of(settings));
    Member member = c.closed(new Member(c.consumer(all.toArray()), topic));
    member.thread.start();
    return member;
  }

  private void poll(String topic) {
    try (consumer) {
      consumer.subscribe(List.of(topic), this);
      while (!leaves) consumer.poll(Duration.ofMillis(100));
    } catch (Exception failed) {
      failure = failed;
    }
  }

  @Override
  public synchronized void onPartitionsAssigned(Collection<TopicPartition> given) {
    given.forEach(partition -> owned.add(partition.partition()));
  }

  @Override
  public synchronized void onPartitionsRevoked(Collection<TopicPartition> taken) {
    revoked += taken.size();
    taken.forEach(partition -> owned.remove(partition.partition()));
  }

  synchronized List<Integer> owned() {
    return List.copyOf(owned);
  }

  /** Has it leave its group, unless it is a static member, and end. */
  void leave() throws InterruptedException {
    leaves = true;
    thread.join();
  }

  @Override
  public void close() throws InterruptedException {
    leave();
  }

  /** Waits until members have so many of four partitions each, and none twice. */
  static void shared(Check c, List<Integer> counts, Member... members) throws Exception {
    c.eventually("partitions are shared as " + counts, () -> {
      List<Integer> all = new ArrayList<>();
      for (int i = 0; i < members.length; i++) {
        List<Integer> owned = members[i].owned();
        if (owned.size() != counts.get(i)) return false;
        all.addAll(owned);
      }
      Collections.sort(all);
      return all.equals(IntStream.range(0, 4).boxed().toList());
    });
  }
}
