"""A UDP client as the tutorials write it: sends each argument, waits for the reply with a timeout, prints it."""

import socket
import sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
for message in sys.argv[3:]:
    sock.sendto(message.encode(), (sys.argv[1], int(sys.argv[2])))
    try:
        data, addr = sock.recvfrom(65536)
        print(f"Received {data!r} from {addr}")
    except socket.timeout:
        print("Request timed out")
