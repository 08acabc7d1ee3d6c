"""Rows that end or begin with a call."""

import socket
import threading
import time

from around import KEYS, ORDER, Run
from contest import contest, measured
from machinery import free_port, patiently, register

# What Apache Camel reaches here on a quiet machine: a run below it was not on one.
CAMEL_AT_LEAST = 6_500
# Seconds of calls before those whose latency counts.
WARM_UP = 20


def called(around, events, start, delay=0, body="order"):
    """Measures what calls a target, and holds the calls to be all of them, once, in the order of their key."""
    port = free_port()
    meter = around.machinery.meter("target", "target", port, "--delay", delay, "--keys", KEYS)
    patiently("the target", lambda: listening(port), 10)
    run = measured(meter, start(f"http://127.0.0.1:{port}/"), events)
    time.sleep(0.3)
    count, late, unknown = meter.lines()[-1][1:4]
    run.faults += [f"{late:.0f} calls out of their key's order or repeated"] if late else []
    run.faults += [f"{unknown:.0f} calls without {body}"] if unknown else []
    return run


def to_http(around, runs, events, delay, concurrency, rivals):
    """topic → HTTP, a target that answers after so many milliseconds; the rivals get so many of the events."""
    source = f"orders-http-{delay}"
    each = around.orders(source, 4, events, 200)
    text = f"{source}-json"
    around.orders(text, 4, rivals, 200, json=1)

    def passerelle(run):
        def start(url):
            yaml = (
                f"connections:\n  target: {{ http: {{ url: \"{url}\", allow_private: true }} }}\n"
                f"topics:\n  {source}: {{ schema: order.avsc }}\n"
                f"sinks:\n  calls: {{ from: {source}, to: target, start: beginning, concurrency: {concurrency} }}\n")
            return around.passerelle(f"http-{delay}-{run}", yaml)
        return called(around, events, start, delay)

    def camel(run):
        done = called(around, rivals, lambda url: around.java(
            "camel", "CamelHttp", around.kafka, source, url, ORDER, 4, f"camel-{source}-{run}"), delay)
        if delay == 0 and done.value < CAMEL_AT_LEAST:
            done.faults.append(f"Camel made {done.value:,.0f} calls/s; on a quiet machine at least {CAMEL_AT_LEAST:,}: "
                               "the machine was busy, and no figure of this run counts")
        return done

    def connect(run):
        # Its group is named after the connector.
        return called(around, rivals, lambda url: around.connect(
            "connect", {"http.properties": {"topic": source, "url": url, "name": f"{source}-{run}"}}), delay)

    def benthos(run):
        return called(around, rivals, lambda url: around.machinery.start(
            "benthos", [around.rivals.benthos, around.kafka, source, url, ORDER, 4, f"benthos-{source}-{run}"]), delay)

    def mq_bridge(run):
        return called(around, rivals, lambda url: around.machinery.start(
            "mq-bridge", [around.rivals.mq_bridge, around.kafka, text, url, f"mq-bridge-{text}-{run}"]), delay)

    def bare(_run):
        """The same calls, of what is JSON already: nothing is read of it, and nothing kept."""
        return called(around, rivals, lambda url: around.tool(
            "carry", around.kafka, text, url, "--connections", concurrency), delay)

    contestants = {
        "Passerelle": passerelle,
        "Apache Camel 4.18, 4 consumers": camel,
        "Kafka Connect 4.3.1, Camel's sink, 4 tasks": connect,
        "Benthos 4.60, 4 streams": benthos,
        "mq-bridge 1.3, from JSON": mq_bridge,
    }
    # (With a slow target the limit is what so many connections can do.)
    if delay == 0:
        contestants[f"rdkafka and a bare client of {concurrency} connections, from JSON (the limit)"] = bare
    title = f"topic → HTTP, target of {delay} ms, order per key, {each} bytes, 4 partitions"
    return contest(around, title, contestants, runs, "calls/s")


