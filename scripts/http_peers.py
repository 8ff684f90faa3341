"""HTTP clients, parsers and attackers of other authors against the admin pages. See scripts/conformance."""

import http.client
import random
import re
import socket
import subprocess
import tempfile
import threading
import time

from checks import await_that, expect_equal, run_client
from processes import KIB, MIB, PATIENCE, Failed, Process
from tls_scanners import run

PAGES = {"/metrics": 200, "/healthz": 200, "/readyz": 200, "/none": 404}
ACCEPTS = ["*/*", "text/plain;version=0.0.4"]
REQUESTS = 300

# Limits of the admin pages (docs/server.md): open connections, and memory.
MAX_OPEN, MAX_GROWTH = 16, 4 * MIB
ATTACKERS, ATTACK_S = 200, 8
# How long an answer may take on a busy machine, during an attack.
SOON_S = 3


def page_address(server):
    host, port = server.page_address.rsplit(":", 1)
    return host, int(port)


def connected(server):
    return socket.create_connection(page_address(server), timeout=PATIENCE)


# Clients.

def curl(server, folder, _):
    """Several pages of one connection, HEAD, HTTP/1.0, bodies, ranges, upgrades, and other methods."""
    host = f"http://{server.page_address}"

    def statuses(*arguments):
        words = ["curl", "--silent", "--show-error", "--max-time", PATIENCE, "--output", "/dev/null", "--noproxy", "*",
                 "--write-out", "%{http_code} %{num_connects} %{http_version}\n", *arguments]
        return run(list(map(str, words))).splitlines()
    pages = [host + page for page in PAGES]
    outputs = [word for page in pages for word in ("--output", "/dev/null", page)][2:]
    in_turn = [f"{status} {int(turn == 0)} 1.1" for turn, status in enumerate(PAGES.values())]
    metrics = pages[0]
    expect_equal([
        ("pages of one connection", statuses(*outputs), in_turn),
        ("HEAD", statuses("--head", metrics), ["200 1 1.1"]),
        ("HTTP/1.0", statuses("--http1.0", metrics), ["200 1 1.1"]),
        ("a range, which is ignored", statuses("--range", "0-9", metrics), ["200 1 1.1"]),
        ("an upgrade to HTTP/2, which is ignored", statuses("--http2", metrics), ["200 1 1.1"]),
        ("compression, which is not done", statuses("--compressed", metrics), ["200 1 1.1"]),
        ("POST", statuses("--data", "a=b", metrics), ["405 1 1.1"]),
        ("PUT in chunks", statuses("--upload-file", __file__, "--header", "Transfer-Encoding: chunked", metrics),
         ["405 1 1.1"]),
        ("DELETE", statuses("--request", "DELETE", metrics), ["405 1 1.1"]),
        ("OPTIONS", statuses("--request", "OPTIONS", metrics), ["405 1 1.1"]),
        ("an absolute target", statuses("--request-target", metrics, metrics), ["200 1 1.1"]),
        ("a field of 20 kB", statuses("--header", "A: " + "a" * 20_000, metrics), ["431 1 1.1"]),
    ])
    path = f"{folder}/page"
    run(["curl", "--silent", "--fail", "--noproxy", "*", "--output", path, metrics])
    with open(path) as page:
        text = page.read()
    if not text.endswith("# EOF\n"):
        raise Failed(f"the page is not whole: {text[-100:]}")
    return f"{12 + len(pages)} requests"


