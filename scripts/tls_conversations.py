"""TLS conversations of tlslite-ng, another implementation of TLS, with a server. See scripts/conformance.

Each conversation has an expected end: what the peer sees, and the reason that the server counts. A valid conversation
is "served": each byte comes back, and both sides send close_notify. Alerts are those of RFC 5246 and RFC 8446. Where
rustls sends another one or none, its end is expected, and a comment has that of the RFC.
"""

import random
import socket
import struct

from tlslite import constants

from checks import await_that, expect_equal
from processes import Failed
from tls_peer import (ALERT, BOTH, CHANGE_CIPHER_SPEC, DATA, HANDSHAKE, KINDS, LARGEST, SERVED, TLS12, TLS13, Peer,
                      first_flight, fragments, record, records, remove_extension, unknown_extension, with_hello)

CIPHERS = ["aes128gcm", "aes256gcm", "chacha20-poly1305"]
GREETING = b"Hello, client! Welcome to the server."
GROUPS = ["secp256r1", "secp384r1", "x25519"]
CONVERSATIONS = []


def conversation(end, reason, versions=BOTH):
    """Registers a conversation. `end` is what its peer sees, and `reason` how the server counts its connection."""
    def register(function):
        for version in versions:
            CONVERSATIONS.append((function, version, end, reason))
        return function
    return register


def served_with(address, version, chance, **options):
    """A conversation that only differs in its handshake."""
    with Peer(address, version, **options) as peer:
        return peer.handshake() or peer.served(chance.randbytes(1000))


def refused_with(address, version, **options):
    """A handshake that the server ends."""
    with Peer(address, version, **options) as peer:
        # In TLS 1.3 the client is done before the server has its Finished.
        return peer.handshake() or peer.end()


def after_handshake(act):
    """A conversation that begins in order, then does `act(peer, chance)`, and then waits for the end."""
    def run(address, version, chance):
        with Peer(address, version) as peer:
            return peer.handshake() or peer.echoed(chance.randbytes(100)) or act(peer, chance) or peer.end()
    return run


# Valid conversations.

def combination(cipher, group):
    @conversation(SERVED, "peer_closed")
    def run(address, version, chance):
        # tlslite wants to have offered the curve of the certificate, too.
        only = change_extension(KINDS.supported_groups, lambda extension: setattr(extension, "groups", [number]))
        number = getattr(constants.GroupName, group)
        return served_with(address, version, chance, cipherNames=[cipher], keyShares=[group], edit=with_hello(only))
    run.__name__ = f"{cipher} with {group}"


for each_cipher in CIPHERS:
    for each_group in GROUPS:
        combination(each_cipher, each_group)


@conversation(SERVED, "peer_closed")
def handshake_in_records_of_one_byte(address, version, chance):
    return served_with(address, version, chance, rewrite=fragments([1]))


@conversation(SERVED, "peer_closed")
def handshake_in_records_of_any_size(address, version, chance):
    return served_with(address, version, chance, rewrite=fragments([chance.randint(1, 90) for _ in range(20)]))


@conversation(SERVED, "peer_closed")
def handshake_in_segments_of_one_byte(address, version, chance):
    return served_with(address, version, chance, rewrite=lambda data: [data[at:at + 1] for at in range(len(data))])


@conversation(SERVED, "peer_closed")
def unknown_values_are_ignored(address, version, chance):
    """GREASE (RFC 8701) and other unassigned values in each list of the hello."""
    def change(hello):
        grease = [0x0a0a + 0x1010 * turn for turn in range(16)]
        hello.cipher_suites = [*grease, *hello.cipher_suites, 0xfefe]
        hello.compression_methods = [0, 1, 64]
        kinds = chance.sample(range(0x1000, 0xfe00), 20)
        hello.extensions += [unknown_extension(kind, chance.randbytes(chance.randint(0, 99))) for kind in kinds]
        chance.shuffle(hello.extensions)
        for extension in hello.extensions:
            if extension.extType == KINDS.supported_versions:
                extension.versions = [(0x0a, 0x0a), (3, 5), (9, 9), *extension.versions]
            elif extension.extType == KINDS.supported_groups:
                extension.groups = [*grease, *extension.groups]
            elif extension.extType == KINDS.signature_algorithms:
                extension.sigalgs = [(0x0a, 0x0a), (0xfe, 0xfe), *extension.sigalgs]
    return served_with(address, version, chance, edit=with_hello(
        lambda hello: change(hello) if version == TLS12 else change_without_compression(hello, change)))