def webhook_pipeline(topic, listen, target=None):
    yaml = (
        f"http: {{ listen: \"{listen}\" }}\ntopics:\n  {topic}: {{ partitions: 4, schema: order.avsc }}\n"
        f"sources:\n  shop:\n    webhook: {{ path: /shop, signature: none, id: {{ field: .id }} }}\n    to: {topic}\n    key: .customer.id\n")
    if target:
        yaml += (
            f"connections:\n  target: {{ http: {{ url: \"{target}\", allow_private: true }} }}\n"
            f"sinks:\n  calls: {{ from: {topic}, to: target, start: beginning, concurrency: 16 }}\n")
    return yaml


def listening(port):
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


class Shops:
    """What takes webhooks: each starts one that listens on a port, and calls a target if one is given."""

    def __init__(self, around):
        self.around = around

    def passerelle(self, topic, port, target=None):
        return self.around.passerelle(topic, webhook_pipeline(topic, f"127.0.0.1:{port}", target))

    def camel(self, topic, port, target=None):
        self.around.create(topic, 4)
        schema = register(self.around.registry, f"{topic}-value", ORDER)
        words = [port, self.around.kafka, topic, ORDER, schema] + ([target] if target else [])
        return self.around.java("camel", "CamelWebhook", *words)

    def node_red(self, _topic, port, target):
        return self.around.node_red(port, target)

    def started(self, start, topic, port, target=None):
        """One that listens and is at rest."""
        contestant = start(topic, port, target)
        patiently("the listener", lambda: contestant.alive() and listening(port), 300)
        time.sleep(3)
        return contestant


def quantiles(said):
    return {"p50 ms": said["p50"], "p99 ms": said["p99"], "p99.9 ms": said["p999"]} if said["count"] else {}


def webhooks(around, runs, calls, connections):
    """webhook → 2xx after Kafka's acknowledgement."""
    shops = Shops(around)

    def answered(topic, start):
        port = free_port()
        contestant = shops.started(start, topic, port)
        url = f"http://127.0.0.1:{port}/shop"
        common = ["--connections", connections, "--bytes", 200, "--keys", KEYS]
        around.machinery.ask("call", url, "--calls", calls // 4, *common)
        before, broker = contestant.cpu(), around.machinery.broker_cpu()
        said = around.machinery.ask("call", url, "--calls", calls, "--first", calls // 4, *common)
        cpu = (contestant.cpu() - before) / calls * 1e6
        more = {"broker's CPU s per million": (around.machinery.broker_cpu() - broker) / calls * 1e6}
        run = Run(said["rate"], cpu, contestant.peak_mb(), more | quantiles(said["answered"]))
        run.faults += [f"{said['refused']} calls refused"] if said["refused"] else []
        return run

    def kept(topic, start):
        """The calls that were answered 2xx are in the topic. (Calls of one key run at the same time: no order.)"""
        run = answered(topic, start)
        found = around.machinery.ask(
            "verify", around.kafka, topic, "--events", calls // 4 + calls, "--keys", KEYS, "--unordered", 1)
        run.faults += [f"{count} {what}" for what, count in found.items() if what != "records" and count]
        return run

    def bare(_topic, port, _target):
        return around.tool("answer", port)

    def writing(topic, port, _target):
        around.create(topic, 4)
        return around.tool("answer", port, around.kafka, "--topic", topic)

    def noting(topic, port, _target):
        for each, partitions in ((topic, 4), (f"{topic}-outcomes", 12)):
            around.create(each, partitions)
        return around.tool("answer", port, around.kafka, "--topic", topic, "--outcomes", f"{topic}-outcomes")

    contestants = {
        "Passerelle": lambda run: kept(f"webhook-{connections}-{run}", shops.passerelle),
        "Apache Camel 4.18, without a window of ids": lambda run: kept(f"webhook-camel-{connections}-{run}", shops.camel),
        "axum that writes what comes as it is, and an outcome (the limit with outcomes)": lambda run: answered(f"webhook-noted-{connections}-{run}", noting),
        "axum that writes what comes as it is (the limit with Kafka)": lambda run: answered(f"webhook-bare-{connections}-{run}", writing),
        "axum that answers at once (the limit)": lambda run: answered("", bare),
    }
    return contest(around, f"webhook → 2xx after Kafka's acknowledgement, {connections} connections", contestants, runs, "calls/s")


def latency(around, runs, rate, seconds):
    """webhook received → target called, open loop at a rate; without one, at half of what each reaches at most."""
    shops = Shops(around)

    def most(topic, start, calls=40_000):
        """Deliveries a second when as many come as it takes, once it has had half of them to get warm."""
        port, target = free_port(), free_port()
        meter = around.machinery.meter("target", "target", target, "--delay", 0, "--keys", KEYS)
        contestant = shops.started(start, topic, port, f"http://127.0.0.1:{target}/")
        # Calls that are answered before they are delivered pile up meanwhile: counted is what arrives.
        around.machinery.ask("call", f"http://127.0.0.1:{port}/shop", "--calls", calls, "--connections", 16,
                             "--bytes", 500, "--keys", KEYS)
        meter.until(calls, 120, contestant)
        begun = next(line for line in meter.lines() if line[1] >= calls * 0.5)
        end = next(line for line in meter.lines() if line[1] >= calls)
        around.machinery.stop_contestants()
        return (end[1] - begun[1]) / max(end[0] - begun[0], 0.1)

    def delivered(topic, start):
        at = rate or int(most(f"{topic}-most", start) / 2)
        port, target = free_port(), free_port()
        contestant = shops.started(start, topic, port, f"http://127.0.0.1:{target}/")
        # What runs on a JVM or on Node.js is fast only after a while: that does not count. (The target is one process
        # from the first call to the last: connections to one that is gone would be failures of the bench's own making.)
        warm, before = min(seconds, WARM_UP), []
        timer = threading.Timer(warm, lambda: before.append(contestant.cpu()))
        timer.start()
        said = around.machinery.ask("webhooks", f"http://127.0.0.1:{port}/shop", "--rate", at, "--bytes", 500, "--keys", KEYS,
                                    "--target", target, "--seconds", warm + seconds, "--warm-up", at * warm)
        timer.join()
        cpu = (contestant.cpu() - before[0]) / (at * seconds) * 1e6
        more = quantiles(said["delivered"])
        more["answered: p99 ms"] = said["answered"]["p99"]
        more |= {} if rate else {"calls/s": at}
        run = Run(more.pop("p50 ms", 0.0), cpu, contestant.peak_mb(), more)
        run.faults += [f"{said[what]} {what}" for what in ("refused", "missing", "repeated") if said[what]]
        return run

    def acknowledged(run):
        """What an answer cannot be faster than: the same records, written by nobody's webhook."""
        topic = f"latency-bare-{run}"
        around.create(topic, 4)
        schema = register(around.registry, f"{topic}-value", ORDER)
        said = around.machinery.ask("acknowledge", around.kafka, topic, "--rate", rate, "--seconds", seconds, "--bytes", 500,
                                    "--schema", schema, "--keys", KEYS, "--warm-up", rate * 2)["acknowledged"]
        return Run(said["p50"], 0, 0, {"p99 ms": said["p99"], "p99.9 ms": said["p999"], "answered: p99 ms": said["p99"]})

    kind = f"{rate or 'half'}"
    contestants = {
        "Passerelle": lambda run: delivered(f"latency-{kind}-{run}", shops.passerelle),
        "Apache Camel 4.18, through a topic too": lambda run: delivered(f"latency-camel-{kind}-{run}", shops.camel),
        "Node-RED 4.1.8, nothing kept": lambda run: delivered("", shops.node_red),
    }
    if rate:
        contestants["a bare record, written and acknowledged (the limit of an answer)"] = acknowledged
    load = f"{rate}/s" if rate else "half of its own most"
    title = f"webhook received → target called, {load}, open loop for {seconds} s, median"
    return contest(around, title, contestants, runs, "ms", less_is_better=True)