def python_client(server, _, chance):
    """http.client of Python, with one connection for many requests."""
    client = http.client.HTTPConnection(*page_address(server), timeout=PATIENCE)
    bodies = {("GET", "/healthz", accept): b"alive\n" for accept in ACCEPTS}
    bodies |= {("GET", "/readyz", accept): b"ready\n" for accept in ACCEPTS}
    for _ in range(REQUESTS):
        page = chance.choice(list(PAGES))
        method = chance.choice(["GET", "HEAD"])
        accept = chance.choice(ACCEPTS)
        client.request(method, page, headers={"Accept": accept})
        response = client.getresponse()
        body = response.read()
        # The counters change, but not their number of lines.
        kind = body.count(b"\n") if page == "/metrics" else body
        first = bodies.setdefault((method, page, accept), kind)
        length = response.getheader("Content-Length")
        expect_equal([("status", response.status, PAGES[page]), ("will close", response.will_close, False),
                      ("the body and that of the first response", kind, first), ("a length", bool(length), True),
                      ("whether there is a body", bool(body), method == "GET")], f"{method} {page}")
    client.close()
    return f"{REQUESTS} requests on one connection"


def h11_client(server, _, chance):
    """Random valid requests, in random parts and several at once. h11 refuses each deviation of the responses."""
    import h11
    counts = {}
    for _ in range(REQUESTS):
        with connected(server) as client:
            sent = []
            data = b""
            for _ in range(chance.randint(1, 5)):
                is_last = chance.random() < 0.3
                method, page, status, part = random_request(h11, chance, is_last)
                data += part
                sent.append((method, page, status, part))
                if is_last:
                    break
            sender = threading.Thread(target=send_in_parts, args=(client, data, random.Random(chance.random())))
            sender.start()
            statuses = read_responses(h11, client, sent)
            sender.join(PATIENCE)
        for status in statuses:
            counts[status] = counts.get(status, 0) + 1
    return f"{sum(counts.values())} responses: {counts}"


def send_in_parts(client, data, chance):
    at = 0
    try:
        while at < len(data):
            size = chance.choice([1, 7, 50, 10_000])
            client.sendall(data[at:at + size])
            at += size
    except OSError:
        pass


def random_request(h11, chance, closes):
    """Method, page, expected status, bytes."""
    writer = h11.Connection(our_role=h11.CLIENT)
    method = chance.choice([b"GET", b"GET", b"HEAD", b"POST", b"OPTIONS", b"BREW"])
    page = chance.choice(list(PAGES))
    fields = [("Host", chance.choice(["localhost", "127.0.0.1:9464", "[::1]"]))]
    fields += [(f"X-{chance.getrandbits(32):x}", chance.choice(["", "a", "a,\tb", "é".encode()]))
               for _ in range(chance.randint(0, 8))]
    if closes:
        fields.append(("Connection", chance.choice(["close", "Close", "keep-alive, close"])))
    body = chance.randbytes(chance.randint(0, 500)) if method == b"POST" else b""
    if body:
        fields.append(("Transfer-Encoding", "chunked") if chance.random() < 0.5 else ("Content-Length", str(len(body))))
    query = chance.choice(["", "?", "?a=b&c=%20"])
    target = page + query
    data = writer.send(h11.Request(method=method, target=target, headers=fields))
    if body:
        data += writer.send(h11.Data(data=body))
    data += writer.send(h11.EndOfMessage())
    status = {PAGES[page]} if method in (b"GET", b"HEAD") else {404, 405}
    return method, page, status, data


def read_responses(h11, client, sent):
    """The statuses of the responses. After one that closes nothing may come."""
    reader = h11.Connection(our_role=h11.CLIENT)
    statuses = []
    for method, page, expected, _ in sent:
        reader.send(h11.Request(method=method, target=page, headers=[("Host", "localhost")]))
        reader.send(h11.EndOfMessage())
        response, size = None, 0
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(client.recv(1 << 16))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise Failed(f"{event} after {method} {page}")
        statuses.append(response.status_code)
        if response.status_code not in expected:
            raise Failed(f"{response.status_code} for {method} {page}, not {expected}")
        if reader.their_state is h11.MUST_CLOSE:
            if rest := client.recv(1 << 16):
                raise Failed(f"{rest[:100]} after the last response")
            return statuses
        reader.start_next_cycle()
    return statuses


