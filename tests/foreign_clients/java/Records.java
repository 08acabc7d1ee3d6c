import java.util.*;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.*;

/** Records are written and read. */
final class Records {
  /** Each kind of acknowledgement is given, with the offset if any is told. */
  static void acknowledgements(Check c) throws Exception {
    String topic = c.topic("acknowledged", 1);
    for (String acks : List.of("0", "1", "all")) {
      for (boolean idempotent : new boolean[] {false, true}) {
        if (idempotent && !acks.equals("all")) continue;
        KafkaProducer<String, String> producer = c.producer("acks", acks, "enable.idempotence", idempotent);
        c.says("acks=" + acks + ", idempotent " + idempotent, () -> Check.write(producer, topic, 0, 3));
      }
    }
    c.note("read", c.read(topic, 0, 12).size());
  }

  /** What was compressed is read as it was written, with headers, without key or value. */
  static void codecs(Check c) throws Exception {
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      String topic = c.topic(codec, 1);
      KafkaProducer<String, String> producer = c.producer("compression.type", codec, "linger.ms", 20);
      Check.write(producer, topic, 0, 50);
      ProducerRecord<String, String> bare = new ProducerRecord<>(topic, 0, 12345L, null, (String) null);
      bare.headers().add("one", "ä".getBytes("UTF-8")).add("none", null);
      producer.send(bare).get();
      List<ConsumerRecord<String, String>> read = c.read(topic, 0, 51);
      for (int i = 0; i < 50; i++) Check.holds("they are in order", read.get(i).value().equals("value " + i));
      ConsumerRecord<String, String> last = read.get(50);
      c.note(codec, last.offset() + " " + last.timestampType() + " " + last.timestamp() + " " + last.key() + " "
          + last.value() + " " + last.headers() + " " + last.leaderEpoch());
    }
  }

  /** Many batches in flight are written once and in order. */
  static void idempotence(Check c) throws Exception {
    String topic = c.topic("ordered", 1);
    KafkaProducer<String, String> producer = c.producer("batch.size", 100, "max.in.flight.requests.per.connection", 5);
    c.says("last of 500", () -> Check.write(producer, topic, 0, 500));
    List<ConsumerRecord<String, String>> read = c.read(topic, 0, 500);
    for (int i = 0; i < 500; i++) Check.holds("they are in order", read.get(i).value().equals("value " + i));
  }

  /** What a topic does not take is refused, and what follows is taken. */
  static void refused(Check c) throws Exception {
    KafkaProducer<String, String> producer = c.producer();
    String small = c.topic("small", 1, "max.message.bytes", "1000");
    c.says("larger than max.message.bytes", () -> send(producer, small, null, "x".repeat(5000)));
    c.says("after it", () -> send(producer, small, null, "small"));
    String compacted = c.topic("compacted", 1, "cleanup.policy", "compact");
    c.says("without key, compacted", () -> send(producer, compacted, null, "value"));
    c.says("with key, compacted", () -> send(producer, compacted, "key", "value"));
    KafkaProducer<String, String> impatient = c.producer("max.block.ms", 3000);
    c.says("to a topic that is not there", () -> send(impatient, c.prefix + ".nowhere", "key", "value"));
    c.says("to a topic of an invalid name", () -> send(producer, "no/such", "key", "value"));
    c.says("to a partition that is not there",
        () -> impatient.send(new ProducerRecord<>(small, 7, "key", "value")).get().offset());
  }

  private static long send(Producer<String, String> producer, String topic, String key, String value) throws Exception {
    return producer.send(new ProducerRecord<>(topic, key, value)).get().offset();
  }
}
