"""Two network namespaces that scripts of this directory join by a virtual cable. Linux only; needs root."""

import os
import signal
import subprocess
import sys

from processes import Failed

SERVER_ADDRESS, CLIENT_ADDRESS = "10.77.0.1", "10.77.0.2"


class Network:
    """A namespace for the server and one for its clients; both end with the `with` block."""

    def __init__(self):
        self.names = [f"multiconn-{os.getpid()}-{side}" for side in ("server", "client")]

    def __enter__(self):
        if os.geteuid() != 0:
            raise Failed("network namespaces need root")
        # The namespaces outlive the script otherwise.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
        server, client = self.names
        for name, address in ((server, SERVER_ADDRESS), (client, CLIENT_ADDRESS)):
            run("ip", "netns", "add", name)
            self.run(name, "ip", "link", "set", "lo", "up")
            if name == client:
                self.run(client, "ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", server)
        for name, address in ((server, SERVER_ADDRESS), (client, CLIENT_ADDRESS)):
            self.run(name, "ip", "address", "add", f"{address}/24", "dev", "cable")
            self.run(name, "ip", "link", "set", "cable", "up")
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    @property
    def server(self):
        """What begins the command of a program in the namespace of the server."""
        return ["ip", "netns", "exec", self.names[0]]

    @property
    def client(self):
        return ["ip", "netns", "exec", self.names[1]]

    def run(self, name, *command):
        return run("ip", "netns", "exec", name, *command)

    def run_on_both(self, *command):
        for name in self.names:
            self.run(name, *command)


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout
