"""Requests and answers as bytes, over one connection to a service."""

from __future__ import annotations

import io
import re
import socket
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SECONDS = 60  # that a service has for an answer
STATUS = re.compile(rb"HTTP/\d\.\d (\d{3})")
LENGTH = re.compile(rb"(?i)\r\nContent-Length: (\d+)\r\n")
CHUNKED = re.compile(rb"(?i)\r\nTransfer-Encoding: chunked\r\n")
CLOSE = re.compile(rb"(?i)\r\nConnection: close\r\n")
WITHOUT_BODY = {b"204", b"304"}


class Answer(NamedTuple):
    left: bytes  # what came after the answer before, on a connection that was then ended
    head: bytes  # interim answers, the status line and the headers
    body: bytes  # and what follows it, until the service closes, if it does
    closed: bool


class Client:
    """A client that keeps its connection as long as the service does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (str(parts.hostname), parts.port)
        self._socket: socket.socket | None = None
        self._stream: IO[bytes] = io.BytesIO()
        self._left = b""

    def send(self, raw: bytes, *, fresh: bool) -> None:
        """Send a request, `fresh` over a new connection."""
        self._left = self.close() if fresh else b""
        if self._socket is None:
            self._socket = socket.create_connection(self._address, SECONDS)
            self._stream = io.BufferedReader(_Source(self._socket))
        with suppress(ConnectionError):  # a service that refuses a request need not read it all
            self._socket.sendall(raw)

    def receive(self, *, to_head: bool) -> Answer:
        """Return the answer; empty if the service has closed instead."""
        answer = read_answer(self._stream, to_head=to_head)._replace(left=self._left)
        if answer.closed:
            self.close()
        return answer

    def close(self) -> bytes:
        """End the connection, and return what the service had still sent."""
        if self._socket is None:
            return b""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        left = self._stream.read()
        self._stream.close()
        self._socket.close()
        self._socket = None
        return left


class _Source(io.RawIOBase):
    """Return the bytes that a socket receives; a reset ends them, as a close does."""

    def __init__(self, source: socket.socket) -> None:
        self._socket = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            return self._socket.recv_into(buffer)
        except ConnectionError:
            return 0


def read_answer(stream: IO[bytes], *, to_head: bool) -> Answer:
    """Read one answer, `to_head` that to a HEAD request."""
    head = block = _read_head(stream)
    while (status := STATUS.match(block)) and status[1].startswith(b"1"):
        block = _read_head(stream)
        head += block
    closed = not status or bool(CLOSE.search(block))
    body = b""
    if status and not to_head and status[1] not in WITHOUT_BODY:
        if length := LENGTH.search(block):
            body = stream.read(int(length[1]))
        elif CHUNKED.search(block):
            body = _read_chunks(stream)
        else:
            closed = True
    return Answer(b"", head, body + stream.read() if closed else body, closed)


def _read_head(stream: IO[bytes]) -> bytes:
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            break
    return b"".join(lines)


def _read_chunks(stream: IO[bytes]) -> bytes:
    """Read a chunked body with its framing."""
    raw = b""
    while line := stream.readline():
        size = int(line.partition(b";")[0], 16)
        raw += line + stream.read(size + 2)
        if not size:
            break
    return raw
