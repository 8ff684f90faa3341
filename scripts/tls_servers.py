"""Servers of tlslite-ng, another implementation of TLS, for the load client. See scripts/conformance.

Each has an expected end: the exit status of the client, and how many of its connections failed, by reason. Where the
status is 0, all messages came back.
"""

import copy
import random
import socket
import threading

from tlslite import constants
from tlslite.api import HandshakeSettings, TLSError, X509CertChain, parsePEMKey
from tlslite.messages import Message

from checks import Client
from processes import PATIENCE, Failed
from tls_peer import ALERT, BOTH, DATA, HANDSHAKE, LARGEST, TLS12, TLS13, EditedConnection, Wire, fragments

MESSAGES, SIZE = 5, 3000
SERVERS = []


def server(status, errors, versions=BOTH, **settings):
    """Registers a server. `act(side, data)` answers a part of the input."""
    def register(act):
        SERVERS.extend((act, version, status, errors, settings) for version in versions)
        return act
    return register


class Side:
    """The server's side of a connection."""

    def __init__(self, accepted, version, folder, chance, rewrite=None, edit=None, **settings):
        self.wire, self.chance = Wire(accepted), chance
        if rewrite:
            self.wire.rewrite = rewrite
        self.connection = EditedConnection(self.wire)
        self.connection.edit = edit(chance) if edit else None
        self.connection.closeSocket = False
        self.settings = HandshakeSettings()
        self.settings.minVersion = self.settings.maxVersion = version
        for name, value in settings.items():
            setattr(self.settings, name, value)
        self.chain = X509CertChain()
        with open(f"{folder}/cert.pem") as certificate, open(f"{folder}/key.pem") as key:
            self.chain.parsePemList(certificate.read())
            self.key = parsePEMKey(key.read(), private=True)

    @property
    def layer(self):
        return self.connection._recordLayer

    def send(self, kind, data):
        for _ in self.layer.sendRecord(Message(kind, bytearray(data))):
            pass

    def answer(self, data, part=LARGEST):
        for at in range(0, len(data), part):
            self.send(DATA, data[at:at + part])

    def run(self, act):
        """Until the client closes, or a fault ends the connection."""
        try:
            self.connection.handshakeServer(certChain=self.chain, privateKey=self.key, settings=self.settings)
            while data := self.connection.read(max=LARGEST, min=1):
                act(self, bytes(data))
        except (OSError, TLSError, ValueError):
            pass
        finally:
            self.wire.socket.close()


@server(0, {})
def in_order(side, data):
    side.answer(data)


@server(0, {}, rewrite=fragments([1]))
def handshake_in_records_of_one_byte(side, data):
    side.answer(data)


@server(0, {}, rewrite=lambda data: [data[at:at + 1] for at in range(len(data))])
def segments_of_one_byte(side, data):
    side.answer(data)


@server(0, {}, [TLS13], eccCurves=["secp384r1", "secp256r1"], keyShares=["secp384r1"])
def hello_retry_request(side, data):
    side.answer(data)


@server(0, {}, ticket_count=5, ticketKeys=[bytearray(32)])
def tickets(side, data):
    side.answer(data)


@server(0, {})
def records_of_any_size(side, data):
    side.answer(data, side.chance.choice([1, 7, 500]))


@server(0, {})
def records_without_data(side, data):
    for part in (data[:10], b"", b"", data[10:], b""):
        side.send(DATA, part)


@server(0, {}, [TLS13])
def padded_records(side, data):
    side.layer.padding_cb = lambda length, kind, most: bytearray(side.chance.randint(0, most))
    side.answer(data, 500)


@server(0, {}, [TLS13])
def key_updates(side, data):
    side.connection.send_keyupdate_request(side.chance.randrange(2))
    side.answer(data)


@server(0, {}, [TLS12])
def a_hello_request(side, data):
    """Once, and declined."""
    if not hasattr(side, "has_asked"):
        side.has_asked = True
        side.send(HANDSHAKE, [constants.HandshakeType.hello_request, 0, 0, 0])
    side.answer(data)


