"""A peer for the tests: the multi-connection server as the tutorials write it, with selectors.

It keeps the tutorials' faults on purpose: it busy-loops while a socket is writable, and what is unsent when the peer
closes is lost. Port 0 takes a free port, which it prints.
"""

import selectors
import socket
import sys
import types

sel = selectors.DefaultSelector()


def accept(listener):
    conn, addr = listener.accept()
    print(f"Accepted connection from {addr}")
    conn.setblocking(False)
    data = types.SimpleNamespace(addr=addr, outb=b"")
    sel.register(conn, selectors.EVENT_READ | selectors.EVENT_WRITE, data=data)


def service(sock, data, mask):
    if mask & selectors.EVENT_READ:
        received = sock.recv(1024)
        if received:
            data.outb += received
        else:
            print(f"Closing connection to {data.addr}")
            sel.unregister(sock)
            sock.close()
            return
    if mask & selectors.EVENT_WRITE and data.outb:
        print(f"Echoing {data.outb!r} to {data.addr}")
        sent = sock.send(data.outb)
        data.outb = data.outb[sent:]


def main():
    if len(sys.argv) != 3:
        print(f"Usage: {sys.argv[0]} <host> <port>")
        sys.exit(1)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((sys.argv[1], int(sys.argv[2])))
    listener.listen()
    print(f"Listening on {listener.getsockname()}")
    listener.setblocking(False)
    sel.register(listener, selectors.EVENT_READ, data=None)
    try:
        while True:
            for key, mask in sel.select(timeout=None):
                if key.data is None:
                    accept(key.fileobj)
                else:
                    service(key.fileobj, key.data, mask)
    except KeyboardInterrupt:
        print("Caught keyboard interrupt, exiting")
    finally:
        sel.close()


main()
