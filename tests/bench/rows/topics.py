"""Rows that end in a topic, and the replay of one."""

import time

from around import KEYS, MAP, ORDER, SALE
from contest import contest, measured
from machinery import Meter, free_port, register

EXACTLY_ONCE = "    delivery: exactly_once\n    commit_every: 100ms\n"


def to_sale(source, to, partitions, more=""):
    """A pipeline that maps orders to sales."""
    return (f"topics:\n  {source}: {{ schema: order.avsc }}\n  {to}: {{ partitions: {partitions}, schema: sale.avsc }}\n"
            f"processors:\n  to_sale:\n    from: {source}\n    to: {to}\n    start: beginning\n{more}    map: |{MAP}")


def watched(around, topic, events, start, bad=0):
    """Measures what fills a topic, and holds it to have all of it, in order."""
    # Transactions' marks lie in the topic too: a millionth part of it.
    meter = around.machinery.meter("watch", "watch", around.kafka, topic, "--every", 100)
    broker = around.machinery.broker_cpu()
    run = measured(meter, start(), events - (events // bad if bad else 0))
    run.more["broker's CPU s per million"] = (around.machinery.broker_cpu() - broker) / events * 1e6
    # What a transaction holds is there once it is committed.
    time.sleep(0.5)
    run.faults += around.verified(topic, events, bad)
    return run


def mapped(around, runs, events, size, partitions, exactly_once=False):
    """topic → map → topic, Avro both sides.

    Two are no contestants here. Kafka Connect carries nothing from topic to topic: its transformations (SMT) run within
    a source or a sink. Benthos' language has no exact decimals, and the totals are money.
    """
    source = f"orders-{size}-{partitions}-{'eos-' if exactly_once else ''}in"
    each = around.orders(source, partitions, events, size)

    def filled(name, run, start):
        to = f"{source}-{name}-{run}"
        around.create(to, partitions)
        return watched(around, to, events, lambda: start(to))

    def passerelle(run):
        more = EXACTLY_ONCE if exactly_once else ""
        return filled("passerelle", run, lambda to: around.passerelle(to, to_sale(source, to, partitions, more)))

    def streams(run):
        guarantee = "exactly_once_v2" if exactly_once else "at_least_once"

        def start(to):
            sale = register(around.registry, f"{to}-value", SALE)
            return around.java("streams", "StreamsMap", around.kafka, source, to, ORDER, SALE, sale,
                               min(2, partitions), guarantee, around.machinery.folder("state"))
        return filled("streams", run, start)

    def rdkafka(run):
        return filled("rdkafka", run, lambda to: around.tool("limit", around.kafka, source, to))

    def raw(run):
        return filled("raw", run, lambda to: around.java("raw", "RawCopy", around.kafka, source, to))

    contestants = {"Passerelle": passerelle, "Kafka Streams 4.3.1, map in Java": streams}
    if not exactly_once:
        contestants["Kafka's Java client, no work (the limit on the JVM)"] = raw
        contestants["rdkafka, no work (the limit)"] = rdkafka
    what = "exactly once, commits every 100 ms" if exactly_once else "at least once"
    title = f"topic → map → topic, Avro both sides, {what}, {each} bytes, {partitions} partitions"
    return contest(around, title, contestants, runs)


def storm(around, runs, events):
    """Dead letters: every tenth order cannot be read."""
    source = "orders-storm-in"
    each = around.orders(source, 4, events, 500, bad=10)
    clean = "orders-calm-in"
    around.orders(clean, 4, events, 500)

    def one(run, topic, bad):
        to = f"{topic}-{run}"
        around.create(to, 4)
        done = watched(around, to, events, lambda: around.passerelle(to, to_sale(topic, to, 4)), bad)
        return done

    contestants = {"Passerelle, 10 % of it bad": lambda run: one(run, source, 10),
                   "Passerelle, none of it bad": lambda run: one(run, clean, 0)}
    return contest(around, f"dead-letter storm: topic → map → topic, {each} bytes, 4 partitions", contestants, runs)


def partitions(around, runs, events, counts):
    """Growth with partitions: the same orders in more of them."""
    contestants = {}
    for count in counts:
        source = f"orders-of-{count}-in"
        around.orders(source, count, events, 500)

        def one(run, source=source, count=count):
            to = f"{source}-{run}"
            around.create(to, count)
            return watched(around, to, events, lambda: around.passerelle(to, to_sale(source, to, count)))
        contestants[f"Passerelle, {count} partition{'s' if count > 1 else ''}"] = one
    return contest(around, "growth with partitions: topic → map → topic, 500 bytes", contestants, runs)


def instances(around, runs, events, counts):
    """Growth with instances: the same orders in twelve partitions, shared by more processes."""
    source = "orders-shared-in"
    around.orders(source, 12, events, 500)

    def one(run, count):
        to = f"{source}-{count}-{run}"
        around.create(to, 12)
        return watched(around, to, events,
                       lambda: [around.passerelle(to, to_sale(source, to, 12)) for _ in range(count)])

    contestants = {f"Passerelle, {count} instance{'s' if count > 1 else ''}": lambda run, count=count: one(run, count)
                   for count in counts}
    title = "growth with instances on one machine: topic → map → topic, 500 bytes, 12 partitions"
    return contest(around, title, contestants, runs)


def replay(around, runs, events):
    """A history that is sent again into a target that costs nothing."""
    source = "orders-history"
    each = around.orders(source, 4, events, 500)

    def passerelle(run):
        port = free_port()
        meter = around.machinery.meter("target", "target", port, "--delay", 0, "--keys", KEYS)
        yaml = (f"connections:\n  target: {{ http: {{ url: \"http://127.0.0.1:{port}\", allow_private: true }} }}\n"
                f"topics:\n  {source}: {{ schema: order.avsc }}\n"
                f"sinks:\n  calls: {{ from: {source}, to: target, start: now, once: forever, concurrency: 32 }}\n")
        folder, _ = around.pipeline(f"replay-{run}", yaml)
        words = ["replay", "calls", "pipeline.yaml", "--from", "beginning", "--rate", "unlimited"]
        words += ["--again"] if run else []
        contestant = around.machinery.start("replay", [around.machinery.binary, *words], folder)
        done = measured(meter, contestant, events)
        count, late, unknown = meter.lines()[-1][1:4]
        done.faults += [f"{count - events:.0f} calls too many"] if count > events else []
        done.faults += [f"{late:.0f} calls out of order, {unknown:.0f} without order"] if late or unknown else []
        return done

    def limit(_run):
        contestant = around.tool("consume", around.kafka, source)
        return measured(Meter(contestant), contestant, events)

    contestants = {"Passerelle": passerelle, "rdkafka that reads and does nothing (the limit)": limit}
    title = f"replay without limit of its rate into an HTTP target that answers at once, {each} bytes, 4 partitions"
    return contest(around, title, contestants, runs)
