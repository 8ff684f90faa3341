"""Randomly damaged hellos and records of tlslite-ng. See scripts/conformance."""

import random
import socket
import struct

from tlslite import constants

from processes import PATIENCE, Failed
from tls_peer import ALERT, BOTH, DATA, Peer, connect, record, records

# Hellos, and handshakes whose first record of data is damaged.
HELLOS, RECORDS = 400, 30


def hello_bytes(address, version):
    """The first flight of tlslite."""
    with Peer(address, version, rewrite=lambda data: []) as peer:
        peer.wire.socket.settimeout(0.2)
        peer.handshake()
        return peer.wire.sent[0]


def mutate(data, chance):
    """A few changes of bytes and sizes."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at] = chance.choice([0, 1, 0x7f, 0x80, 0xff])
        elif kind == 2:
            del data[at:at + chance.randint(1, 20)]
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randint(1, 20))
        else:
            data[at:at] = data[at:at + chance.randint(1, 50)]
        if not data:
            data = bytearray(b"\x16")
    return bytes(data)


def damaged(data, chance):
    """A mutation in which the record is not whole."""
    while (changed := mutate(data, chance)).startswith(data):
        pass
    return changed


def fuzz_hellos(server, seed):
    """Damaged hellos. The server has to answer with well-formed records, and has to end. Returns how it answered."""
    hellos = {version: hello_bytes(server.address, version) for version in BOTH}
    answers = {}
    for turn in range(HELLOS):
        chance = random.Random(f"{seed} hello {turn}")
        data = hellos[BOTH[turn % 2]]
        # Half of them keep their record header, with the right length.
        data = mutate(data, chance) if turn % 4 < 2 else record(mutate(data[5:], chance))
        answer = answer_to(server.address, data)
        if answer is None:
            raise Failed(f"no end within {PATIENCE} s after the hello {data.hex()}")
        kind = describe(answer)
        if kind.startswith("malformed"):
            raise Failed(f"{kind} after the hello {data.hex()}")
        answers[kind] = answers.get(kind, 0) + 1
    return answers


def answer_to(address, data):
    """All bytes that come back after these, and the end of the output. None if there is no end."""
    wire = connect(address)
    answer = b""
    with wire.socket:
        try:
            wire.socket.sendall(data)
            wire.socket.shutdown(socket.SHUT_WR)
            while part := wire.socket.recv(1 << 16):
                answer += part
        except TimeoutError:
            return None
        except OSError:
            pass
    return answer


def describe(answer):
    if not answer:
        return "nothing"
    for header, content in records(answer):
        if header[0] not in (20, 21, 22, 23) or header[1] != 3 or len(content) != struct.unpack(">H", header[3:5])[0]:
            return f"malformed record {header.hex()} with {len(content)} bytes"
        if header[0] == ALERT:
            if len(content) != 2 or content[0] != 2:
                return f"malformed alert {content.hex()}"
            return constants.AlertDescription.toStr(content[1])
    return "its part of the handshake"


def fuzz_records(server, seed):
    """Damaged records of data. None may be taken as data. Returns how the server ended the connections."""
    ends = {}
    for turn in range(RECORDS):
        chance = random.Random(f"{seed} record {turn}")
        with Peer(server.address, BOTH[turn % 2]) as peer:
            def act():
                data = chance.randbytes(chance.randint(0, 300))
                peer.send_rewritten(DATA, data, lambda sent: [damaged(sent, chance)])
                peer.wire.socket.shutdown(socket.SHUT_WR)
            end = peer.handshake() or peer.end_of(act) or peer.end()
        if end not in ("bad_record_mac", "record_overflow", "unexpected_message", "decode_error", "reset",
                       "no close_notify"):
            raise Failed(f"a damaged record (turn {turn}): {end}")
        ends[end] = ends.get(end, 0) + 1
    return ends
