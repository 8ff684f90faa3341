"""A peer for the tests: the application client as the tutorials write it, with selectors.

One request, one answer, and it closes. With `--until-end` it does not close before the server does, and then prints how
many bytes came in all.
"""

import selectors
import socket
import sys

sys.dont_write_bytecode = True

from app_common import Reader, create_message, json_encode


def create_request(action, value):
    if action == "binary":
        return create_message((action + value).encode("utf-8"), "binary/custom-client-binary-type", "binary")
    return create_message(json_encode({"action": action, "value": value}, "utf-8"), "text/json", "utf-8")


def show(header, content, addr):
    if header["content-type"] == "text/json":
        print(f"Received response {content!r} from {addr}")
        print(f"Got result: {content.get('result')}")
    else:
        print(f"Received {header['content-type']} response from {addr}")
        print(f"Got response: {content!r}")


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--until-end"]
    if len(arguments) != 4:
        print(f"Usage: {sys.argv[0]} <host> <port> <action> <value>")
        sys.exit(1)
    addr = (arguments[0], int(arguments[1]))
    print(f"Starting connection to {addr}")
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.connect_ex(addr)
    sel = selectors.DefaultSelector()
    sel.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
    outb, reader, count, whole = create_request(*arguments[2:]), Reader(), 0, None
    while True:
        for _, mask in sel.select(timeout=1):
            if mask & selectors.EVENT_READ:
                received = sock.recv(4096)
                count += len(received)
                if not received:
                    if whole is None:
                        raise RuntimeError("Peer closed.")
                    print(f"The end after {count} bytes")
                    return
                whole = whole or reader.feed(received)
                if whole:
                    show(*whole, addr)
                    if len(arguments) == len(sys.argv) - 1:
                        print(f"Closing connection to {addr}")
                        sock.close()
                        return
            if mask & selectors.EVENT_WRITE and outb:
                print(f"Sending {outb!r} to {addr}")
                outb = outb[sock.send(outb) :]
                if not outb:
                    sel.modify(sock, selectors.EVENT_READ)


main()
