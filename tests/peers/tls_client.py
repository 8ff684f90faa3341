"""An echo client over TLS, with a certificate if one is given: sends 1 MiB, expects it back, and ends in order."""
import socket
import ssl
import sys

host, port, authority, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=authority)
if len(sys.argv) > 5:
    context.load_cert_chain(sys.argv[5], sys.argv[6])
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
message = bytes(range(256)) * 4096
with socket.create_connection((host, port), timeout=20) as plain:
    stream = context.wrap_socket(plain, server_hostname="localhost")
    received = bytearray()
    # In turns: Python's ssl module does not support reading and writing one stream from two threads.
    for begin in range(0, len(message), 65536):
        stream.sendall(message[begin:begin + 65536])
        while len(received) < begin + 65536:
            part = stream.recv(65536)
            if not part:
                sys.exit(f"the end after {len(received)} bytes")
            received += part
    if received != message:
        sys.exit("other bytes came back")
    print(f"{len(received)} bytes over {stream.version()}")
    # Sends close_notify and waits for the peer's.
    stream.unwrap()