def change_without_compression(hello, change):
    """TLS 1.3 permits no compression method but null (RFC 8446, 4.1.2)."""
    change(hello)
    hello.compression_methods = [0]


@conversation(SERVED, "peer_closed")
def hello_of_20_kb(address, version, chance):
    padding = unknown_extension(KINDS.client_hello_padding, bytes(20_000))
    return served_with(address, version, chance, edit=with_hello(lambda hello: hello.extensions.append(padding)))


def record_version(number):
    @conversation(SERVED, "peer_closed")
    def run(address, version, chance):
        change = first_flight(lambda data: data[:1] + number + data[3:])
        return served_with(address, version, chance, rewrite=change)
    run.__name__ = f"record version {number[0]}.{number[1]} of the hello"


for each_number in (b"\3\0", b"\3\1", b"\3\3"):
    record_version(each_number)


def later_version(number):
    @conversation(SERVED, "peer_closed")
    def run(address, version, chance):
        def change(hello):
            hello.client_version = number
        return served_with(address, version, chance, edit=with_hello(change))
    run.__name__ = f"version {number[0]}.{number[1]} in the hello"


for each_number in ((3, 4), (3, 5), (4, 0), (255, 255)):
    later_version(each_number)


@conversation(SERVED, "peer_closed", [TLS13])
def hello_retry_request(address, version, chance):
    return served_with(address, version, chance, keyShares=[])


@conversation(SERVED, "peer_closed", [TLS13])
def no_middlebox_compatibility(address, version, chance):
    """An empty session id, and no ChangeCipherSpec (RFC 8446, D.4)."""
    def change(hello):
        hello.session_id = bytearray()

    def rewrite(data):
        return [b"".join(header + content for header, content in records(data) if header[0] != CHANGE_CIPHER_SPEC)]
    return served_with(address, version, chance, edit=with_hello(change), rewrite=rewrite)


@conversation(SERVED, "peer_closed")
def data_in_records_of_one_byte(address, version, chance):
    with Peer(address, version) as peer:
        return peer.handshake() or peer.served(chance.randbytes(500), 1)


@conversation(SERVED, "peer_closed")
def data_in_the_largest_records(address, version, chance):
    with Peer(address, version) as peer:
        return peer.handshake() or peer.served(chance.randbytes(3 * LARGEST))


@conversation(SERVED, "peer_closed")
def records_without_data(address, version, chance):
    def act(peer, chance):
        for _ in range(10):
            peer.send(DATA, b"")
        return peer.served(chance.randbytes(100))
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed", [TLS13])
def padded_records(address, version, chance):
    def act(peer, chance):
        peer.layer.padding_cb = lambda length, kind, most: bytearray(chance.randint(0, most))
        return peer.served(chance.randbytes(1000), 100)
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed", [TLS13])
def key_updates(address, version, chance):
    def act(peer, chance):
        for turn in range(40):
            peer.key_update(turn % 2)
            if end := peer.echoed(chance.randbytes(1000), 300):
                return end
        answered = peer.alerts.count("key_update")
        return peer.close() if answered == 20 else f"{answered} of 20 key updates answered"
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed", [TLS13])
def key_update_in_two_records(address, version, chance):
    def act(peer, chance):
        peer.send(HANDSHAKE, [constants.HandshakeType.key_update, 0])
        peer.send(HANDSHAKE, [0, 1, 0])
        peer.update_keys(peer.layer.calcTLS1_3KeyUpdate_reciever)
        return peer.served(chance.randbytes(100))
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed", [TLS12])
def renegotiation_is_declined(address, version, chance):
    def act(peer, chance):
        peer.send(HANDSHAKE, peer.wire.sent[0][5:])
        end = peer.served(chance.randbytes(100))
        return end if peer.alerts == ["no_renegotiation"] else f"alerts: {peer.alerts}, then {end}"
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed", [TLS12])
def warnings_are_ignored(address, version, chance):
    def act(peer, chance):
        for _ in range(3):
            peer.send(ALERT, [1, constants.AlertDescription.user_canceled])
        return peer.served(chance.randbytes(100))
    return after_handshake(act)(address, version, chance)