def httplint(server, _, __):
    """REDbot's rules for the header fields of each page. Hints about caching and the like are not faults."""
    from httplint import HttpResponseLinter
    from httplint.note import levels
    notes, bad = 0, []
    for page in PAGES:
        for method in ("GET", "HEAD"):
            client = http.client.HTTPConnection(*page_address(server), timeout=PATIENCE)
            client.request(method, page, headers={"Connection": "close"})
            response = client.getresponse()
            body = response.read()
            linter = HttpResponseLinter(start_time=time.time(), no_content=method == "HEAD")
            linter.is_head_response = method == "HEAD"
            linter.process_response_topline(b"HTTP/1.1", str(response.status).encode(), response.reason.encode())
            linter.process_headers([(name.encode(), value.encode()) for name, value in response.getheaders()])
            if method == "GET":
                linter.feed_content(body)
            linter.finish_content(True)
            notes += len(linter.notes)
            expect_equal([("status", response.status, PAGES[page])], page)
            bad += [f"{method} {page}: {note.__class__.__name__} {note.vars}"
                    for note in linter.notes if note.level is levels.BAD]
            client.close()
    if bad:
        raise Failed("\n".join(bad))
    return f"{2 * len(PAGES)} responses, {notes} notes, no faults"


# Readers of the metrics.

def promtool(server, _, __):
    """The text format, with families of all parts, after some traffic."""
    page = fetch(server, "text/plain;version=0.0.4")
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=page, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode or done.stdout or done.stderr:
        raise Failed(f"{done.stdout}{done.stderr}")
    return f"{page.count('# TYPE')} families"


def fetch(server, accept):
    client = http.client.HTTPConnection(*page_address(server), timeout=PATIENCE)
    client.request("GET", "/metrics", headers={"Accept": accept})
    response = client.getresponse()
    text = response.read().decode()
    client.close()
    return text