def rewritten(side, data, rewrite):
    side.wire.rewrite = rewrite
    side.send(DATA, data)
    side.wire.rewrite = lambda data: [data]


@server(1, {"tls_corrupted": 1})
def a_flipped_bit(side, data):
    at = side.chance.randrange(len(data))
    rewritten(side, data, lambda sent: [sent[:5 + at] + bytes([sent[5 + at] ^ 1]) + sent[6 + at:]])


@server(1, {"tls_corrupted": 1})
def a_record_twice(side, data):
    # Within a reply: the client ends after the last one.
    rewritten(side, data[:10], lambda sent: [sent, sent])
    side.answer(data[10:])


@server(1, {"tls_corrupted": 1})
def plain_text(side, data):
    rewritten(side, data, lambda sent: [sent[:3] + len(data).to_bytes(2, "big") + data])


@server(1, {"tls_corrupted": 1})
def too_much_in_a_record(side, data):
    side.send(DATA, data + bytes(LARGEST))


@server(1, {"truncated": 1})
def the_end_without_close_notify(side, data):
    side.send(DATA, data[:10])
    side.wire.socket.shutdown(socket.SHUT_RDWR)


@server(1, {"closed_early": 1})
def close_notify_within_a_reply(side, data):
    side.send(DATA, data[:10])
    side.send(ALERT, [1, 0])


@server(1, {"tls_alert_80": 1})
def a_fatal_alert(side, _):
    side.send(ALERT, [2, constants.AlertDescription.internal_error])


def damaged_finished(chance):
    def edit(message):
        if type(message).__name__ == "Finished":
            message.verify_data[chance.randrange(len(message.verify_data))] ^= 1
    return edit


def damaged_signature(chance):
    def edit(message):
        if type(message).__name__ in ("CertificateVerify", "ServerKeyExchange"):
            signature = bytearray(message.signature)
            signature[-1 - chance.randrange(8)] ^= 1
            message.signature = signature
    return edit


def suite_that_was_not_offered(_):
    def edit(message):
        if type(message).__name__ == "ServerHello":
            changed = copy.copy(message)
            changed.cipher_suite = 0x002f
            return changed
        return message
    return edit


server(1, {"tls_corrupted": 1}, edit=damaged_finished)(in_order)
server(1, {"tls_bad_signature": 1}, edit=damaged_signature)(in_order)
server(1, {"tls_protocol_violation": 1}, edit=suite_that_was_not_offered)(in_order)


def run_all(directory, folder, seed):
    """A client of one connection for each server."""
    wrong = []
    for act, version, status, errors, settings in SERVERS:
        edit = settings.get("edit")
        name = f"{(edit or act).__name__.replace('_', ' ')} (TLS 1.{version[1] - 1})"
        found = exchange(directory, folder, act, version, settings, random.Random(f"{seed} {name}"))
        answered = found[2] if status == 0 else None
        if found[:2] != (status, errors) or answered not in (None, MESSAGES):
            wrong.append(f"{name}: status, errors, answered: {found}; expected: {status}, {errors}")
    if wrong:
        raise Failed(f"{len(wrong)} of {len(SERVERS)} servers:\n" + "\n".join(wrong))
    return f"{len(SERVERS)} servers"


def exchange(directory, folder, act, version, settings, chance):
    """The exit status of the client, its failed connections by reason, and the number of answered messages."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        address = "127.0.0.1:{}".format(listener.getsockname()[1])

        def serve():
            accepted, _ = listener.accept()
            Side(accepted, version, folder, chance, **settings).run(act)
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        load = ["-c", "1", "--messages", MESSAGES, "--size", SIZE, "--tls", "--tls-ca", f"{folder}/ca.pem",
                "--server-name", "localhost", "--reply-timeout", "20s", "--retries", "0"]
        with Client(directory, address, *load) as client:
            results = client.results()
            status = client.child.returncode
        serving.join(PATIENCE)
        if serving.is_alive():
            raise Failed(f"the client left its connection open: {act.__name__}")
    return status, results["errors"], results["messages"]["answered"]