@conversation(SERVED, "peer_closed")
def data_before_close_notify_is_answered(address, version, chance):
    data = chance.randbytes(100_000)
    with Peer(address, version) as peer:
        if end := peer.handshake():
            return end
        for start in range(0, len(data), 5000):
            peer.send(DATA, data[start:start + 5000])
        peer.send(ALERT, [1, 0])
        end = peer.end_of(lambda: expect_data(peer, data)) or peer.end()
        return SERVED if end == "close_notify" else end


def expect_data(peer, data):
    if peer.receive(len(data)) != data:
        raise Failed("other bytes came back")


@conversation(SERVED, "peer_closed")
def data_after_close_notify_is_ignored(address, version, chance):
    def act(peer, chance):
        peer.send(ALERT, [1, 0])
        peer.send(DATA, b"more")
        end = peer.end()
        return SERVED if end == "close_notify" else end
    return after_handshake(act)(address, version, chance)


def resumed(address, version, chance):
    """Twice in order, the second time with the session of the first one. Two connections."""
    with Peer(address, version) as peer:
        if end := peer.handshake():
            return end
        # tlslite has to read tickets itself.
        peer.connection.sendall(b"first")
        if peer.connection.read(min=5) != b"first":
            raise Failed("other bytes came back")
        session = peer.connection.session
        if (end := peer.close()) != SERVED:
            return end
    with Peer(address, version, session=session) as peer:
        end = peer.handshake() or peer.served(chance.randbytes(1000))
        return end if peer.connection.resumed else f"not resumed, {end}"


# Handshakes that the server has to end.

def refused_hello(name, alert, change, versions=BOTH):
    @conversation(alert, "handshake_failed", versions)
    def run(address, version, chance):
        return refused_with(address, version, edit=with_hello(change))
    run.__name__ = name


def refused_bytes(name, alert, change, versions=BOTH):
    """`change` rewrites the bytes of the first flight."""
    @conversation(alert, "handshake_failed", versions)
    def run(address, version, chance):
        return refused_with(address, version, rewrite=first_flight(change))
    run.__name__ = name


def set_to(name, value):
    return lambda hello: setattr(hello, name, value)


def change_extension(kind, change):
    def apply(hello):
        for extension in hello.extensions:
            if extension.extType == kind:
                change(extension)
    return apply


def damage_shares(point):
    """Replaces the public keys."""
    def change(extension):
        for share in extension.client_shares:
            share.key_exchange = bytearray(point(bytes(share.key_exchange)))
    return change_extension(KINDS.key_share, change)


def resized(by):
    """Changes the length of the handshake message, and not its content."""
    def change(data):
        length = int.from_bytes(data[6:9], "big") + by
        return data[:6] + length.to_bytes(3, "big") + data[9:]
    return change


refused_hello("no common cipher suite", "handshake_failure", set_to("cipher_suites", [0x002f, 0x0005]))
refused_hello("no cipher suite", "decode_error", set_to("cipher_suites", []))
refused_hello("no common group", "handshake_failure", change_extension(
    KINDS.supported_groups, lambda extension: setattr(extension, "groups", [25])))
refused_hello("no common signature scheme", "handshake_failure", change_extension(
    KINDS.signature_algorithms, lambda extension: setattr(extension, "sigalgs", [(2, 1)])))
# missing_extension, in both.
refused_hello("no signature schemes in the hello", "handshake_failure",
              lambda hello: remove_extension(hello, KINDS.signature_algorithms), [TLS13])
