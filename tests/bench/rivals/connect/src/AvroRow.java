import java.io.IOException;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.OffsetDateTime;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.storage.Converter;

/** Connect's converter of rows, as Debezium reads them, to Avro. Reads `row.avsc`, the schema's path, and `schema.id`. */
public final class AvroRow implements Converter {
    private Schema row;
    private ThreadLocal<Wire> wires;

    @Override
    public void configure(Map<String, ?> settings, boolean isKey) {
        try {
            row = Wire.schema(settings.get("row.avsc").toString());
        } catch (IOException error) {
            throw new DataException(error);
        }
        int id = Integer.parseInt(settings.get("schema.id").toString());
        wires = ThreadLocal.withInitial(() -> new Wire(row, row, id));
    }

    @Override
    public byte[] fromConnectData(String topic, org.apache.kafka.connect.data.Schema schema, Object value) {
        Struct from = (Struct) value;
        if (from == null) {
            return null;
        }
        GenericRecord record = new GenericData.Record(row);
        for (Schema.Field field : row.getFields()) {
            record.put(field.pos(), avro(field.name(), from.get(field.name())));
        }
        try {
            return wires.get().write(record);
        } catch (IOException error) {
            throw new DataException(error);
        }
    }

    private static Object avro(String field, Object value) {
        if (value instanceof BigDecimal decimal) {
            return ByteBuffer.wrap(decimal.setScale(2).unscaledValue().toByteArray());
        }
        return field.equals("placed_at") ? OffsetDateTime.parse((String) value).toInstant().toEpochMilli() : value;
    }

    @Override
    public SchemaAndValue toConnectData(String topic, byte[] payload) {
        throw new DataException("it writes only");
    }
}
