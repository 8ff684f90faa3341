"""Servers under watch and checks of results that the scripts of this directory share. Linux only."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from processes import PATIENCE, Failed, Process

# Longer than the reply timeouts of clients, which are long because the machine may be busy.
CLIENT_PATIENCE = 180


def await_that(condition, what, log=()):
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise Failed(f"{what} did not come within {PATIENCE} s\n" + "\n".join(list(log)[-20:]))
        time.sleep(0.01)


def expect_equal(wanted, context=""):
    """`wanted` has a name and two values, which have to be equal, each."""
    for name, found, expected in wanted:
        if found != expected:
            raise Failed(f"{name}: {found} and {expected}; {context}")


def check_sums(results):
    """The sums of the results of a client: each message that was due has one end."""
    messages = results["messages"]
    wanted = [("wrong replies", messages["wrong"], 0), ("mismatches", results["mismatches"]["count"], 0)]
    begun = messages["sent"] + messages["unsent"] + messages["no_connection"]
    ended = sum(messages[end] for end in ("answered", "timed_out", "pending", "lost"))
    if messages["pending"] and messages["due"] is not None:
        # A client that was late at its end has not begun all that were due.
        begun = max(begun, messages["due"])
    wanted.append(("sent + unsent + without a connection = answered + timed out + pending + lost", begun, ended))
    if messages["due"] is not None:
        wanted.append(("due = sent + unsent + without a connection", messages["due"], begun))
    expect_equal(wanted, json.dumps(messages))


class Client(Process):
    """A client whose results are read from its stdout."""

    def __init__(self, directory, address, *options, prefix=()):
        command = [*prefix, f"{directory}/multiconn-client", address, *options, "--no-progress", "--json", "-"]
        super().__init__(command, stderr=subprocess.PIPE, text=True)

    def results(self, statuses=(0, 1), seconds=CLIENT_PATIENCE):
        """The results after the end, with their sums checked. None if the client never began to measure."""
        output, log = self.child.communicate(timeout=seconds)
        if self.child.returncode not in statuses:
            raise Failed(f"the client ended with {self.child.returncode}: {log}{output[:300]}")
        if not output.strip():
            return None
        results = json.loads(output)
        check_sums(results)
        return results


def run_client(*arguments, statuses=(0, 1), **options):
    with Client(*arguments, **options) as client:
        return client.results(statuses)


class WatchedServer(Process):
    """A server with its log and its metrics page in `folder`, both of which work in any network namespace.

    With `metrics`, such as 127.0.0.1:0, the page is there instead, and `page_address` is its address."""

    def __init__(self, directory, folder, *options, prefix=(), metrics=None):
        self.log_path, self.page_address = os.path.join(folder, "log"), os.path.join(folder, "page")
        page = metrics or f"unix:{self.page_address}"
        command = [*prefix, f"{directory}/multiconn-server", *options, "--metrics", page]
        with open(self.log_path, "w") as log:
            super().__init__(command, stderr=log, text=True)
        self.addresses = []

    def await_start(self):
        """Waits until it listens, and notes its descriptors."""
        while not (line := self.child.stdout.readline()).endswith("metrics)\n"):
            if found := re.match(r"Listening on (\S+) \(", line):
                self.addresses.append(found[1])
            elif not line:
                self.child.wait(PATIENCE)
                raise Failed(f"{' '.join(self.child.args)} did not start: {line}{self.log()}")
        if found := re.match(r"Listening on ([\d.]+:\d+) \(", line):
            self.page_address = found[1]
        self.descriptors = self.count_descriptors()
        return self

    @property
    def address(self):
        return self.addresses[0]

    def log(self):
        with open(self.log_path) as log:
            return log.read()

    def count_descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def metrics(self):
        """Sums of the samples of each metric over all workers, by name, and by name and reason."""
        with self.connect_to_page() as page:
            page.sendall(b"GET /metrics HTTP/1.1\r\nHost: metrics\r\nConnection: close\r\n\r\n")
            text = b"".join(iter(lambda: page.recv(1 << 16), b"")).decode()
        if not text.startswith("HTTP/1.1 200"):
            raise Failed(f"the metrics page says {text[:200]}")
        sums = {}
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
            label = re.search(r'(?:reason|errno|result)="(\w+)"', labels)
            for key in {name, f"{name} {label[1]}" if label else name}:
                sums[key] = sums.get(key, 0) + float(value)
        return sums

    def connect_to_page(self):
        if not self.page_address.startswith("/"):
            host, port = self.page_address.rsplit(":", 1)
            return socket.create_connection((host, int(port)), timeout=PATIENCE)
        page = socket.socket(socket.AF_UNIX)
        page.settimeout(PATIENCE)
        page.connect(self.page_address)
        return page

    def closed_by_reason(self):
        prefix = "multiconn_connections_closed_total "
        return {name.removeprefix(prefix): int(value) for name, value in self.metrics().items()
                if name.startswith(prefix) and value}

    def await_quiet(self, leaked=0):
        """Waits until no connection is open and the descriptors are those of the start, and checks the counts.

        `leaked` is the number of descriptors that an injected fault of close(2) has left open."""
        await_that(lambda: self.metrics()["multiconn_connections_open"] == 0, "the end of all connections", [self.log()])
        self.check_counts()
        expected = self.descriptors + leaked
        await_that(lambda: self.count_descriptors() == expected, f"the {expected} descriptors of the start", [self.log()])

    def check_counts(self):
        metrics = self.metrics()
        if "multiconn_datagrams_received_total" in metrics:
            return self.check_datagrams(metrics)
        accepted, is_open, closed = (
            int(metrics[f"multiconn_connections_{name}"]) for name in ("accepted_total", "open", "closed_total"))
        expect_equal([("accepted = open + closed by reason", accepted, is_open + closed)], self.closed_by_reason())

    def check_datagrams(self, metrics):
        """Each received datagram was answered or dropped. Those that found no room in the kernel were not received."""
        received, sent, dropped, not_received = (
            int(metrics.get(f"multiconn_datagrams_{name}", 0))
            for name in ("received_total", "sent_total", "dropped_total", "dropped_total receive_queue_full"))
        expect_equal([("received = answered + dropped", received, sent + dropped - not_received)], metrics)

    def end(self, seconds, accepted=None):
        """Stops it with SIGTERM. It has to drain within `seconds`, with status 0 and a summary that adds up."""
        self.child.send_signal(signal.SIGTERM)
        try:
            output, _ = self.child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"the server did not drain within {seconds} s\n{self.log()[-2000:]}") from None
        if self.child.returncode != 0:
            raise Failed(f"the server ended with {self.child.returncode}: {output}{self.log()[-2000:]}")
        if "panicked" in self.log():
            raise Failed(f"the server panicked\n{self.log()[-2000:]}")
        served = re.search(r"^Served ([\d,]+) (?:connection|datagram)", output, re.MULTILINE)
        if not served:
            raise Failed(f"no summary: {output}")
        if accepted is not None:
            expect_equal([("connections of the summary and of the metrics", number(served[1]), accepted)], output)
        return output


class Skipped(Exception):
    """What a cell needs is not here; the text says what."""


def number(text):
    return int(text.replace(",", ""))


def need(*programs):
    """Ends unless these programs are installed."""
    missing = [name for name in programs if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        raise Failed(f"not installed: {', '.join(missing)}")
