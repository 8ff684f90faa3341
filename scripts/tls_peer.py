"""A TLS client of tlslite-ng whose messages and records can be changed. See scripts/conformance."""

import socket
import struct

from tlslite import constants, extensions
from tlslite.api import (HandshakeSettings, TLSAbruptCloseError, TLSConnection, TLSError, TLSLocalAlert,
                         TLSRemoteAlert)
from tlslite.messages import Alert, Message

from processes import PATIENCE, Failed

TLS12, TLS13 = (3, 3), (3, 4)
BOTH = (TLS12, TLS13)
HANDSHAKE, ALERT, DATA, CHANGE_CIPHER_SPEC = 22, 21, 23, 20
LARGEST = 1 << 14
SERVED = "served"
KINDS = constants.ExtensionType


class Wire:
    """A socket whose output passes through `rewrite`, which returns the parts to be sent one by one."""

    def __init__(self, connected):
        self.socket = connected
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rewrite = lambda data: [data]
        self.sent = []

    def sendall(self, data):
        self.sent.append(bytes(data))
        for part in self.rewrite(bytes(data)):
            self.socket.sendall(part)

    def send(self, data):
        self.sendall(data)
        return len(data)

    def __getattr__(self, name):
        return getattr(self.socket, name)


def connect(address):
    host, port = address.rsplit(":", 1)
    return Wire(socket.create_connection((host, int(port)), timeout=PATIENCE))


class EditedConnection(TLSConnection):
    """A connection that passes each handshake message through `edit` before it is hashed and sent."""

    edit = None

    def _sendMsg(self, msg, *arguments, **options):
        if self.edit and msg.contentType == HANDSHAKE:
            msg = self.edit(msg) or msg
        return super()._sendMsg(msg, *arguments, **options)

    def _queue_message(self, msg):
        if self.edit and msg.contentType == HANDSHAKE:
            msg = self.edit(msg) or msg
        return super()._queue_message(msg)


class Peer:
    """A TLS client. Settings are those of tlslite's HandshakeSettings."""

    def __init__(self, address, version, rewrite=None, edit=None, session=None, **settings):
        self.wire = connect(address)
        self.version, self.session = version, session
        if rewrite:
            self.wire.rewrite = rewrite
        self.connection = EditedConnection(self.wire)
        self.connection.edit = edit
        self.connection.closeSocket = False
        self.settings = HandshakeSettings()
        self.settings.minVersion = self.settings.maxVersion = version
        self.settings.use_heartbeat_extension = self.settings.usePaddingExtension = False
        for name, value in settings.items():
            setattr(self.settings, name, value)
        self.alerts = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.socket.close()

    def handshake(self):
        """Returns None after success, or how it ended."""
        def run():
            self.connection.handshakeClientCert(
                session=self.session, settings=self.settings, serverName="localhost")
        return self.end_of(run)

    @property
    def layer(self):
        return self.connection._recordLayer

    def end_of(self, function):
        """How the connection ends while `function` runs; None if it does not."""
        try:
            function()
            return None
        except TLSRemoteAlert as alert:
            return self.expect_end(constants.AlertDescription.toStr(alert.description))
        except TLSLocalAlert as alert:
            return f"refused by tlslite: {alert}"
        except TLSAbruptCloseError:
            return "no close_notify"
        except TLSError as error:
            return f"refused by tlslite: {error!r}"
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except TimeoutError:
            return "silence"

    def expect_end(self, alert):
        """The name of this alert if the connection ends after it."""
        try:
            rest = self.wire.socket.recv(1 << 16)
        except ConnectionResetError:
            rest = b""
        except TimeoutError:
            return f"{alert}, and no end"
        return f"{alert}, and {len(rest)} bytes" if rest else alert

    def send(self, kind, data):
        """Sends a record, whatever its size."""
        for _ in self.layer.sendRecord(Message(kind, bytearray(data))):
            pass

    def send_rewritten(self, kind, data, rewrite):
        """Sends a record whose bytes on the wire are rewritten."""
        self.wire.rewrite = rewrite
        self.send(kind, data)
        self.wire.rewrite = lambda data: [data]

    def receive(self, count):
        """Reads so many bytes of data. Alerts other than close_notify that are no errors are noted in `alerts`."""
        data = bytearray()
        while len(data) < count:
            header, content = next(result for result in self.layer.recvRecord() if result not in (0, 1))
            content = bytes(content.bytes)
            if header.type == DATA:
                data += content
            elif header.type == ALERT:
                level, description = content
                if level == constants.AlertLevel.warning and description != constants.AlertDescription.close_notify:
                    self.alerts.append(constants.AlertDescription.toStr(description))
                    continue
                raise TLSRemoteAlert(Alert().create(description, level))
            elif header.type == HANDSHAKE and content[0] == constants.HandshakeType.key_update:
                self.alerts.append("key_update")
                self.update_keys(self.layer.calcTLS1_3KeyUpdate_sender)
        return bytes(data)

    def update_keys(self, calculate):
        session = self.connection.session
        session.cl_app_secret, session.sr_app_secret = calculate(
            session.cipherSuite, session.cl_app_secret, session.sr_app_secret)

    def key_update(self, request):
        self.send(HANDSHAKE, [constants.HandshakeType.key_update, 0, 0, 1, request])
        self.update_keys(self.layer.calcTLS1_3KeyUpdate_reciever)

    def echoed(self, data, part=LARGEST):
        """Sends it in records of this size. Returns None if it comes back, or how the connection ended."""
        def run():
            for start in range(0, len(data), part):
                self.send(DATA, data[start:start + part])
            if self.receive(len(data)) != data:
                raise Failed("other bytes came back")
        return self.end_of(run)

    def end(self):
        """How the connection ends if this side sends nothing more."""
        return self.end_of(lambda: self.receive(1)) or "data"

    def close(self):
        """Sends close_notify. `SERVED` if the server sends it as well, and ends the connection."""
        self.send(ALERT, [1, 0])
        end = self.end()
        return SERVED if end == "close_notify" else end

    def served(self, data, part=LARGEST):
        return self.echoed(data, part) or self.close()


def records(data):
    """The records of these bytes: header and content, each."""
    while data:
        length = 5 + struct.unpack(">H", data[3:5])[0]
        yield data[:5], data[5:length]
        data = data[length:]


def fragments(sizes):
    """A rewrite that cuts plain handshake records into records of these sizes, repeated. Others are left as they are.

    In TLS 1.2 the record after a ChangeCipherSpec is encrypted, and can not be cut."""
    def rewrite(data):
        is_encrypted = False
        for header, content in records(data):
            is_encrypted |= header[0] == CHANGE_CIPHER_SPEC
            if header[0] != HANDSHAKE or is_encrypted:
                yield header + content
                continue
            at, turn = 0, 0
            while at < len(content):
                size = sizes[turn % len(sizes)]
                part, at, turn = content[at:at + size], at + size, turn + 1
                yield header[:3] + struct.pack(">H", len(part)) + part
    return rewrite


def first_flight(change):
    """A rewrite of the first flight only."""
    state = []

    def rewrite(data):
        state.append(data)
        return [change(data)] if len(state) == 1 else [data]
    return rewrite


def with_hello(change):
    """An edit of the ClientHello only."""
    def edit(message):
        if type(message).__name__ == "ClientHello":
            change(message)
    return edit


def remove_extension(hello, kind):
    hello.extensions = [each for each in hello.extensions if each.extType != kind]


def unknown_extension(kind, content=b""):
    return extensions.TLSExtension(extType=kind).create(bytearray(content))


def record(content):
    return b"\x16\3\1" + struct.pack(">H", len(content)) + content
