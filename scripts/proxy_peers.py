"""PROXY headers between the programs and HAProxy, nginx, and the package proxy-protocol. See scripts/conformance.

Each connection sends bytes in parts of any size, ends its half, and gets exactly these bytes back. The log of the
server has to name the address of each client, and the number of its bytes.
"""

import collections
import contextlib
import ipaddress
import json
import os
import socket
import ssl

from checks import WatchedServer, await_that, expect_equal
from processes import PATIENCE, Failed, Process

CLIENTS = 4
TRUSTING = ["--proxy-protocol", "--proxy-from", "127.0.0.1", "--proxy-from", "::1"]
LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
ALL_FIELDS = "send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
# An address of no host, which HAProxy is told to name.
NAMED = "198.51.100.7"

HAPROXY = """
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
    unique-id-format %[uuid()]
"""
NGINX = """
load_module {modules}/ngx_stream_module.so;
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log info;
events {{ worker_connections 256; }}
stream {{
proxy_half_close on;
{servers}
}}
"""
NGINX_MODULES = "/usr/lib/nginx/modules"


def listener(family=socket.AF_INET):
    found = socket.create_server((LOOPBACK[family], 0), family=family)
    found.set_inheritable(True)
    return found


def address_of(found):
    host, port = found.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connected(address, context=None):
    """A client of `HOST:PORT` or of the path of a socket."""
    if address.startswith("/"):
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(PATIENCE)
        found.connect(address)
        return found
    host, port = address.rsplit(":", 1)
    found = socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)
    return context.wrap_socket(found, server_hostname="localhost") if context else found


def exchange(client, chance):
    """Sends bytes in parts, and compares what comes back. Returns the number."""
    data = chance.randbytes(chance.randint(1, 60_000))
    at, received = 0, bytearray()
    while at < len(data):
        size = chance.choice([1, 100, 9000])
        client.sendall(data[at:at + size])
        at += size
    if isinstance(client, ssl.SSLSocket):
        while len(received) < len(data) and (part := client.recv(1 << 16)):
            received += part
    else:
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(1 << 16):
            received += part
    if bytes(received) != data:
        raise Failed(f"{len(received)} bytes came back of {len(data)}, or others")
    return len(data)


def closings(server):
    """The connections that the server has closed: address of the peer, reason, received bytes."""
    found = collections.Counter()
    for line in server.log().splitlines():
        fields = json.loads(line) if line.startswith("{") else {}
        if fields.get("message", "").startswith("Closing connection"):
            found[fields["peer"], fields["reason"], fields["received_bytes"]] += 1
    return found


@contextlib.contextmanager
def echo_server(directory, folder, *options, trusting=TRUSTING):
    """An echo server that logs the end of each connection."""
    os.makedirs(folder, exist_ok=True)
    arguments = ["127.0.0.1", "0", "--workers", "2", "--log-format", "json", *trusting, *options]
    with WatchedServer(directory, folder, *arguments, prefix=["env", "RUST_LOG=debug"]) as server:
        yield server.await_start()
        server.await_quiet()
        server.end(PATIENCE)


def check_clients(server, address, chance, expected_host=None, context=None, count=CLIENTS):
    """Clients of a proxy at this address. The server has to name `expected_host` if given, or else their addresses."""
    before = closings(server)
    expected = collections.Counter()
    for _ in range(count):
        with connected(address, context) as client:
            own = client.getsockname()
            size = exchange(client, chance)
            if isinstance(client, ssl.SSLSocket):
                with contextlib.suppress(OSError):
                    client.unwrap()
        peer = own if isinstance(own, str) else f"[{own[0]}]:{own[1]}" if ":" in own[0] else f"{own[0]}:{own[1]}"
        expected[peer if expected_host is None else expected_host, "closed by peer", size] += 1
    await_that(lambda: (closings(server) - before).total() >= count, f"{count} ends in the log", [server.log()[-3000:]])
    found = closings(server) - before
    if expected_host is not None:
        found = collections.Counter((peer.rsplit(":", 1)[0], *rest) for peer, *rest in found.elements())
    expect_equal([("clients in the log", found, expected)])
    return count


# HAProxy before the server.

def haproxy(folder, config, listeners):
    path = f"{folder}/haproxy.cfg"
    with open(path, "w") as file:
        file.write(HAPROXY + config)
    log = open(f"{folder}/haproxy.log", "w")
    descriptors = [each.fileno() for each in listeners]
    return Process(["haproxy", "-db", "-f", path], pass_fds=descriptors, stdout=log, stderr=log)


