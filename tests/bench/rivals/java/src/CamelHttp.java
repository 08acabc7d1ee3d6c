import org.apache.avro.Schema;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.Main;

/** Orders from a topic to an address with Camel: KAFKA FROM URL ORDER.AVSC CONSUMERS GROUP */
public final class CamelHttp extends RouteBuilder {
    private final String kafka;
    private final String topic;
    private final String url;
    private final Schema order;
    private final int consumers;
    private final String group;

    CamelHttp(String kafka, String topic, String url, Schema order, int consumers, String group) {
        this.kafka = kafka;
        this.topic = topic;
        this.url = url;
        this.order = order;
        this.consumers = consumers;
        this.group = group;
    }

    public static void main(String[] given) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder(
            new CamelHttp(given[0], given[1], given[2], Wire.schema(given[3]), Integer.parseInt(given[4]), given[5]));
        main.run();
    }

    @Override
    public void configure() {
        ThreadLocal<Wire> wires = ThreadLocal.withInitial(() -> new Wire(order, null, 0));
        fromF("kafka:%s?brokers=%s&groupId=%s&autoOffsetReset=earliest&consumersCount=%d"
            + "&valueDeserializer=org.apache.kafka.common.serialization.ByteArrayDeserializer"
            + "&maxPollRecords=2000&autoCommitEnable=true&autoCommitIntervalMs=1000",
            topic, kafka, group, consumers)
            .process(exchange -> {
                String json = Json.text(wires.get().read(exchange.getMessage().getBody(byte[].class)));
                exchange.getMessage().removeHeaders("*");
                exchange.getMessage().setHeader(Exchange.CONTENT_TYPE, "application/json");
                exchange.getMessage().setBody(json);
            })
            .toF("%s?httpMethod=POST&connectionsPerRoute=64&maxTotalConnections=128", url);
    }
}