refused_hello("no groups in the hello", "handshake_failure",
              lambda hello: remove_extension(hello, KINDS.supported_groups), [TLS13])
refused_hello("no null compression", "illegal_parameter", set_to("compression_methods", [1]))
refused_hello("compression in TLS 1.3", "illegal_parameter", set_to("compression_methods", [0, 1]), [TLS13])
refused_hello("an extension twice", "illegal_parameter", lambda hello: hello.extensions.append(hello.extensions[0]))
refused_hello("two shares of a group", "illegal_parameter", change_extension(
    KINDS.key_share, lambda extension: extension.client_shares.append(extension.client_shares[0])), [TLS13])
refused_hello("shares that are no points", "illegal_parameter",
              damage_shares(lambda key: b"\4" + bytes(len(key) - 1) if len(key) > 32 else bytes(32)), [TLS13])
refused_hello("shares of a wrong length", "illegal_parameter", damage_shares(lambda key: key[:-1]), [TLS13])
refused_hello("only TLS 1.1 in the extension", "protocol_version", change_extension(
    KINDS.supported_versions, lambda extension: setattr(extension, "versions", [(3, 2), (3, 1)])), [TLS13])
for each_number in ((3, 0), (3, 1), (3, 2)):
    refused_hello(f"version {each_number[0]}.{each_number[1]}", "protocol_version",
                  set_to("client_version", each_number), [TLS12])
refused_bytes("a hello that is too short", "decode_error", resized(-1))
refused_bytes("an unknown type of handshake message", "unexpected_message",
              lambda data: data[:5] + b"\x63" + data[6:])
refused_bytes("another handshake message than the hello", "unexpected_message",
              lambda data: data[:3] + bytes([0, 8, 20, 0, 0, 4, 1, 2, 3, 4]))
refused_bytes("a record of another type", "unexpected_message", lambda data: bytes([23]) + data[1:])
# unexpected_message, in both.
refused_bytes("a heartbeat", "decode_error", lambda data: bytes([24, 3, 3, 0, 3, 1, 64, 0]))
refused_bytes("a record without content", "decode_error", lambda data: data[:3] + b"\0\0" + data)
refused_bytes("ChangeCipherSpec before the hello", "unexpected_message",
              lambda data: bytes([20, 3, 3, 0, 1, 1]) + data)
refused_bytes("an alert of one byte", "decode_error", lambda data: bytes([21, 3, 3, 0, 1, 2]))
# record_overflow.
refused_bytes("a record of 18,433 bytes", "decode_error",
              lambda data: data[:3] + struct.pack(">H", LARGEST + 2049) + bytes(LARGEST + 2049))
# The limit of the server, which no RFC has.
refused_bytes("a hello of 48 KiB", "illegal_parameter", lambda data: b"".join(
    data[:3] + struct.pack(">H", LARGEST) + part
    for part in [b"\1" + (3 * LARGEST - 4).to_bytes(3, "big") + bytes(LARGEST - 4), bytes(LARGEST), bytes(LARGEST)]))


@conversation("end", "handshake_failed")
def a_fatal_alert_instead_of_the_hello(address, version, chance):
    with Peer(address, version) as peer:
        peer.wire.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
        end = peer.wire.socket.recv(1000)
        return "end" if not end else f"{len(end)} bytes"


@conversation("decrypt_error", "handshake_failed")
def wrong_finished(address, version, chance):
    def edit(message):
        if type(message).__name__ == "Finished":
            message.verify_data[chance.randrange(len(message.verify_data))] ^= 1 << chance.randrange(8)
    return refused_with(address, version, edit=edit)


@conversation("bad_record_mac", "handshake_failed")
def damaged_finished(address, version, chance):
    def rewrite(data):
        parts = list(records(data))
        # Not the hello.
        if parts[0][0][0] != HANDSHAKE or parts[0][1][0] != constants.HandshakeType.client_hello:
            return [data[:-1] + bytes([data[-1] ^ 1])]
        return [data]
    return refused_with(address, version, rewrite=rewrite)


