"""What the contestants of a run share: the broker, the registry, topics and orders; and how each one is started."""

from dataclasses import dataclass, field
from functools import cached_property

from machinery import HERE, ROOT, free_port, register
from postgres import Postgres
from rivals import SOURCES

ORDER = ROOT / "schemas/events/order.avsc"
SALE = ROOT / "schemas/events/sale.avsc"
ROW = HERE / "rivals/connect/row.avsc"
KEYS = 1000

# Orders to sales: what the map of every contestant does.
MAP = r"""
      .web_id = .id
      .date = format_timestamp!(.placed_at, "%Y-%m-%d")
      .party = { "code": .customer.id, "name": .customer.name, "email": .customer.email, "address": .customer.address }
      .total = decimal_sum!(map_values(.lines) -> |line| { decimal_round!(decimal_multiply!(line.unit_price, line.quantity), 2) })
      .lines = map_values(.lines) -> |line| { { "product": line.sku, "quantity": line.quantity, "unit_price": line.unit_price } }
      .reference = .note
"""


@dataclass
class Run:
    """What one contestant reached in one run; `faults` are the reasons why it does not count."""

    value: float
    cpu: float
    peak: float
    more: dict = field(default_factory=dict)
    faults: list = field(default_factory=list)


class Around:
    """The broker and the registry that a run's contestants share."""

    def __init__(self, machinery, rivals, without, kafka, registry):
        self.machinery, self.rivals, self.kafka, self.registry = machinery, rivals, kafka, registry
        self.without = [word.lower() for word in without]

    def takes_part(self, name):
        """Whether nobody asked to leave this contestant out."""
        return not any(word in name.lower() for word in self.without)

    @cached_property
    def postgres(self):
        return Postgres(self.machinery)

    def end(self):
        """Ends what was begun here."""
        if "postgres" in self.__dict__:
            self.postgres.stop()

    def create(self, topic, partitions):
        self.machinery.kafka_tool(
            "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.kafka, "--create",
            "--topic", topic, "--partitions", str(partitions))

    def orders(self, topic, partitions, events, size, bad=0, json=0):
        """A topic full of orders; returns the bytes of one."""
        self.create(topic, partitions)
        schema = register(self.registry, f"{topic}-value", ORDER)
        said = self.machinery.ask(
            "orders", self.kafka, topic, "--events", events, "--bytes", size, "--schema", schema,
            "--keys", KEYS, "--bad", bad, "--json", json)
        return said["bytes_each"]

    def verified(self, topic, events, bad=0):
        """What is wrong with a topic that must hold each of so many orders once, in the order of its key."""
        found = self.machinery.ask("verify", self.kafka, topic, "--events", events, "--keys", KEYS, "--bad", bad)
        return [f"{count} {what}" for what, count in found.items() if what != "records" and count]

    def head(self, name):
        return (f"name: {name}\ndata: data\nkafka: {{ brokers: \"{self.kafka}\" }}\n"
                f"registry: {{ url: \"{self.registry}\" }}\n")

    def pipeline(self, name, yaml, head=None):
        """A folder with a pipeline and the schemas; its path and the address of its admin interface."""
        folder, admin = self.machinery.folder(name), f"127.0.0.1:{free_port()}"
        for schema in (ORDER, SALE, ROW):
            (folder / schema.name).write_text(schema.read_text())
        head = (self.head(name) if head is None else head) + f"admin: {{ listen: \"{admin}\" }}\n"
        (folder / "pipeline.yaml").write_text(head + yaml)
        return folder, f"http://{admin}"

    def passerelle(self, name, yaml):
        """`passerelle run` of a pipeline."""
        folder, _ = self.pipeline(name, yaml)
        return self.run_pipeline(folder)

    def run_pipeline(self, folder):
        return self.machinery.start("passerelle", [self.machinery.binary, "run", "pipeline.yaml"], folder)

    def java(self, name, main, *arguments, heap="512m"):
        return self.machinery.start(
            name, ["java", f"-Xmx{heap}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp",
                   self.rivals.java, main, *arguments])

    def connect(self, name, connectors, heap="512m"):
        """Kafka Connect's standalone worker with connectors: files of rivals/connect, and the values of their names."""
        classes, plugins = self.rivals.connect
        folder = self.machinery.folder(name)
        plugin = plugins / ("camel-http" if "http.properties" in connectors else "debezium")
        values = {"kafka": self.kafka, "plugins": plugin, "folder": folder, "rest": free_port(), "order": ORDER}

        def filled(file, more):
            text = (SOURCES / "connect" / file).read_text()
            for key, value in {**values, **more}.items():
                text = text.replace(f"@{key}@", str(value))
            (folder / file).write_text(text)
            return file

        files = [filled("worker.properties", {})] + [filled(file, more) for file, more in connectors.items()]
        running = self.machinery.start(
            "connect", ["java", f"-Xmx{heap}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes,
                        "org.apache.kafka.connect.cli.ConnectStandalone", *files], folder)
        running.rest = f"http://127.0.0.1:{values['rest']}"
        return running

    def node_red(self, port, target):
        program = self.rivals.node_red
        folder = self.machinery.folder("node-red")
        for file in ("flows.json", "settings.js"):
            (folder / file).write_text((SOURCES / "nodered" / file).read_text())
        return self.machinery.start(
            "node-red", ["node", program / "node_modules/node-red/red.js", "-u", folder, "-s", folder / "settings.js"],
            folder, PORT=str(port), TARGET=target)

    def tool(self, *words):
        return self.machinery.start(words[0], [self.machinery.tool, *words])