def haproxy_sends(directory, folder, chance):
    """Versions 1 and 2, IPv4, IPv6 and Unix clients, all fields of version 2, another address, TLS to the server."""
    families = [socket.AF_INET] * 6 + [socket.AF_INET6] * 2
    listeners = [listener(family) for family in families]
    v1, v2, fields, named, tls, checked, six1, six2 = (f"fd@{each.fileno()}" for each in listeners)
    addresses = [address_of(each) for each in listeners]
    with (echo_server(directory, f"{folder}/plain") as server,
          echo_server(directory, f"{folder}/tls", "--tls-self-signed") as tls_server):
        with open(f"{folder}/both.pem", "w") as both:
            for name in ("cert.pem", "key.pem"):
                with open(f"{folder}/{name}") as part:
                    both.write(part.read())
        ca = f"ca-file {folder}/ca.pem verify optional"

        def listen(name, bind, target, rest="", more=""):
            return f"listen {name}\n    bind {bind}\n    {more}\n    server only {target} {rest}\n"
        config = "".join([
            listen("v1", v1, server.address, "send-proxy"),
            listen("v2", v2, server.address, "send-proxy-v2"),
            listen("fields", f"{fields} ssl crt {folder}/both.pem {ca}", server.address, ALL_FIELDS),
            listen("named", named, server.address, "send-proxy-v2", f"tcp-request connection set-src ipv4({NAMED})"),
            listen("tls", tls, tls_server.address, "send-proxy-v2 ssl verify none"),
            # Its checks have headers without an address (LOCAL), and wait for the echo.
            listen("checked", checked, server.address, "send-proxy-v2 check inter 100ms",
                   "\n    ".join(["option tcp-check", "tcp-check connect send-proxy", "tcp-check send ping",
                                  "tcp-check expect string ping"])),
            listen("six1", six1, server.address, "send-proxy"),
            listen("six2", six2, server.address, "send-proxy-v2"),
            listen("unix1", f"unix@{folder}/v1.sock", server.address, "send-proxy"),
            listen("unix2", f"unix@{folder}/v2.sock", server.address, "send-proxy-v2"),
        ])
        context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        total = 0
        with haproxy(folder, config, listeners):
            await_that(lambda: os.path.exists(f"{folder}/v2.sock"), "HAProxy")
            await_that(lambda: any(size == 4 for _, _, size in closings(server)), "a check of HAProxy")
            # The checks go on, and are known by their four bytes.
            await_that(lambda: all(size == 4 for _, _, size in closings(server)), "no other connections")
            for at, address in enumerate(addresses):
                if at == 5:
                    continue
                to, by = (tls_server if at == 4 else server), (context if at == 2 else None)
                total += without_checks(to, address, chance, NAMED if at == 3 else None, by)
            for name in ("v1", "v2"):
                total += without_checks(server, f"{folder}/{name}.sock", chance, "127.0.0.1")
            checks = [(peer, reason) for peer, reason, size in closings(server) if size == 4]
            bad = [each for each in checks if not each[0].startswith("127.0.0.1:") or each[1] not in
                   ("closed by peer", "reset by peer")]
            if bad:
                raise Failed(f"checks of HAProxy: {bad}")
    for each in listeners:
        each.close()
    return f"{total} clients at {len(families) + 1} listeners, {len(checks)} health checks"


def without_checks(server, address, chance, *rest):
    """`check_clients`, which does not see the health checks."""
    class Filtered:
        def log(self):
            return "".join(line for line in server.log().splitlines(keepends=True) if '"received_bytes":4,' not in line)
    return check_clients(Filtered(), address, chance, *rest)


def haproxy_accepts(directory, folder, chance):
    """Our proxy sends a header to HAProxy, which sends one to our server: it names the first client."""
    listeners = [listener()]
    with echo_server(directory, f"{folder}/server") as server:
        config = (f"listen chain\n    bind fd@{listeners[0].fileno()} accept-proxy\n"
                  f"    server only {server.address} send-proxy-v2\n")
        with haproxy(folder, config, listeners):
            total = through_our_proxy(directory, folder, server, [address_of(listeners[0])] * 2, chance)
    listeners[0].close()
    return f"{total} clients"


