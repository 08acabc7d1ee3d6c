"""A real PostgreSQL (tests/postgres) that the rows of databases share."""

import subprocess

from machinery import ROOT, Meter, free_port

SCRIPT = ROOT / "tests/postgres/postgres"

# Orders as tool/src/orders.rs makes them, in transactions of 100.
WRITE = """
do $$ begin
  for number in 0..{last} loop
    insert into {table} values ('O-' || number, '2026-01-01 00:00:00+00'::timestamptz + number * interval '1 ms', 'EUR',
      'C-' || number % 1000, (number % 9 + 1) * (number * 7 % 9000 + 999) / 100.0, 'Leave it with the neighbour, please.');
    if number % 100 = 99 then commit; end if;
  end loop;
end $$
"""


class Postgres:
    """It runs until it is stopped."""

    def __init__(self, machinery):
        self.machinery, self.port = machinery, free_port()
        self.directory = machinery.work / "postgres"
        subprocess.run([SCRIPT, "start", self.directory, str(self.port)], check=True)
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def command(self, *words):
        return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-At", self.url, *words]

    def ask(self, question):
        return subprocess.run(self.command("-c", question), check=True, capture_output=True, text=True).stdout.strip()

    def say(self, *statements):
        for statement in statements:
            for one in statement.split("; "):
                self.ask(one)

    def write(self, table, events):
        """Writes so many rows, by a process of its own that goes on beside what follows."""
        text = WRITE.format(table=table, last=events - 1)
        return self.machinery.start("writer", self.command("-c", text))

    def meter(self, table):
        """How many rows a table holds, again and again."""
        look = f"select round(extract(epoch from clock_timestamp()), 3), count(*) from {table} \\watch 0.2"
        folder = self.machinery.folder("rows")
        (folder / "look.sql").write_text(look + "\n")
        return Meter(self.machinery.start("rows", self.command("-F", " ", "-f", "look.sql"), folder))

    def stop(self):
        subprocess.run([SCRIPT, "stop", self.directory], check=True)
