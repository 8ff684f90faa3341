"""Processes and figures that the scripts of this directory share. Linux only."""

import ctypes
import fcntl
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
PATIENCE = 60
INSIDE = "--inside-namespace"
KIB, GIB = 1 << 10, 1 << 30

# Timeouts are on, and longer than any run.
ALL_TIMEOUTS = ["--idle-timeout", "1h", "--first-byte-timeout", "1h", "--write-timeout", "1h", "--lifetime", "2h"]


class Failed(Exception):
    """The run cannot succeed; the text says why."""


class Process:
    """A process that ends with this script, even if that is killed (prctl(2), PR_SET_PDEATHSIG)."""

    def __init__(self, command, stdout=subprocess.PIPE, **options):
        def prepare():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)

        command = list(map(str, command))
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, preexec_fn=prepare, **options)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.child.kill()
        self.child.wait()

    def anonymous_bytes(self):
        """Resident memory that belongs to the process alone: heap and stacks, without the text of the program."""
        with open(f"/proc/{self.pid}/status") as status:
            return int(re.search(r"RssAnon:\s+(\d+) kB", status.read())[1]) * KIB


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

    def end(self):
        """Stops the server with SIGTERM. Returns what it wrote to stdout and stderr."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.communicate(timeout=PATIENCE)


def build(*names):
    """Builds these programs. Returns their directory."""
    names = [word for name in names for word in ("--bin", name)]
    subprocess.run(["cargo", "build", "--quiet", "--release", *names], cwd=ROOT, check=True)
    return os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")


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
