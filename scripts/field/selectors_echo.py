"""Echo server with Python's selectors, for scripts/bench-field."""

import selectors
import socket

BUFFER_BYTES = 64 << 10
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
selector = selectors.DefaultSelector()


def accept(listener):
    while True:
        try:
            stream, _ = listener.accept()
        except BlockingIOError:
            return
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(stream, READ, b"")


def echo(stream, unsent):
    """One turn: sends the rest of the last turn, or receives once. Nothing is received while there is a rest."""
    try:
        data = unsent or stream.recv(BUFFER_BYTES)
        if not data:
            return close(stream)
        rest = data[stream.send(data) :]
    except BlockingIOError:
        rest = data
    except OSError:
        return close(stream)
    if rest or unsent:
        selector.modify(stream, WRITE if rest else READ, rest)


def close(stream):
    selector.unregister(stream)
    stream.close()


def main():
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setblocking(False)
        selector.register(listener, READ, None)
        print(f"Listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    accept(key.fileobj)
                else:
                    echo(key.fileobj, key.data)


main()
