# SPDX-License-Identifier: MIT
"""The frames that tools/vm and the machine exchange over one virtio port: type, length, body."""
import struct

READY, RUN, STDIN, STDOUT, STDERR, RESIZE, EXIT = range(7)
HEADER = struct.Struct("<BI")
CHUNK = 32768


def frame(kind: int, body: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(body)) + body


class Parser:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def feed(self, data: bytes):
        """Yields (kind, body) of each frame that is complete now."""
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self.buffer)
            end = HEADER.size + length
            if len(self.buffer) < end:
                return
            body = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            yield kind, body
