"""A UDP server as the tutorials write it: echoes each datagram, or says "Message received"."""

import socket
import sys

answer = sys.argv[1].encode() if len(sys.argv) > 1 else None
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
print(f"Listening on {sock.getsockname()}")
while True:
    data, addr = sock.recvfrom(65536)
    sock.sendto(data if answer is None else answer, addr)
