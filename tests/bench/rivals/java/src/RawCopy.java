import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Kafka's own Java client that reads and writes the same records with no work between, the limit on the JVM: KAFKA FROM TO */
public final class RawCopy {
    private RawCopy() {}

    public static void main(String[] given) {
        Properties reads = new Properties();
        reads.put("bootstrap.servers", given[0]);
        reads.put("group.id", "raw-" + given[2]);
        reads.put("auto.offset.reset", "earliest");
        reads.put("auto.commit.interval.ms", "1000");
        reads.put("max.poll.records", "5000");
        Properties writes = new Properties();
        writes.put("bootstrap.servers", given[0]);
        writes.put("acks", "all");
        writes.put("enable.idempotence", "true");
        writes.put("compression.type", "lz4");
        writes.put("linger.ms", "5");
        writes.put("batch.size", "131072");
        KafkaConsumer<byte[], byte[]> consumer =
            new KafkaConsumer<>(reads, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(writes, new ByteArraySerializer(), new ByteArraySerializer());
        consumer.subscribe(List.of(given[1]));
        while (true) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                producer.send(new ProducerRecord<>(given[2], record.key(), record.value()), (metadata, error) -> {
                    if (error != null) {
                        error.printStackTrace();
                        Runtime.getRuntime().halt(1);
                    }
                });
            }
        }
    }
}
