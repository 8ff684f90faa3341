"""Processes and figures that the scripts of this directory share. Linux only."""

import ctypes
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CPUS = sorted(os.sched_getaffinity(0))
PATIENCE = 60
INSIDE = "--inside-namespace"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# Timeouts are on, and longer than any run.
ALL_TIMEOUTS = ["--idle-timeout", "1h", "--first-byte-timeout", "1h", "--write-timeout", "1h", "--lifetime", "2h"]
NO_TIMEOUTS = ["--idle-timeout", "0", "--first-byte-timeout", "0", "--write-timeout", "0", "--lifetime", "0"]


class Failed(Exception):
    """The run cannot succeed; the text says why."""


class Process:
    """A process that ends with this script, even if that is killed (prctl(2), PR_SET_PDEATHSIG).

    With `cpu` it is measured: it runs on that CPU only, and takes precedence over other processes if permitted."""

    def __init__(self, command, cpu=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options):
        def prepare():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            if cpu is not None:
                os.sched_setaffinity(0, [cpu])
                take_precedence()

        command = list(map(str, command))
        self.child = subprocess.Popen(command, stdin=stdin, stdout=stdout, preexec_fn=prepare, **options)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.child.kill()
        self.child.wait()

    def cpu_seconds(self):
        """CPU time of all threads that still run, exact to the nanosecond (CONFIG_SCHED_INFO)."""
        return sum(cpu_nanos(f"/proc/{self.pid}/task/{thread}/schedstat") for thread in self.threads()) / 1e9

    def threads(self):
        return os.listdir(f"/proc/{self.pid}/task")

    def anonymous_bytes(self):
        """Resident memory that belongs to the process alone: heap and stacks, without the text of the program."""
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) * KIB

    def resident_bytes(self):
        """All resident memory. smaps_rollup counts pages; VmRSS in status may lag by 32 pages per CPU."""
        with open(f"/proc/{self.pid}/smaps_rollup") as sums:
            return int(re.search(r"Rss:\s+(\d+) kB", sums.read())[1]) * KIB


def take_precedence():
    try:
        # Linux divides a CPU among sessions first (sched(7), "The autogroup feature").
        os.setsid()
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        with open("/proc/self/autogroup", "w") as group:
            group.write("-20")
    except OSError:
        pass


def cpu_nanos(path):
    with open(path) as schedstat:
        return int(schedstat.read().split()[0])


class Server(Process):
    """A server that prints where it listens in its first line."""

    def __init__(self, command, **options):
        super().__init__(command, text=True, **options)
        self.address = None

    def await_start(self):
        line = self.child.stdout.readline()
        found = re.match(r"Listening on ([\d.]+:\d+)", line)
        if not found:
            log = self.child.stderr.read() if self.child.stderr else ""
            raise Failed(f"{self.child.args[0]} did not start: {line}{log}")
        self.address = found[1]
        return self

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def end(self):
        """Stops the server with SIGTERM. Returns what it wrote to stdout and stderr."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.communicate(timeout=PATIENCE)


def build(*names, profile="release"):
    """Builds these programs. Returns their directory."""
    names = [word for name in names for word in ("--bin", name)]
    subprocess.run(["cargo", "build", "--quiet", "--profile", profile, *names], cwd=ROOT, check=True)
    directory = "debug" if profile == "dev" else profile
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), directory)


def build_bench(name):
    """Builds this benchmark. Returns its path."""
    command = ["cargo", "bench", "--quiet", "--bench", name, "--no-run", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [each["executable"] for each in map(json.loads, lines) if each.get("target", {}).get("name") == name]
    return found[-1]


def in_namespace(arguments):
    """Replaces this script by itself in a network namespace of its own, where permitted."""
    if arguments[:1] == [INSIDE]:
        loopback = struct.pack("16sh14x", b"lo", 1)  # IFF_UP; see netdevice(7).
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, 0x8914, loopback)  # SIOCSIFFLAGS
        return
    command = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
        os.execvp("unshare", [*command, sys.executable, os.path.abspath(sys.argv[0]), INSIDE, *arguments])
    print("no network namespace of its own: unshare(1) is missing or not permitted", file=sys.stderr)


def without_marker(arguments):
    """The arguments without the one that `in_namespace` has added."""
    return arguments[1:] if arguments[:1] == [INSIDE] else arguments


def raise_descriptor_limit():
    """Raises the soft limit of this script and its processes to the hard one. Returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 62
