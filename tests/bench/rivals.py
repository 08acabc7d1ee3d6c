"""The rivals: each fetched from its registry and built at its first use, in target/bench."""

import subprocess
from functools import cached_property

from machinery import HERE, ROOT

SOURCES = HERE / "rivals"


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, **options)


def jars_of(project, folder):
    """The jars that a pom.xml names, in a folder that stays."""
    mark = folder / ".complete"
    if not mark.exists() or mark.stat().st_mtime < (project / "pom.xml").stat().st_mtime:
        run("mvn", "-q", "-B", "-f", project / "pom.xml", "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={folder}")
        mark.touch()
    return folder


def classes_of(sources, jars, folder):
    folder.mkdir(parents=True, exist_ok=True)
    run("javac", "-nowarn", "-cp", f"{jars}/*", "-d", folder, *sources)
    return folder


class Rivals:
    """Where each is, once it is built."""

    def __init__(self, target):
        self.target = target

    @cached_property
    def java(self):
        """Kafka's client, Kafka Streams and Apache Camel: their class path."""
        jars = jars_of(SOURCES / "java", self.target / "jars/java")
        classes = classes_of(sorted((SOURCES / "java/src").glob("*.java")), jars, self.target / "classes/java")
        return f"{classes}:{jars}/*"

    @cached_property
    def connect(self):
        """Kafka Connect's worker with its converters: its class path, and the folder of its connectors."""
        jars = jars_of(SOURCES / "connect/worker", self.target / "jars/worker")
        sources = [SOURCES / "java/src/Wire.java", SOURCES / "java/src/Json.java"]
        sources += sorted((SOURCES / "connect/src").glob("*.java"))
        classes = classes_of(sources, jars, self.target / "classes/connect")
        # Each alone in a folder: the worker looks through all jars of the one that it is given.
        plugins = self.target / "plugins"
        for name in ("camel-http", "debezium"):
            jars_of(SOURCES / "connect" / name, plugins / name / name)
        return f"{classes}:{jars}/*", plugins

    @cached_property
    def benthos(self):
        binary = self.target / "benthos"
        run("go", "build", "-o", binary, ".", cwd=SOURCES / "benthos")
        return binary

    @cached_property
    def mq_bridge(self):
        """A release of the smallest program around its library. It has a folder of its own: it builds librdkafka too."""
        run("nice", "cargo", "build", "--release", "--quiet", "--target-dir", self.target / "mq-bridge",
            cwd=SOURCES / "mq-bridge")
        return self.target / "mq-bridge/release/bench-mq-bridge"

    @cached_property
    def node_red(self):
        """The folder that holds its program and its flow."""
        folder = self.target / "node-red"
        folder.mkdir(parents=True, exist_ok=True)
        package = SOURCES / "nodered/package.json"
        if not (folder / "package.json").exists() or (folder / "package.json").read_text() != package.read_text():
            (folder / "package.json").write_text(package.read_text())
            run("npm", "install", "--silent", "--omit=dev", cwd=folder)
        return folder


def passerelle(environment, target):
    """The release binary that is measured, and the tool."""
    binary = environment.get("PASSERELLE_TEST_BINARY")
    if binary is None:
        run("cargo", "build", "--workspace", "--release", cwd=ROOT)
        binary = f"{environment.get('CARGO_TARGET_DIR', ROOT / 'target')}/release/passerelle"
    run("cargo", "build", "--release", "--quiet", "--target-dir", target / "tool", cwd=HERE / "tool")
    return binary, target / "tool/release/bench-tool"
