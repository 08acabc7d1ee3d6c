import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.Date;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.connect.data.Decimal;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.data.Timestamp;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;

/**
 * Connect's converter of orders in Avro to one row of a table: id, placed_at, currency, customer, total, note.
 * Reads `order.avsc`, the schema's path.
 */
public final class AvroStruct implements Converter {
    private static final org.apache.kafka.connect.data.Schema ROW = SchemaBuilder.struct().name("order")
        .field("id", org.apache.kafka.connect.data.Schema.STRING_SCHEMA)
        .field("placed_at", Timestamp.SCHEMA)
        .field("currency", org.apache.kafka.connect.data.Schema.STRING_SCHEMA)
        .field("customer", org.apache.kafka.connect.data.Schema.STRING_SCHEMA)
        .field("total", Decimal.schema(2))
        .field("note", org.apache.kafka.connect.data.Schema.OPTIONAL_STRING_SCHEMA)
        .build();
    private ThreadLocal<Wire> wires;

    static Schema schema(Map<String, ?> settings) {
        try {
            return Wire.schema(settings.get("order.avsc").toString());
        } catch (IOException error) {
            throw new DataException(error);
        }
    }

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        Schema order = schema(settings);
        wires = ThreadLocal.withInitial(() -> new Wire(order, null, 0));
    }

    @Override
    public byte[] fromConnectData(String topic, org.apache.kafka.connect.data.Schema schema, Object value) {
        throw new DataException("it reads only");
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] payload) {
        try {
            GenericRecord order = wires.get().read(payload);
            ByteBuffer total = (ByteBuffer) order.get("total");
            BigInteger cents =
                new BigInteger(total.array(), total.arrayOffset() + total.position(), total.remaining());
            Object note = order.get("note");
            Struct row = new Struct(ROW)
                .put("id", order.get("id").toString())
                .put("placed_at", new Date((Long) order.get("placed_at")))
                .put("currency", order.get("currency").toString())
                .put("customer", ((GenericRecord) order.get("customer")).get("id").toString())
                .put("total", new BigDecimal(cents, 2))
                .put("note", note == null ? null : note.toString());
            return new SchemaAndValue(ROW, row);
        } catch (IOException error) {
            throw new DataException(error);
        }
    }
}
