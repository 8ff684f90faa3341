"""A peer for the tests: the application server as the tutorials write it, with selectors.

One message per connection: it closes once its answer is sent. A request that it cannot read ends that connection with a
traceback, as in the tutorials. Port 0 takes a free port, which it prints.
"""

import selectors
import socket
import sys
import traceback
import types

sys.dont_write_bytecode = True

from app_common import Reader, create_message, json_encode

TABLE = {
    "morpheus": "Follow the white rabbit. \U0001f430",
    "ring": "In the caves beneath the Misty Mountains. \U0001f48d",
    "\U0001f436": "\U0001f43e Playing ball! \U0001f3d0",
}

sel = selectors.DefaultSelector()


def accept(listener):
    conn, addr = listener.accept()
    print(f"Accepted connection from {addr}")
    conn.setblocking(False)
    sel.register(conn, selectors.EVENT_READ, data=types.SimpleNamespace(addr=addr, reader=Reader(), outb=b""))


def answer(header, request):
    if header["content-type"] != "text/json":
        content = b"First 10 bytes of request: " + request[:10]
        return create_message(content, "binary/custom-server-binary-type", "binary")
    action = request.get("action")
    if action == "search":
        query = request.get("value")
        content = {"result": TABLE.get(query) or f"No match for '{query}'."}
    else:
        content = {"result": f"Error: invalid action '{action}'."}
    return create_message(json_encode(content, "utf-8"), "text/json", "utf-8")


def close(sock, data):
    print(f"Closing connection to {data.addr}")
    sel.unregister(sock)
    sock.close()


def service(sock, data, mask):
    if mask & selectors.EVENT_READ:
        received = sock.recv(4096)
        if not received:
            raise RuntimeError("Peer closed.")
        whole = data.reader.feed(received)
        if whole:
            print(f"Received request {whole[1]!r} from {data.addr}")
            data.outb = answer(*whole)
            sel.modify(sock, selectors.EVENT_WRITE, data=data)
    if mask & selectors.EVENT_WRITE and data.outb:
        print(f"Sending {data.outb!r} to {data.addr}")
        sent = sock.send(data.outb)
        data.outb = data.outb[sent:]
        if sent and not data.outb:
            close(sock, data)


def main():
    if len(sys.argv) != 3:
        print(f"Usage: {sys.argv[0]} <host> <port>")
        sys.exit(1)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
                    continue
                try:
                    service(key.fileobj, key.data, mask)
                except Exception:
                    print(f"Error: exception for {key.data.addr}:\n{traceback.format_exc()}")
                    close(key.fileobj, key.data)
    except KeyboardInterrupt:
        print("Caught keyboard interrupt, exiting")
    finally:
        sel.close()


main()
