"""What the rows are measured with: processes and what they cost, topics, schemas, meters."""

import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What somebody waited for did not happen."""


def free_port(many=1):
    """The first of so many free ports, outside the range that outgoing connections take theirs from."""
    while True:
        first = random.randrange(12_000, 32_000)
        if all(is_free(port) for port in range(first, first + many)):
            return first


def is_free(port):
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def processor_seconds(pid):
    """What a process has used, its threads' included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass
class Running:
    """A process that takes part, and its costs; those it had last, once it has ended."""

    process: subprocess.Popen
    log: Path
    # Where it answers, of those that do.
    rest: str = ""
    last_cpu: float = 0.0
    last_peak: float = 0.0

    def cpu(self):
        """Seconds of processor time that it has used, its threads' included."""
        self.look()
        return self.last_cpu

    def look(self):
        """Notes its costs, as long as it lives."""
        try:
            self.last_cpu = processor_seconds(self.process.pid)
            self.last_peak = self.status("VmHWM") / 1024
        except (OSError, AttributeError):
            # It has ended: a process that is only to be waited for has no memory any more.
            pass

    def status(self, name):
        """A number of /proc/PID/status: VmHWM and VmRSS in kB, Threads."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1))

    def peak_mb(self):
        self.look()
        return self.last_peak

    def rss_mb(self):
        return self.status("VmRSS") / 1024

    def said(self):
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        """Asks it to end; after ten seconds it is ended."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Machinery:
    """The tools, and everything that was started, which ends with it."""

    def __init__(self, work, binary, tool):
        self.work, self.binary, self.tool = work, binary, tool
        self.started = []
        self.count = 0

    def folder(self, name):
        self.count += 1
        path = self.work / f"{self.count:03}-{name}"
        path.mkdir(parents=True)
        return path

    def start(self, name, command, folder=None, **environment):
        folder = folder or self.folder(name)
        log = folder / f"{name}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [str(word) for word in command], cwd=folder, stdout=out, stderr=out,
                env={**os.environ, **environment})
        running = Running(process, log)
        self.started.append(running)
        return running

    def stop(self):
        for running in reversed(self.started):
            running.stop()

    def ask(self, *words):
        """Runs a command of the tool that prints one JSON object."""
        command = [str(self.tool), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def meter(self, name, *words):
        return Meter(self.start(name, [self.tool, *words]))


class Meter:
    """Lines `SECONDS COUNT …`, as they are printed."""

    def __init__(self, running):
        self.running = running

    def lines(self):
        text = self.running.log.read_text().splitlines()[:-1]
        return [tuple(float(number) for number in line.split()) for line in text if line[:1].isdigit()]

    def count(self):
        lines = self.lines()
        return lines[-1][1] if lines else 0

    def until(self, count, patience, *contestants):
        """Waits until it has counted so many."""
        end = time.monotonic() + patience
        while self.count() < count:
            if not self.running.alive() and self.count() < count:
                raise Failed(f"the meter has ended: {self.running.log}:\n{self.running.said()}")
            for contestant in contestants:
                contestant.look()
                if not contestant.alive() and self.count() < count:
                    raise Failed(f"it has ended: {contestant.log}:\n{contestant.said()}")
            if time.monotonic() > end:
                said = "\n".join(contestant.said() for contestant in contestants)
                raise Failed(f"{self.count():.0f} of {count} after {patience} s; {said}")
            time.sleep(0.05)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def register(registry, subject, schema):
    """Registers a schema and returns its id."""
    body = json.dumps({"schema": Path(schema).read_text()}).encode()
    request = urllib.request.Request(
        f"{registry}/subjects/{subject}/versions", body,
        {"Content-Type": "application/vnd.schemaregistry.v1+json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)["id"]


def patiently(what, ask, patience=60):
    end = time.monotonic() + patience
    while True:
        try:
            answer = ask()
            if answer:
                return answer
        except OSError:
            pass
        if time.monotonic() > end:
            raise Failed(f"waited {patience} s in vain for {what}")
        time.sleep(0.05)


@dataclass
class Figures:
    """What one contestant reached in the runs of a row."""

    name: str
    unit: str
    values: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    peak: list = field(default_factory=list)
    # Further figures of each run, by their names.
    more: dict = field(default_factory=dict)
    # Why runs do not count.
    notes: list = field(default_factory=list)

    def add(self, run, number):
        """A run; one that did not do its work does not count."""
        self.notes += [f"run {number + 1} is invalid: {fault}" for fault in run.faults]
        if not run.faults:
            self.values.append(run.value)
            self.cpu.append(run.cpu)
            self.peak.append(run.peak)
            for what, value in run.more.items():
                self.more.setdefault(what, []).append(value)

    def middle(self):
        return statistics.median(self.values)

    def spread(self):
        """How far the runs lie apart, of their middle."""
        return (max(self.values) - min(self.values)) / self.middle() if self.middle() else 0.0
