import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;

/** Records of Avro as JSON and back: decimals as text, times as ISO 8601. */
final class Json {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private Json() {}

    static String text(GenericRecord record) {
        StringBuilder json = new StringBuilder(1024);
        append(json, record);
        return json.toString();
    }

    static GenericRecord record(Schema schema, byte[] json) throws IOException {
        return (GenericRecord) value(schema, MAPPER.readTree(json));
    }

    private static Object value(Schema schema, JsonNode node) {
        switch (schema.getType()) {
            case RECORD:
                GenericRecord record = new GenericData.Record(schema);
                for (Schema.Field field : schema.getFields()) {
                    record.put(field.pos(), value(field.schema(), node.path(field.name())));
                }
                return record;
            case ARRAY:
                List<Object> items = new ArrayList<>(node.size());
                node.forEach(item -> items.add(value(schema.getElementType(), item)));
                return items;
            case UNION:
                if (node.isNull() || node.isMissingNode()) {
                    return null;
                }
                return value(schema.getTypes().stream().filter(one -> one.getType() != Schema.Type.NULL).findFirst().get(), node);
            case BYTES:
                int scale = ((LogicalTypes.Decimal) schema.getLogicalType()).getScale();
                return ByteBuffer.wrap(new BigDecimal(node.asText()).setScale(scale).unscaledValue().toByteArray());
            case LONG:
                return Instant.parse(node.asText()).toEpochMilli();
            default:
                return node.asText();
        }
    }

    static void append(StringBuilder json, GenericRecord record) {
        char before = '{';
        for (Schema.Field field : record.getSchema().getFields()) {
            json.append(before).append('"').append(field.name()).append("\":");
            append(json, field.schema(), record.get(field.pos()));
            before = ',';
        }
        json.append('}');
    }

    static void append(StringBuilder json, Schema schema, Object value) {
        if (value == null) {
            json.append("null");
        } else if (value instanceof GenericRecord inner) {
            append(json, inner);
        } else if (value instanceof Iterable<?> items) {
            char before = '[';
            for (Object item : items) {
                json.append(before);
                append(json, schema.getElementType(), item);
                before = ',';
            }
            json.append(before == '[' ? "[]" : "]");
        } else if (value instanceof ByteBuffer bytes) {
            int scale = ((LogicalTypes.Decimal) schema.getLogicalType()).getScale();
            BigInteger unscaled =
                new BigInteger(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
            json.append('"').append(new BigDecimal(unscaled, scale).toPlainString()).append('"');
        } else if (value instanceof Long millis) {
            json.append('"').append(java.time.Instant.ofEpochMilli(millis)).append('"');
        } else {
            quote(json, value.toString());
        }
    }

    private static void quote(StringBuilder json, String text) {
        json.append('"');
        for (int at = 0; at < text.length(); at++) {
            char c = text.charAt(at);
            if (c == '"' || c == '\\') {
                json.append('\\').append(c);
            } else if (c < ' ') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        json.append('"');
    }
}
