import java.io.IOException;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;

/** Connect's converter of orders in Avro to their JSON, the body that a call has. Reads `order.avsc`, the schema's path. */
public final class AvroText implements Converter {
    private ThreadLocal<Wire> wires;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        Schema order = AvroStruct.schema(settings);
        wires = ThreadLocal.withInitial(() -> new Wire(order, null, 0));
    }

    @Override
    public byte[] fromConnectData(String topic, org.apache.kafka.connect.data.Schema schema, Object value) {
        throw new DataException("it reads only");
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] payload) {
        try {
            String json = Json.text(wires.get().read(payload));
            return new SchemaAndValue(org.apache.kafka.connect.data.Schema.STRING_SCHEMA, json);
        } catch (IOException error) {
            throw new DataException(error);
        }
    }
}
