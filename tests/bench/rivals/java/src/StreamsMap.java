import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;

/** Orders to sales with Kafka Streams: KAFKA FROM TO ORDER.AVSC SALE.AVSC SALE_ID THREADS GUARANTEE FOLDER */
public final class StreamsMap {
    private final Schema sale;
    private final Schema party;
    private final Schema address;
    private final Schema line;

    private StreamsMap(Schema sale) {
        this.sale = sale;
        party = sale.getField("party").schema();
        address = party.getField("address").schema();
        line = sale.getField("lines").schema().getElementType();
    }

    public static void main(String[] given) throws Exception {
        Schema order = Wire.schema(given[3]);
        Schema sale = Wire.schema(given[4]);
        int id = Integer.parseInt(given[5]);
        StreamsMap map = new StreamsMap(sale);
        ThreadLocal<Wire> wires = ThreadLocal.withInitial(() -> new Wire(order, sale, id));
        StreamsBuilder builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream(given[1]).mapValues(payload -> {
            try {
                Wire wire = wires.get();
                return wire.write(map.apply(wire.read(payload)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }).to(given[2]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams-" + given[2]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, given[6]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, given[7]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[8]);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.producerPrefix("compression.type"), "lz4");
        settings.put(StreamsConfig.producerPrefix("linger.ms"), "5");
        settings.put(StreamsConfig.producerPrefix("batch.size"), "131072");
        settings.put(StreamsConfig.producerPrefix("acks"), "all");
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.poll.records"), "5000");
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private GenericRecord apply(GenericRecord order) {
        GenericRecord customer = (GenericRecord) order.get("customer");
        GenericRecord from = (GenericRecord) customer.get("address");
        GenericRecord to = new GenericData.Record(address);
        for (String field : List.of("street", "city", "postal_code", "country")) {
            to.put(field, from.get(field));
        }
        GenericRecord buyer = new GenericData.Record(party);
        buyer.put("code", customer.get("id"));
        buyer.put("name", customer.get("name"));
        buyer.put("email", customer.get("email"));
        buyer.put("address", to);
        @SuppressWarnings("unchecked")
        List<GenericRecord> lines = (List<GenericRecord>) order.get("lines");
        BigDecimal total = BigDecimal.ZERO;
        for (GenericRecord each : lines) {
            total = total.add(decimal(each, "quantity", 4).multiply(decimal(each, "unit_price", 2)));
        }
        GenericRecord record = new GenericData.Record(sale);
        record.put("web_id", order.get("id"));
        record.put("date", (int) Math.floorDiv((long) order.get("placed_at"), 86_400_000L));
        record.put("currency", order.get("currency"));
        record.put("party", buyer);
        record.put("lines", lines.stream().map(this::line).collect(Collectors.toList()));
        record.put("total", ByteBuffer.wrap(total.setScale(2).unscaledValue().toByteArray()));
        record.put("reference", order.get("note"));
        return record;
    }

    private GenericRecord line(GenericRecord order) {
        GenericRecord record = new GenericData.Record(line);
        record.put("product", order.get("sku"));
        record.put("quantity", order.get("quantity"));
        record.put("unit_price", order.get("unit_price"));
        return record;
    }

    private static BigDecimal decimal(GenericRecord record, String field, int scale) {
        ByteBuffer bytes = (ByteBuffer) record.get(field);
        return new BigDecimal(
            new BigInteger(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining()), scale);
    }
}
