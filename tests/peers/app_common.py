"""What the peers of the application pair share: the message protocol as the tutorials write it."""

import io
import json
import struct
import sys


def json_encode(value, encoding):
    return json.dumps(value, ensure_ascii=False).encode(encoding)


def json_decode(data, encoding):
    with io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="") as text:
        return json.load(text)


def create_message(content, content_type, content_encoding):
    header = json_encode(
        {
            "byteorder": sys.byteorder,
            "content-type": content_type,
            "content-encoding": content_encoding,
            "content-length": len(content),
        },
        "utf-8",
    )
    return struct.pack(">H", len(header)) + header + content


class Reader:
    """Collects the one message of a connection: the length of the header, the header, the content."""

    def __init__(self):
        self.buffer = b""
        self.header_size = None
        self.header = None

    def feed(self, data):
        """Takes what came; returns (header, content) once both are whole."""
        self.buffer += data
        if self.header_size is None and len(self.buffer) >= 2:
            self.header_size = struct.unpack(">H", self.buffer[:2])[0]
            self.buffer = self.buffer[2:]
        if self.header_size is not None and self.header is None and len(self.buffer) >= self.header_size:
            self.header = json_decode(self.buffer[: self.header_size], "utf-8")
            self.buffer = self.buffer[self.header_size :]
            for key in ("byteorder", "content-length", "content-type", "content-encoding"):
                if key not in self.header:
                    raise ValueError(f"Missing required header '{key}'.")
        if self.header is None or len(self.buffer) < self.header["content-length"]:
            return None
        content = self.buffer[: self.header["content-length"]]
        if self.header["content-type"] == "text/json":
            content = json_decode(content, self.header["content-encoding"])
        return self.header, content