def through_our_proxy(directory, folder, server, fronts, chance):
    """Clients of our proxy, for IPv4 and IPv6 and both versions, with these two addresses as its upstreams."""
    total = 0
    for host, front in zip(LOOPBACK.values(), fronts, strict=True):
        for version in ("v1", "v2"):
            own = f"{folder}/{host}-{version}".replace(":", "_")
            with our_proxy(directory, own, host, front, "--send-proxy", version) as proxy:
                total += check_clients(server, proxy.address, chance)
    return total


@contextlib.contextmanager
def our_proxy(directory, folder, host, upstream, *options):
    os.makedirs(folder)
    arguments = [host, "0", "--workers", "1", "--upstream", upstream, *options]
    with WatchedServer(directory, folder, *arguments) as proxy:
        yield proxy.await_start()
        proxy.await_quiet()
        proxy.end(PATIENCE)


# nginx, which listens on ports that were free a moment ago.

def free_address(family=socket.AF_INET):
    with listener(family) as found:
        return address_of(found)


def nginx(folder, servers):
    path = f"{folder}/nginx.conf"
    with open(path, "w") as file:
        file.write(NGINX.format(modules=NGINX_MODULES, folder=folder, servers=servers))
    log = open(f"{folder}/nginx.out", "w")
    return Process(["nginx", "-c", path, "-p", folder, "-e", f"{folder}/nginx.log"], stdout=log, stderr=log)


def is_open(address):
    try:
        connected(address).close()
        return True
    except OSError:
        return False


def nginx_sends(directory, folder, chance):
    """TCP and Unix clients. nginx sends version 1 only, and UNKNOWN for Unix clients."""
    front, path = free_address(), f"{folder}/nginx.sock"
    with echo_server(directory, f"{folder}/server") as server:
        proxying = f"proxy_pass {server.address}; proxy_protocol on;"
        servers = f"server {{ listen {front}; {proxying} }}\nserver {{ listen unix:{path}; {proxying} }}"
        with nginx(folder, servers):
            await_that(lambda: is_open(front), "nginx")
            # The connection that found out.
            await_that(lambda: closings(server).total() == 1, "the end of the first connection")
            total = check_clients(server, front, chance)
            total += check_clients(server, path, chance, "127.0.0.1")
    return f"{total} clients"


def nginx_accepts(directory, folder, chance):
    """Our proxy sends a header to nginx, which sends one to our server: it names the first client."""
    # Of an IPv6 client and an IPv4 listener nginx 1.22 makes a header that mixes both, which is invalid.
    fronts = [free_address(family) for family in LOOPBACK]
    with echo_server(directory, f"{folder}/server") as server:
        servers = "".join(
            f"server {{ listen {front} proxy_protocol; set_real_ip_from 127.0.0.1; set_real_ip_from ::1; "
            f"proxy_pass {server.address}; proxy_protocol on; }}\n" for front in fronts)
        with nginx(folder, servers):
            await_that(lambda: all(is_open(front) for front in fronts), "nginx")
            total = through_our_proxy(directory, folder, server, fronts, chance)
    return f"{total} clients"


# The package proxy-protocol.

