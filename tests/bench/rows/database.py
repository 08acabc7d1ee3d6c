"""Rows of a database: a topic into a table of PostgreSQL, and a table's changes into a topic."""

import time

from around import ROW
from contest import contest, measured
from machinery import get, patiently, register
from rows.topics import watched

COLUMNS = ("id text primary key, placed_at timestamptz(3) not null, currency text not null, "
           "customer text not null, total numeric(18, 2) not null, note text")
BYTES = 500
LINES = (BYTES * 3 // 4 - 130) // 25 + 1


def totals(events):
    """What the orders' totals come to, in cents: as tool/src/orders.rs makes them."""
    return sum(((number + line) % 9 + 1) * ((number * 7 + line * 13) % 9_000 + 999)
               for number in range(events) for line in range(LINES))


def sink(around, runs, events):
    """topic → table, one row for each order, upserts by its id."""
    source = "orders-table"
    around.orders(source, 4, events, BYTES)
    postgres = around.postgres

    def filled(name, run, start):
        table = f"{name}_{run}"
        postgres.say(f"create table {table} ({COLUMNS})")
        done = measured(postgres.meter(table), start(table), events)
        rows, cents = postgres.ask(f"select count(*), (sum(total) * 100)::bigint from {table}").split("|")
        done.faults += [f"{rows} rows"] if int(rows) != events else []
        done.faults += [f"totals of {cents} cents"] if int(cents) != totals(events) else []
        return done

    def passerelle(run):
        def start(table):
            yaml = (
                f"connections:\n  db: {{ postgres: {{ url: \"{postgres.url}\" }} }}\n"
                f"topics:\n  {source}: {{ schema: order.avsc }}\n"
                f"sinks:\n  rows:\n    from: {source}\n    to: db\n    start: beginning\n    table: {table}\n    keys: [id]\n"
                "    columns: { id: .id, placed_at: .placed_at, currency: .currency, customer: .customer.id, "
                "total: .total, note: .note }\n")
            return around.passerelle(table, yaml)
        return filled("passerelle", run, start)

    def debezium(run):
        return filled("debezium", run, lambda table: around.connect(table, {"jdbc.properties": {
            "topic": source, "table": table, "port": postgres.port, "name": f"{source}-{table}"}}))

    contestants = {"Passerelle": passerelle, "Kafka Connect 4.3.1, Debezium's JDBC sink 3.5, 4 tasks": debezium}
    return contest(around, "topic → PostgreSQL, upserts, 4 partitions", contestants, runs, "rows/s")


def source(around, runs, events):
    """table → topic, the changes as Avro rows."""
    postgres = around.postgres

    def streamed(name, run, start):
        table, to = f"{name}_changes_{run}", f"{name}-changes-{run}"
        postgres.say(f"create table {table} ({COLUMNS}); create publication {table} for table {table}")
        around.create(to, 4)
        contestant = start(table, to)
        active = f"select count(*) from pg_replication_slots where slot_name = '{table}' and active"
        patiently("the slot to be read", lambda: contestant.alive() and postgres.ask(active) == "1", 300)
        time.sleep(2)
        postgres.write(table, events)
        done = watched(around, to, events, lambda: contestant)
        around.machinery.stop_contestants()
        postgres.say(f"select pg_drop_replication_slot('{table}'); drop publication {table}")
        return done

    def passerelle(run):
        def start(table, to):
            yaml = (
                f"connections:\n  db: {{ postgres: {{ url: \"{postgres.url}\" }} }}\n"
                f"topics:\n  {to}: {{ partitions: 4, schema: row.avsc }}\n"
                f"sources:\n  changes:\n    from: db\n    postgres: {{ tables: [public.{table}], publication: {table}, "
                f"slot: {table}, snapshot: false }}\n    to: {to}\n    key: .customer\n")
            return around.passerelle(table, yaml)
        return streamed("passerelle", run, start)

    def debezium(run):
        def start(table, to):
            schema = register(around.registry, f"{to}-value", ROW)
            running = around.connect(table, {"changes.properties": {
                "topic": to, "table": table, "port": postgres.port, "name": table, "row": ROW, "schema": schema}})
            patiently("Connect", lambda: get(f"{running.rest}/connectors"), 300)
            return running
        return streamed("debezium", run, start)

    contestants = {"Passerelle": passerelle, "Kafka Connect 4.3.1, Debezium's PostgreSQL source 3.5": debezium}
    title = "PostgreSQL → topic, the changes of a table in transactions of 100, 4 partitions"
    return contest(around, title, contestants, runs, "rows/s")
