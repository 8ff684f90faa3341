"""A peer for the tests: the multi-connection client as the tutorials write it, with selectors.

It starts all connections without waiting, sends two messages on each, and closes a connection once as many bytes
came back as it sent. It prints what it receives, so that a test can verify every byte.
"""

import selectors
import socket
import sys
import types

MESSAGES = [b"Message 1 from client.", b"Message 2 from client."]

sel = selectors.DefaultSelector()


def start_connections(host, port, count):
    for number in range(1, count + 1):
        print(f"Starting connection {number} to {(host, port)}")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((host, port))
        data = types.SimpleNamespace(
            number=number,
            bytes_expected=sum(len(message) for message in MESSAGES),
            bytes_received=0,
            messages=list(MESSAGES),
            outb=b"",
        )
        sel.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, data=data)


def close(sock, data):
    print(f"Closing connection {data.number}")
    sel.unregister(sock)
    sock.close()


def service(sock, data, mask):
    if mask & selectors.EVENT_READ:
        received = sock.recv(1024)
        if received:
            print(f"Received {received!r} from connection {data.number}")
            data.bytes_received += len(received)
        if not received or data.bytes_received == data.bytes_expected:
            close(sock, data)
            return
    if mask & selectors.EVENT_WRITE:
        if not data.outb and data.messages:
            data.outb = data.messages.pop(0)
        if data.outb:
            print(f"Sending {data.outb!r} to connection {data.number}")
            sent = sock.send(data.outb)
            data.outb = data.outb[sent:]


def main():
    if len(sys.argv) != 4:
        print(f"Usage: {sys.argv[0]} <host> <port> <num_connections>")
        sys.exit(1)
    start_connections(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    try:
        while sel.get_map():
            for key, mask in sel.select(timeout=1):
                service(key.fileobj, key.data, mask)
    except KeyboardInterrupt:
        print("Caught keyboard interrupt, exiting")
    finally:
        sel.close()


main()
