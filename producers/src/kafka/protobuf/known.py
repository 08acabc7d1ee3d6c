"""Writes known.pb: the files that Confluent's serializers take for known, and so register nowhere.

    python -m venv v && v/bin/pip install 'confluent-kafka[protobuf,schemaregistry]' googleapis-common-protos
    v/bin/python known.py

Those of google/protobuf are not among them: protox has them. (The list is that of `KNOWN_DEPENDENCIES` in
Confluent's ProtobufSchema.java.)
"""

from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

GOOGLE = [
    "calendar_period", "color", "date", "datetime", "dayofweek", "decimal", "expr", "fraction", "interval",
    "latlng", "localized_text", "money", "month", "phone_number", "postal_address", "quaternion", "timeofday",
]
MODULES = [f"google.type.{name}_pb2" for name in GOOGLE]
CONFLUENT = ["meta", "type.decimal", "type.variant", "types.decimal"]
MODULES += [f"confluent_kafka.schema_registry.confluent.{name}_pb2" for name in CONFLUENT]

known = FileDescriptorSet()
for module in MODULES:
    file = known.file.add()
    file.ParseFromString(import_module(module).DESCRIPTOR.serialized_pb)
Path(__file__).with_name("known.pb").write_bytes(known.SerializeToString(deterministic=True))