@conversation("unexpected_message", "handshake_failed", [TLS12])
def finished_without_change_cipher_spec(address, version, chance):
    def rewrite(data):
        parts = list(records(data))
        if CHANGE_CIPHER_SPEC not in (header[0] for header, _ in parts):
            return [data]
        finished = bytes([constants.HandshakeType.finished, 0, 0, 12]) + bytes(12)
        return [parts[0][0] + parts[0][1] + record(finished)]
    return refused_with(address, version, rewrite=rewrite)


@conversation("unexpected_message", "handshake_failed", [TLS12])
def data_instead_of_finished(address, version, chance):
    def rewrite(data):
        return [b"".join((b"\x17" if header[0] == CHANGE_CIPHER_SPEC else header[:1]) + header[1:] + content
                         for header, content in records(data))]
    return refused_with(address, version, rewrite=rewrite)


# Faults after the handshake.

def fault(name, alert, reason, act, versions=BOTH):
    CONVERSATIONS.extend((named(after_handshake(act), name), version, alert, reason) for version in versions)


def named(function, name):
    function.__name__ = name
    return function


def sends(kind, data):
    return lambda peer, chance: peer.send(kind, data)


def flip(peer, chance):
    """One bit of the ciphertext."""
    def rewrite(data):
        at = chance.randrange(5, len(data))
        return [data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:]]
    peer.send_rewritten(DATA, chance.randbytes(100), rewrite)


def replaced(rewrite):
    return lambda peer, chance: peer.send_rewritten(DATA, chance.randbytes(100), lambda data: [rewrite(data)])


def reorder(peer, chance):
    kept = []
    peer.send_rewritten(DATA, b"first", lambda data: kept.append(data) or [])
    peer.send(DATA, b"second")
    peer.wire.sendall(kept[0])


def many(times, act):
    def run(peer, chance):
        for _ in range(times):
            try:
                act(peer, chance)
            except (BrokenPipeError, ConnectionResetError):
                return
    return run


def ends_without_close_notify(peer, chance):
    peer.wire.socket.shutdown(socket.SHUT_WR)


fault("a flipped bit", "bad_record_mac", "damaged", flip)
fault("a shortened record", "bad_record_mac", "damaged", replaced(
    lambda data: data[:3] + struct.pack(">H", len(data) - 6) + data[5:-1]))
fault("a record shorter than its tag", "bad_record_mac", "damaged", replaced(
    lambda data: data[:3] + b"\0\4" + data[5:9]))
fault("an empty ciphertext", "bad_record_mac", "damaged", replaced(lambda data: data[:3] + b"\0\0"))
fault("plain text", "bad_record_mac", "damaged", replaced(lambda data: data[:3] + b"\0\x40" + bytes(64)))
fault("a record twice", "bad_record_mac", "damaged", replaced(lambda data: data + data))
fault("two records in the wrong order", "bad_record_mac", "damaged", reorder)
fault("16,385 bytes in a record", "record_overflow", "damaged", sends(DATA, bytes(LARGEST + 1)))
# record_overflow.
fault("a ciphertext of 18,433 bytes", "decode_error", "damaged", replaced(
    lambda data: data[:3] + struct.pack(">H", LARGEST + 2049) + bytes(LARGEST + 2049)))
fault("another hello", "unexpected_message", "damaged",
      lambda peer, chance: peer.send(HANDSHAKE, peer.wire.sent[0][5:]), [TLS13])
# An alert should be sent (RFC 8446, 6.2), down to "data within a handshake message".
fault("many renegotiations", "no close_notify", "damaged",
      many(10, lambda peer, chance: peer.send(HANDSHAKE, peer.wire.sent[0][5:])), [TLS12])
fault("many warnings", "no close_notify", "damaged",
      many(10, sends(ALERT, [1, constants.AlertDescription.user_canceled])))
fault("many records without data", "no close_notify", "damaged", many(1000, sends(DATA, b"")))
fault("many key updates", "no close_notify", "damaged",
      many(1000, lambda peer, chance: peer.key_update(1)), [TLS13])
