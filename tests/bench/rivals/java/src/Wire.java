import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;

/** Confluent's wire format, with everything that can be used again used again. One for each thread. */
final class Wire {
    private final GenericDatumReader<GenericRecord> reader;
    private final GenericDatumWriter<GenericRecord> writer;
    private final byte[] header;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream(1024);
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;

    Wire(Schema read, Schema written, int id) {
        reader = new GenericDatumReader<>(read);
        writer = written == null ? null : new GenericDatumWriter<>(written);
        header = ByteBuffer.allocate(5).put((byte) 0).putInt(id).array();
    }

    static Schema schema(String path) throws IOException {
        return new Schema.Parser().parse(Files.readString(Path.of(path)));
    }

    GenericRecord read(byte[] payload) throws IOException {
        decoder = DecoderFactory.get().binaryDecoder(payload, 5, payload.length - 5, decoder);
        return reader.read(null, decoder);
    }

    byte[] write(GenericRecord record) throws IOException {
        out.reset();
        out.write(header, 0, header.length);
        encoder = EncoderFactory.get().directBinaryEncoder(out, encoder);
        writer.write(record, encoder);
        return out.toByteArray();
    }
}
