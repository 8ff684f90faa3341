"""An echo client over TLS, with a certificate if one is given: sends 1 MiB, expects it back, and ends in order."""
import socket
import ssl
import sys
import threading

host, port, authority, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=authority)
if len(sys.argv) > 5:
    context.load_cert_chain(sys.argv[5], sys.argv[6])
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
message = bytes(range(256)) * 4096
with socket.create_connection((host, port), timeout=20) as plain:
    stream = context.wrap_socket(plain, server_hostname="localhost")
    sender = threading.Thread(target=stream.sendall, args=(message,))
    sender.start()
    received = bytearray()
    while len(received) < len(message):
        part = stream.recv(65536)
        if not part:
            sys.exit(f"the end after {len(received)} bytes")
        received += part
    sender.join()
    if received != message:
        sys.exit("other bytes came back")
    print(f"{len(received)} bytes over {stream.version()}")
    # Sends close_notify and waits for the peer's.
    stream.unwrap()
