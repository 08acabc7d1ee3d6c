"""Rows of the process itself: at rest, at its start, with many routes, and before a target that does not answer."""

import time
import urllib.error

from around import MAP, Run
from contest import contest
from machinery import free_port, get, patiently
from rows.calls import webhook_pipeline

# Of a core, that a process at rest may take, in percent.
IDLE_AT_MOST = 1.0
# Seconds within which a process is to be ready.
READY_WITHIN = 1.0
# MB that a process of up to 16 routes may take, a stopped target included.
LOADED_AT_MOST = 200


def ready(admin):
    return lambda: get(f"{admin}/ready")


def orders_to_sales():
    """Webhooks and a map, with the embedded broker and registry: the demo's kind of pipeline."""
    yaml = webhook_pipeline("orders", f"127.0.0.1:{free_port()}")
    yaml = yaml.replace("sources:\n", "  sales: { partitions: 4, schema: sale.avsc }\nsources:\n")
    return yaml + f"processors:\n  to_sale:\n    from: orders\n    to: sales\n    map: |{MAP}"


def embedded(around, name):
    return around.pipeline(name, orders_to_sales(), f"name: {name}\ndata: data\n")


def resting(contestant, seconds):
    """What a process takes when nothing happens: its memory now, percent of a core, threads, the most memory."""
    time.sleep(5)
    before = contestant.cpu()
    time.sleep(seconds)
    busy = (contestant.cpu() - before) / seconds * 100
    more = {"% of a core": busy, "threads": contestant.status("Threads")}
    return Run(contestant.rss_mb(), 0.0, contestant.peak_mb(), more)


def idle(around, runs, seconds):
    """Memory and processor time at rest."""

    def passerelle(run):
        folder, admin = embedded(around, f"idle-{run}")
        contestant = around.run_pipeline(folder)
        patiently("ready", ready(admin))
        done = resting(contestant, seconds)
        busy = done.more["% of a core"]
        done.faults += [f"{busy:.2f} % of a core at rest"] if busy > IDLE_AT_MOST else []
        return done

    def on_kafka(run):
        folder, admin = around.pipeline(
            f"idle-kafka-{run}", orders_to_sales().replace("orders", f"idle-orders-{run}").replace("sales", f"idle-sales-{run}"))
        contestant = around.run_pipeline(folder)
        patiently("ready", ready(admin))
        return resting(contestant, seconds)

    def connect(run):
        topic = f"idle-connect-{run}"
        around.create(topic, 4)
        contestant = around.connect("connect", {"http.properties": {
            "topic": topic, "url": f"http://127.0.0.1:{free_port()}/", "name": topic}})
        patiently("Connect", lambda: get(f"{contestant.rest}/connectors"), 300)
        return resting(contestant, seconds)

    def node_red(_run):
        port = free_port()
        contestant = around.node_red(port, "http://127.0.0.1:1/")
        patiently("Node-RED", lambda: answers(port), 300)
        return resting(contestant, seconds)

    contestants = {
        "Passerelle, broker and registry inside": passerelle,
        "Passerelle on Apache Kafka": on_kafka,
        "Kafka Connect 4.3.1, an HTTP sink": connect,
        "Node-RED 4.1.8": node_red,
    }
    return contest(around, f"at rest for {seconds} s: memory", contestants, runs, "MB", less_is_better=True)


def answers(port):
    """Whether something speaks HTTP there, whatever it says."""
    try:
        return get(f"http://127.0.0.1:{port}/") is not None
    except urllib.error.HTTPError:
        return True


def start_up(around, runs):
    """From the start of the process until it is ready."""

    def timed(start):
        begun = time.monotonic()
        contestant, is_ready = start()
        patiently("it to be ready", is_ready, 300)
        taken = time.monotonic() - begun
        return Run(taken, 0.0, contestant.peak_mb())

    def passerelle(run):
        folder, admin = embedded(around, f"start-{run}")
        done = timed(lambda: (around.run_pipeline(folder), ready(admin)))
        done.faults += [f"ready only after {done.value:.2f} s"] if done.value > READY_WITHIN else []
        return done

    def connect(run):
        def start():
            topic = f"start-connect-{run}"
            contestant = around.connect("connect", {"http.properties": {
                "topic": topic, "url": "http://127.0.0.1:1/", "name": topic}})
            return contestant, lambda: get(f"{contestant.rest}/connectors")
        around.rivals.connect
        return timed(start)

    def node_red(_run):
        port = free_port()
        around.rivals.node_red
        return timed(lambda: (around.node_red(port, "http://127.0.0.1:1/"), lambda: answers(port)))

    contestants = {
        "Passerelle, broker and registry inside": passerelle,
        "Kafka Connect 4.3.1": connect,
        "Node-RED 4.1.8": node_red,
    }
    return contest(around, "start until ready", contestants, runs, "s", less_is_better=True)


def routes(around, runs, counts):
    """Idle routes in one process: memory and threads, and what each further one adds."""
    source = "orders-of-routes"
    around.orders(source, 1, 1, 200)
    at_one = {}

    def one(run, count):
        to = f"routed-{count}-{run}"
        names = [f"  route_{number}: {{ from: {source}, to: {to}, start: now, filter: 'true' }}\n" for number in range(count)]
        yaml = (f"topics:\n  {source}: {{ schema: order.avsc }}\n  {to}: {{ partitions: 1, schema: order.avsc }}\n"
                f"processors:\n{''.join(names)}")
        folder, admin = around.pipeline(f"routes-{count}-{run}", yaml)
        contestant = around.run_pipeline(folder)
        patiently(f"{count} routes", ready(admin), 600)
        done = resting(contestant, 10)
        threads = done.more["threads"]
        at_one.setdefault(run, (done.value, threads))
        if count > 1:
            memory, first = at_one[run]
            done.more["MB a route"] = (done.value - memory) / (count - 1)
            done.more["threads a route"] = (threads - first) / (count - 1)
        return done

    contestants = {f"{count} route{'s' if count > 1 else ''}": lambda run, count=count: one(run, count) for count in counts}
    return contest(around, "idle routes in one process: memory", contestants, runs, "MB", less_is_better=True)


def stopped(around, runs, events, seconds):
    """A full topic before a target that does not answer."""
    source = "orders-stopped"
    around.orders(source, 4, events, 500)

    def passerelle(run):
        yaml = (f"connections:\n  target: {{ http: {{ url: \"http://127.0.0.1:{free_port()}\", allow_private: true }} }}\n"
                f"topics:\n  {source}: {{ schema: order.avsc }}\n"
                f"sinks:\n  calls: {{ from: {source}, to: target, start: beginning, concurrency: 32 }}\n")
        contestant = around.passerelle(f"stopped-{run}", yaml)
        done = resting(contestant, seconds)
        done.value = done.peak
        done.faults += [f"{done.peak:.0f} MB at most"] if done.peak > LOADED_AT_MOST else []
        return done

    title = f"memory before a target that is stopped, {events:,} events waiting, the most in {seconds} s"
    return contest(around, title, {"Passerelle": passerelle}, runs, "MB", less_is_better=True)
