"""Writes what stands beside it in .bin and .json: messages as Google's Python encodes them, bare and by
Confluent's serializer, and what that serializer registers.

    python -m venv v && v/bin/pip install 'confluent-kafka[protobuf,schemaregistry]' grpcio-tools
    v/bin/python write.py

Or, for tests, writes a hundred orders to a topic (exits with 77 where a package is missing):

    v/bin/python write.py send BROKERS REGISTRY TOPIC
"""

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

try:
    from confluent_kafka import Producer
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext
    from google.protobuf import struct_pb2
    from google.type import date_pb2  # noqa: F401
    from grpc_tools import protoc
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

HERE = Path(__file__).parent


def modules(folder):
    """Compiles the .proto files; what protoc makes of them."""
    files = [str(file) for file in sorted((HERE / "shop").glob("*.proto"))]
    paths = [str(HERE), str(Path(protoc.__file__).parent / "_proto"), str(Path(struct_pb2.__file__).parents[2])]
    assert protoc.main(["", *[f"-I{path}" for path in paths], f"--python_out={folder}", *files]) == 0
    sys.path.insert(0, folder)
    return [import_module(f"shop.{name}_pb2") for name in ("order", "kinds")]


def order_of(order, id, customer):
    """An order, as tests expect it."""
    made = order.Order(id=id, currency="EUR", total="99.90", labels={"channel": "web"})
    made.placed_at.FromJsonString("2026-01-31T08:00:00.123Z")
    made.customer.id, made.customer.name, made.customer.email = customer, "Ada", "ada@example.com"
    address = made.customer.address
    address.street, address.city, address.postal_code, address.country = "1 rue A", "Lyon", "69001", "FR"
    made.lines.add(sku="A", quantity="2", unit_price="10.10", description="Bee")
    made.lines.add(sku="B", quantity="0.5", unit_price="159.40")
    made.note.value = "à emporter"
    return made


def kinds_of(kinds):
    made = kinds.Kinds(
        smallest=-(2**63), largest=2**64 - 1, fixed=2**63 - 1, small=-1, real=0.1, wide=0.1, flag=True,
        raw=b"\x00\xff", state=kinds.STATE_PAID, newer=9, numbers=[1, -2], voucher=7, chosen=0,
        price="12345678901234567.89",
    )
    made.parts[-5].name = "wheel"
    made.at.FromJsonString("1969-12-31T23:59:59.999999999Z")
    made.took.FromJsonString("-1.5s")
    made.counted.value = 2**53 + 1
    made.free.update({"a": [1, None, {"b": "c"}], "d": True})
    made.due.year, made.due.month, made.due.day = 2026, 2, 28
    return made


def compiled():
    with tempfile.TemporaryDirectory() as folder:
        return modules(folder)


def serializer(message, registry):
    return ProtobufSerializer(type(message), registry, {"use.deprecated.format": False})


def write():
    order, kinds = compiled()
    made = order_of(order, "O-1", "C-1")
    HERE.joinpath("order.bin").write_bytes(made.SerializeToString(deterministic=True))
    HERE.joinpath("kinds.bin").write_bytes(kinds_of(kinds).SerializeToString(deterministic=True))

    registry = SchemaRegistryClient.new_client({"url": "mock://"})
    context = SerializationContext("orders", MessageField.VALUE)
    for name, message in {"order": made, "line": made.lines[0], "refund": order.Refund(order="O-1")}.items():
        HERE.joinpath(f"{name}.confluent.bin").write_bytes(serializer(message, registry)(message, context))
    subjects = {}
    for subject in registry.get_subjects():
        latest = registry.get_latest_version(subject)
        references = latest.schema.references or []
        references = [{"name": r.name, "subject": r.subject, "version": r.version} for r in references]
        schema = {"schema": latest.schema.schema_str, "references": references}
        subjects[subject] = {"id": latest.schema_id, "schemaType": "PROTOBUF", **schema}
    HERE.joinpath("registered.json").write_text(json.dumps(subjects, indent=2) + "\n")


def send(brokers, registry, topic):
    order, _ = compiled()
    producer = Producer({"bootstrap.servers": brokers})
    serialize = serializer(order.Order(), SchemaRegistryClient({"url": registry}))
    context = SerializationContext(topic, MessageField.VALUE)
    for number in range(100):
        made = order_of(order, f"P-{number}", f"C-{number % 7}")
        producer.produce(topic, key=made.customer.id, value=serialize(made, context))
    assert producer.flush(30) == 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        send(*sys.argv[2:])
    else:
        write()
