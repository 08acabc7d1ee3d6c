import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.kafka.KafkaConstants;
import org.apache.camel.main.Main;

/**
 * Webhooks to a topic with Camel, answered once Kafka has acknowledged, and from there to an address if one is given:
 * PORT KAFKA TOPIC ORDER.AVSC ORDER_ID [URL]. It keeps no window of ids, as Passerelle does: it does less.
 */
public final class CamelWebhook extends RouteBuilder {
    private final String port;
    private final String kafka;
    private final String topic;
    private final Schema order;
    private final int id;

    private CamelWebhook(String port, String kafka, String topic, Schema order, int id) {
        this.port = port;
        this.kafka = kafka;
        this.topic = topic;
        this.order = order;
        this.id = id;
    }

    public static void main(String[] given) throws Exception {
        Schema order = Wire.schema(given[3]);
        Main main = new Main();
        main.configure().addRoutesBuilder(
            new CamelWebhook(given[0], given[1], given[2], order, Integer.parseInt(given[4])));
        if (given.length > 5) {
            main.configure().addRoutesBuilder(new CamelHttp(given[1], given[2], given[5], order, 4, given[2]));
        }
        main.run();
    }

    @Override
    public void configure() {
        ThreadLocal<Wire> wires = ThreadLocal.withInitial(() -> new Wire(order, order, id));
        fromF("netty-http:http://127.0.0.1:%s/shop?httpMethodRestrict=POST", port)
            .process(exchange -> {
                GenericRecord record = Json.record(order, exchange.getMessage().getBody(byte[].class));
                exchange.getMessage().removeHeaders("*");
                exchange.getMessage().setHeader(
                    KafkaConstants.KEY, ((GenericRecord) record.get("customer")).get("id").toString());
                exchange.getMessage().setBody(wires.get().write(record));
            })
            .toF("kafka:%s?brokers=%s&requestRequiredAcks=all&enableIdempotence=true&compressionCodec=lz4&lingerMs=0"
                + "&valueSerializer=org.apache.kafka.common.serialization.ByteArraySerializer", topic, kafka)
            .process(exchange -> {
                exchange.getMessage().removeHeaders("*");
                exchange.getMessage().setHeader(Exchange.HTTP_RESPONSE_CODE, 200);
                exchange.getMessage().setBody("{}");
            });
    }
}