def prometheus_client(server, _, __):
    """Both formats, with the parsers of Python. They have to hold the same samples."""
    from prometheus_client.openmetrics import parser as open_metrics
    from prometheus_client import parser as text_format
    # As Prometheus 2.42 asks.
    newer = fetch(server, "application/openmetrics-text;version=1.0.0,"
                          "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    older = fetch(server, "text/plain;version=0.0.4")

    def samples(families):
        return {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}
    first, second = (samples(parse.text_string_to_metric_families(text))
                     for parse, text in ((open_metrics, newer), (text_format, older)))
    expect_equal([("samples of one format only", first ^ second, set()), ("the end", newer[-6:], "# EOF\n")])
    if len(first) < 50:
        raise Failed(f"only {len(first)} samples")
    return f"{len(first)} samples in both formats"


# Decodes histograms: one per line of stdin. Prints count, p50, p99 and maximum of each.
DECODER = """
const hdr = require('hdr-histogram-js');
for (const line of require('fs').readFileSync(0, 'utf8').trim().split('\\n')) {
  const each = hdr.decodeFromCompressedBase64(line);
  console.log([each.totalCount, each.getValueAtPercentile(50), each.getValueAtPercentile(99), each.maxValue].join(' '));
}
"""


def hdr_histogram_js(directory, server, chance):
    """The histograms of a load, and its interval log, decoded by hdr-histogram-js."""
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/run.hlog"
        load = ["-c", "10", "--messages", str(chance.randint(50, 200)), "--rate", "20k", "--hdr-log", log]
        results = run_client(directory, server.address, *load, statuses=(0,))
        histograms = {name: each for name, each in results["histograms"].items() if each and each["count"]}
        with open(log) as lines:
            fields = [line.strip().split(",") for line in lines if line[0] not in '#"']
    tags = [each.pop(0).removeprefix("Tag=") if each[0].startswith("Tag=") else "" for each in fields]
    encoded = [each["hdr"] for each in histograms.values()] + [each[3] for each in fields]
    done = subprocess.run(["node", "-e", DECODER], input="\n".join(encoded), capture_output=True, text=True,
                          timeout=PATIENCE)
    if done.returncode:
        raise Failed(done.stderr[-2000:])
    decoded = [list(map(int, line.split())) for line in done.stdout.splitlines()]
    for (name, each), found in zip(histograms.items(), decoded):
        expect_equal([(f"{name}: count, p50, p99", found[:3], [each["count"], each["p50_ns"], each["p99_ns"]])])
    logged = {}
    for tag, (count, *_) in zip(tags, decoded[len(histograms):], strict=True):
        logged[tag] = logged.get(tag, 0) + count
    answered = results["messages"]["answered"]
    expect_equal([("messages in the log", logged[""], answered),
                  ("service times in the log", logged["service_time"], answered)], logged)
    return f"{len(histograms)} histograms, and {len(fields)} of a log"


# Attackers.

def slow(*options):
    """An attack of slowhttptest, while the page is asked for."""
    def attack(server, folder, _):
        descriptors, memory = server.descriptors, server.anonymous_bytes()
        most_open, most_memory, times = 0, memory, []
        command = ["slowhttptest", *options, "-c", ATTACKERS, "-r", ATTACKERS, "-i", 1, "-l", ATTACK_S, "-p", 3,
                   "-u", f"http://{server.page_address}/metrics", "-g", "-o", f"{folder}/slow"]
        log = open(f"{folder}/slowhttptest.log", "w")
        with Process(command, stdout=log, stderr=log) as attackers:
            # The log is buffered: the attack is seen at the server.
            await_that(lambda: server.count_descriptors() > descriptors + 1, "the attack")
            while attackers.child.poll() is None:
                begin = time.monotonic()
                page = fetch(server, "*/*")
                times.append(time.monotonic() - begin)
                if not page.endswith("# EOF\n"):
                    raise Failed("a page during the attack is not whole")
                most_open = max(most_open, server.count_descriptors() - descriptors)
                most_memory = max(most_memory, server.anonymous_bytes())
                time.sleep(0.02)
            status = attackers.child.returncode
        await_that(lambda: server.count_descriptors() == descriptors, "the descriptors of the start")
        opened = attacker_connections(f"{folder}/slow.csv")
        with open(log.name) as file:
            said = re.sub(r"\x1b\[[\d;]*m", "", file.read())
        available = re.findall(r"service available: *(\w+)", said)
        expect_equal([("status of slowhttptest", status, 0), ("service available", set(available), {"YES"})],
                     said[-1500:])
        if opened < ATTACKERS / 4:
            raise Failed(f"only {opened} connections of slowhttptest: {said[-1500:]}")
        grown, slowest = most_memory - memory, max(times)
        # One more may be accepted before another one is evicted.
        if most_open > MAX_OPEN + 2 or grown > MAX_GROWTH or slowest > SOON_S or len(times) < ATTACK_S:
            raise Failed(f"{most_open} connections open, memory +{grown / MIB:.1f} MiB, {len(times)} answers within "
                         f"{slowest:.1f} s")
        return (f"{opened} connections, {most_open} open at most, {len(times)} answers within {slowest * 1e3:.0f} ms, "
                f"memory +{grown / KIB:.0f} KiB")
    return attack


def attacker_connections(path):
    """How many connections slowhttptest has opened, by its own table."""
    with open(path) as table:
        rows = [line.strip().split(",") for line in table]
    names = [name.strip() for name in rows[0]]
    last = dict(zip(names, map(int, rows[-1])))
    return last["Connected"] + last["Closed"]


SLOW = {
    "slow headers": slow("-H", "-x", 24),
    "slow bodies": slow("-B", "-t", "POST", "-s", 8192, "-x", 10),
    "slow reads": slow("-X", "-w", 10, "-y", 20, "-n", 1, "-z", 5, "-k", 3),
    "ranges": slow("-R", "-a", 5, "-b", 3000),
}
