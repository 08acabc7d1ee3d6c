"""Confluent's Python client on the registry at the address given as the first argument."""

import json
import sys

from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

ORDER = """{"type": "record", "name": "Order", "namespace": "shop", "fields": [
    {"name": "id", "type": "string"}, {"name": "total", "type": "int"}]}"""
WITH_DEFAULT = ORDER.replace("]}", ', {"name": "note", "type": "string", "default": ""}]}')
BREAKING = ORDER.replace("]}", ', {"name": "paid", "type": "boolean"}]}')


def refused(status, code, call, *arguments, **options):
    """The call fails with this HTTP status and error code."""
    try:
        call(*arguments, **options)
    except SchemaRegistryError as error:
        assert (error.http_status_code, error.error_code) == (status, code), error
        assert error.error_message, error
        return error.error_message
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def registers(client):
    first = client.register_schema("shop/orders value", Schema(ORDER, "AVRO"))
    again = SchemaRegistryClient(client.config())
    assert again.register_schema("shop/orders value", Schema(ORDER, "AVRO")) == first
    assert again.register_schema("other", Schema(ORDER, "AVRO"), normalize_schemas=True) == first
    full = again.register_schema_full_response("third", Schema(ORDER, "AVRO"))
    assert full.guid and full.schema_id == first
    fresh = SchemaRegistryClient(client.config())
    assert json.loads(fresh.get_schema_by_guid(full.guid).schema_str) == json.loads(ORDER)
    assert json.loads(fresh.get_schema(first).schema_str) == json.loads(ORDER)
    second = client.register_schema("shop/orders value", Schema(WITH_DEFAULT, "AVRO"))
    assert second > first
    message = refused(409, 40901, client.register_schema, "shop/orders value", Schema(BREAKING, "AVRO"))
    assert "`paid` was added without a default" in message, message
    refused(422, 42201, client.register_schema, "x", Schema("{", "AVRO"))
    refused(422, 42201, client.register_schema, "x", Schema("{}", "JSON"))


def reads(client):
    subject = "shop/orders value"
    assert client.get_subjects() == ["other", subject, "third"]
    assert client.get_subjects(subject_prefix="oth") == ["other"]
    assert client.get_versions(subject) == [1, 2]
    latest = client.get_latest_version(subject)
    assert (latest.version, latest.subject) == (2, subject)
    first = client.get_version(subject, 1)
    found = client.lookup_schema(subject, Schema(ORDER, "AVRO"))
    assert (found.schema_id, found.version) == (first.schema_id, 1)
    assert client.get_subjects_by_schema_id(first.schema_id) == ["other", subject, "third"]
    versions = client.get_schema_versions(first.schema_id)
    assert [(v.subject, v.version) for v in versions] == [("other", 1), (subject, 1), ("third", 1)]
    assert client.get_schema_types() == ["AVRO"]
    refused(404, 40401, client.get_latest_version, "none")
    refused(404, 40402, client.get_version, subject, 9)
    refused(404, 40403, client.get_schema, 999)
    refused(404, 40403, client.lookup_schema, subject, Schema(BREAKING, "AVRO"))


def references(client):
    line = '{"type": "record", "name": "shop.Line", "fields": [{"name": "sku", "type": "string"}]}'
    cart = """{"type": "record", "name": "shop.Cart", "fields": [
        {"name": "lines", "type": {"type": "array", "items": "Line"}}]}"""
    client.register_schema("line", Schema(line, "AVRO"))
    used = [SchemaReference("shop.Line", "line", 1)]
    id = client.register_schema("cart", Schema(cart, "AVRO", references=used))
    assert client.get_referenced_by("line", 1) == [id]
    refused(422, 42206, client.delete_subject, "line")


def settles(client):
    assert client.get_compatibility() == "BACKWARD"
    refused(404, 40408, client.get_compatibility, "other")
    client.set_compatibility("other", "FULL")
    assert client.get_compatibility("other") == "FULL"
    assert client.get_config("other").compatibility_level == "FULL"
    client.delete_config("other")
    refused(404, 40408, client.get_compatibility, "other")
    refused(422, 42203, client.set_compatibility, "other", "SIDEWAYS")
    assert client.test_compatibility("shop/orders value", Schema(WITH_DEFAULT, "AVRO"))
    assert not client.test_compatibility("shop/orders value", Schema(BREAKING, "AVRO"))
    assert not client.test_compatibility_all_versions("shop/orders value", Schema(BREAKING, "AVRO"))
    assert client.get_global_mode() == "READWRITE"
    client.update_mode("other", "READONLY")
    assert client.get_mode("other") == "READONLY"
    refused(422, 42205, client.register_schema, "other", Schema(WITH_DEFAULT, "AVRO"))
    client.delete_mode("other")
    refused(404, 40409, client.get_mode, "other")


def deletes(client):
    assert client.delete_version("third", 1) == 1
    refused(404, 40401, client.get_versions, "third")
    assert client.get_subjects(deleted=True, subject_prefix="third") == ["third"]
    client.delete_subject("third", permanent=True)
    assert client.get_subjects(deleted=True, subject_prefix="third") == []
    refused(404, 40405, client.delete_subject, "other", permanent=True)
    assert client.delete_subject("other") == [1]


def serializes(client):
    """The serializers, with the id in the payload and in a header."""
    value = {"id": "order-0001", "total": 3}  # the deserializer refuses less than 6 bytes
    context = SerializationContext("orders", MessageField.VALUE)
    payload = AvroSerializer(client, ORDER)(value, context)
    assert payload[0] == 0
    assert AvroDeserializer(client)(payload, context) == value
    headers = []
    context = SerializationContext("orders", MessageField.VALUE, headers)
    options = {"schema.id.serializer": header_schema_id_serializer}
    payload = AvroSerializer(client, ORDER, conf=options)(value, context)
    assert headers[0][0] == "__value_schema_id", headers
    assert AvroDeserializer(client)(payload, context) == value


def main():
    client = SchemaRegistryClient({"url": sys.argv[1]})
    for step in (registers, reads, references, settles, deletes, serializes):
        step(client)
        print("passed:", step.__name__)


main()