fault("data within a handshake message", "no close_notify", "damaged",
      lambda peer, chance: peer.send(HANDSHAKE, [24, 0]) or peer.send(DATA, b"data"), [TLS13])
fault("a key update of another kind", "illegal_parameter", "damaged",
      sends(HANDSHAKE, [24, 0, 0, 1, 2]), [TLS13])
fault("a key update behind a message", "unexpected_message", "damaged",
      sends(HANDSHAKE, [24, 0, 0, 1, 0, 24, 0, 0, 1, 0]), [TLS13])
fault("an alert of one byte in a record", "decode_error", "damaged", sends(ALERT, [1]))
# unexpected_message, at the first one (RFC 8446, 5.4).
fault("handshake records without content", "no close_notify", "damaged", many(50, sends(HANDSHAKE, b"")))
# unexpected_message, in both.
fault("an unknown type of record", "decode_error", "damaged", sends(99, b"data"))
fault("a heartbeat after the handshake", "decode_error", "damaged", sends(24, bytes([1, 64, 0])))
fault("a Finished after the handshake", "unexpected_message", "damaged", sends(HANDSHAKE, [20, 0, 0, 4, 1, 2, 3, 4]))
fault("ChangeCipherSpec after the handshake", "unexpected_message", "damaged", sends(CHANGE_CIPHER_SPEC, [1]), [TLS13])
# unexpected_message.
fault("ChangeCipherSpec after the handshake", "decode_error", "damaged", sends(CHANGE_CIPHER_SPEC, [1]), [TLS12])
fault("a fatal alert", "no close_notify", "damaged", sends(ALERT, [2, constants.AlertDescription.internal_error]))
fault("the end without close_notify", "no close_notify", "truncated", ends_without_close_notify)


def server_closes_first(server, answer):
    """Conversations with the greet service, which sends a text and closes. `answer(peer)` follows its close_notify."""
    for version in BOTH:
        with Peer(server.address, version) as peer:
            if end := peer.handshake() or peer.end_of(lambda: expect_data(peer, GREETING)):
                raise Failed(f"{end}, and no text")
            if (end := peer.end()) != "close_notify":
                raise Failed(f"{end} after the text, not close_notify")
            answer(peer)


def answer_in_order(peer):
    peer.send(ALERT, [1, 0])
    peer.wire.socket.shutdown(socket.SHUT_WR)


def answer_with_data(peer):
    peer.send(DATA, b"data")
    answer_in_order(peer)


def do_not_answer(_):
    """Closes."""


def run_closes(server, _):
    """All ways to answer the close_notify of the server. It counts each connection as completed."""
    answers = [answer_in_order, answer_with_data, do_not_answer]
    for answer in answers:
        server_closes_first(server, answer)
    await_that(lambda: not server.metrics()["multiconn_connections_open"], "the end of the connections")
    expect_equal([("reasons", server.closed_by_reason(), {"completed": len(answers) * len(BOTH)})])
    return f"{len(answers) * len(BOTH)} conversations"


def end_of(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return f"{error.__class__.__name__}: {error}"


def run_all(server, seed):
    """Runs all conversations with a server of the echo service. Returns the number, and what went wrong."""
    wrong = []
    cases = [*CONVERSATIONS, *((resumed, version, SERVED, "peer_closed") for version in BOTH)]
    for function, version, end, reason in cases:
        name = f"{function.__name__.replace('_', ' ')} (TLS 1.{version[1] - 1})"
        before = server.closed_by_reason()
        found = end_of(function, server.address, version, random.Random(f"{seed} {name}"))
        await_that(lambda: not server.metrics()["multiconn_connections_open"], f"the end of the connection of: {name}")
        count = 2 if function is resumed else 1
        after = server.closed_by_reason()
        counted = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
        if (found, counted) != (end, {reason: count}):
            wrong.append(f"{name}: {found}, counted as {counted}; expected: {end}, {reason}")
    return len(cases), wrong
