import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.*;

/** One run of a case: what it works with, and what it saw. */
final class Check implements AutoCloseable {
  /** Bounds what must happen on a slow, busy machine; it measures nothing. */
  static final Duration GENEROUS = Duration.ofSeconds(60);

  interface Call {
    Object answer() throws Exception;
  }

  final String address;
  /** Begins the name of all it creates. */
  final String prefix;
  final Admin admin;
  final List<String> lines = new ArrayList<>();
  private final Deque<AutoCloseable> opened = new ArrayDeque<>();
  private final long until = System.nanoTime() + GENEROUS.toNanos();

  Check(String address, String name) {
    this.address = address;
    prefix = "java.%s.%08x".formatted(name, ThreadLocalRandom.current().nextInt());
    admin = closed(Admin.create(Map.of("bootstrap.servers", address)));
  }

  <C extends AutoCloseable> C closed(C client) {
    opened.push(client);
    return client;
  }

  @Override
  public void close() throws Exception {
    for (AutoCloseable client : opened) {
      // A transaction that is open need not be waited for.
      if (client instanceof Producer<?, ?> producer) producer.close(Duration.ZERO);
      else if (client instanceof Consumer<?, ?> consumer) consumer.close(CloseOptions.timeout(Duration.ofSeconds(1)));
      else client.close();
    }
  }

  /** Notes the answer to a call, or what it failed with. It is to be the same from every broker. */
  void says(String call, Call what) {
    try {
      note(call, what.answer());
    } catch (Exception failure) {
      note(call, reason(failure));
    }
  }

  void note(String call, Object answer) {
    String text = String.valueOf(answer).replace(prefix, "…").replace(address, "ADDRESS");
    lines.add(call + "\t" + oneLine(text));
  }

  /** Keeps a text on one line of one column. */
  static String oneLine(String text) {
    return text.replace('\n', ' ').replace('\t', ' ').replace('|', '/');
  }

  /** Names what went wrong. */
  static String reason(Throwable failure) {
    boolean wrapped = failure instanceof ExecutionException || failure.getClass() == KafkaException.class;
    return wrapped && failure.getCause() != null ? reason(failure.getCause()) : failure.getClass().getSimpleName();
  }

  /** Ends the case where something is not so that must be. */
  static void holds(String what, boolean so) {
    if (!so) throw new IllegalStateException("not so: " + what);
  }

  boolean late() {
    return System.nanoTime() > until;
  }

  /** Looks again and again until something is so. */
  void eventually(String what, Callable<Boolean> look) throws Exception {
    while (!look.call()) {
      if (late()) throw new IllegalStateException("waited in vain: " + what);
      Thread.sleep(50);
    }
  }

  /** Creates a topic, with names and values of settings in turn. */
  String topic(String name, int partitions, String... settings) throws Exception {
    String topic = prefix + "." + name;
    Map<String, String> configs = new HashMap<>();
    for (int i = 0; i < settings.length; i += 2) configs.put(settings[i], settings[i + 1]);
    admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
    eventually("the topic is known", () -> {
      try {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == partitions;
      } catch (ExecutionException unknown) {
        return false;
      }
    });
    return topic;
  }

  KafkaProducer<String, String> producer(Object... settings) {
    Map<String, Object> all = settings(settings, Map.of("retry.backoff.ms", 20));
    return closed(new KafkaProducer<>(all, new StringSerializer(), new StringSerializer()));
  }

  KafkaProducer<String, String> transactional(String id, Object... settings) {
    List<Object> all = new ArrayList<>(List.of(settings));
    all.addAll(List.of("transactional.id", prefix + "." + id));
    return producer(all.toArray());
  }

  KafkaConsumer<String, String> consumer(Object... settings) {
    Map<String, Object> all =
        settings(settings, Map.of("auto.offset.reset", "earliest", "enable.auto.commit", false));
    return closed(new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer()));
  }

  private Map<String, Object> settings(Object[] settings, Map<String, Object> defaults) {
    Map<String, Object> all = new HashMap<>(defaults);
    all.put("bootstrap.servers", address);
    for (int i = 0; i < settings.length; i += 2) all.put((String) settings[i], settings[i + 1]);
    return all;
  }

  /** Writes so many records to a partition: `key N` and `value N` from N = 0; returns the last offset. */
  static long write(Producer<String, String> producer, String topic, int partition, int count) throws Exception {
    Future<RecordMetadata> last = null;
    for (int i = 0; i < count; i++) {
      last = producer.send(new ProducerRecord<>(topic, partition, "key " + i, "value " + i));
    }
    producer.flush();
    return last.get().offset();
  }

  /** Reads so many records of a partition from its start. */
  List<ConsumerRecord<String, String>> read(String topic, int partition, int count, Object... settings) {
    KafkaConsumer<String, String> consumer = consumer(settings);
    consumer.assign(List.of(new TopicPartition(topic, partition)));
    consumer.seekToBeginning(consumer.assignment());
    return poll(consumer, count);
  }

  List<ConsumerRecord<String, String>> poll(Consumer<String, String> consumer, int count) {
    List<ConsumerRecord<String, String>> read = new ArrayList<>();
    while (read.size() < count) {
      if (late()) throw new IllegalStateException("read only " + read.size() + " records of " + count);
      consumer.poll(Duration.ofMillis(200)).forEach(read::add);
    }
    return read;
  }
}