def package_sends(directory, folder, chance):
    """Headers with random addresses and fields, and headers that are damaged."""
    from proxyprotocol.result import ProxyResultIPv4, ProxyResultIPv6, ProxyResultLocal, ProxyResultUnknown
    from proxyprotocol.tlv import ProxyProtocolSSLTLV, ProxyProtocolTLV
    from proxyprotocol.v1 import ProxyProtocolV1
    from proxyprotocol.v2 import ProxyProtocolV2

    def fields():
        secured = ProxyProtocolSSLTLV(has_ssl=True, has_cert_conn=True, version="TLSv1.3", cn="é", cipher="any")
        others = {kind: chance.randbytes(chance.randint(0, 200)) for kind in (0x04, 0xe0, 0xee, 0xff)}
        return ProxyProtocolTLV(init=others, ssl=secured, authority="localhost", unique_id=chance.randbytes(128),
                                alpn=b"h2", netns="other")

    def addresses(kind, bits):
        return (kind(chance.getrandbits(bits)), chance.randint(1, 65535)), (kind(chance.getrandbits(bits)), 443)

    expected, damaged = collections.Counter(), 0
    with echo_server(directory, f"{folder}/server") as server:
        for turn in range(40):
            version = ProxyProtocolV1() if turn % 4 == 0 else ProxyProtocolV2()
            more = {} if turn % 4 == 0 else {"tlv": fields()}
            if turn % 10 == 9:
                result, source = (ProxyResultLocal(**more) if more else ProxyResultUnknown()), None
            elif turn % 2:
                result = ProxyResultIPv4(*addresses(ipaddress.IPv4Address, 32), protocol=socket.SOCK_STREAM, **more)
                source = "{}:{}".format(*result.source)
            else:
                result = ProxyResultIPv6(*addresses(ipaddress.IPv6Address, 128), protocol=socket.SOCK_STREAM, **more)
                source = "[{}]:{}".format(*result.source)
            header = version.pack(result)
            with connected(server.address) as client:
                own = "{}:{}".format(*client.getsockname())
                cut = chance.randint(0, len(header))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(header[:cut])
                client.sendall(header[cut:])
                size = exchange(client, chance)
            expected[source or own, "closed by peer", size] += 1
            # Of version 1 any byte before the line end, of version 2 the signature or the version.
            at = chance.randrange(len(header) - 2 if turn % 4 == 0 else 13)
            changed = header[:at] + bytes([header[at] ^ 0x90]) + header[at + 1:]
            with connected(server.address) as client:
                answer = send_damaged(client, changed)
            if answer:
                raise Failed(f"{answer[:50]} came back for the header {changed!r}")
            damaged += 1
        count = expected.total() + damaged
        await_that(lambda: closings(server).total() >= count, f"{count} ends in the log", [server.log()[-2000:]])
        found = closings(server)
        refused = sum(number for (_, reason, _), number in found.items() if reason == "invalid PROXY header")
        accepted = collections.Counter(each for each in found.elements() if each[1] != "invalid PROXY header")
        expect_equal([("clients in the log", accepted, expected), ("refused headers", refused, damaged)])
    return f"{expected.total()} headers accepted, {damaged} damaged ones refused"


def send_damaged(client, header):
    """What comes back for a damaged header and data after it."""
    received = b""
    try:
        client.sendall(header + b"data")
        client.shutdown(socket.SHUT_WR)
        while part := client.recv(1 << 16):
            received += part
    except TimeoutError:
        raise Failed(f"no end after the header {header!r}") from None
    except OSError:
        pass
    return received


def package_reads(directory, folder, chance):
    """The headers of our proxy, for IPv4, IPv6 and Unix clients."""
    from proxyprotocol.v1 import ProxyProtocolV1
    from proxyprotocol.v2 import ProxyProtocolV2
    count = 0
    for version, parser in (("v1", ProxyProtocolV1()), ("v2", ProxyProtocolV2())):
        for host in (*LOOPBACK.values(), None):
            path = f"{folder}/{version}.sock"
            with socket.create_server(("127.0.0.1", 0)) as upstream:
                upstream.settimeout(PATIENCE)
                own = f"{folder}/{version}-{host}".replace(":", "_")
                where = [host, "0"] if host else ["--unix", path]
                os.makedirs(own)
                arguments = [*where, "--workers", "1", "--upstream", address_of(upstream), "--send-proxy", version]
                with WatchedServer(directory, own, *arguments) as proxy:
                    proxy.await_start()
                    with connected(path if host is None else proxy.address) as client:
                        expected = [client.getsockname()[:2], client.getpeername()[:2]]
                        data = chance.randbytes(1000)
                        client.sendall(data)
                        client.shutdown(socket.SHUT_WR)
                        accepted, _ = upstream.accept()
                        with accepted:
                            accepted.settimeout(PATIENCE)
                            received = b"".join(iter(lambda: accepted.recv(1 << 16), b""))
                        header = received.removesuffix(data)
                        if not received.endswith(data):
                            raise Failed(f"other bytes were passed on: {received[:100]!r}")
                        result = parser.unpack(header)
                        names = [each and (str(each[0]), each[1]) for each in (result.source, result.dest)]
                        if host is not None:
                            expect_equal([("addresses", names, expected)], header)
                        elif any(names):
                            raise Failed(f"a Unix client is {names} in {header!r}")
                        if parser.pack(result) != header and host is not None:
                            raise Failed(f"the package writes {parser.pack(result)!r}, not {header!r}")
                    proxy.end(PATIENCE)
            count += 1
    return f"{count} headers"
