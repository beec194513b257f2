"""A parser of a body whose head another parser has read.

After a request that asks for an upgrade, httptools reads no body, and takes the next bytes for
another request. The service does no upgrade (RFC 9110, section 7.8), so these bytes are the body.
"""

from __future__ import annotations

from typing import Any

import httptools


class BodyCallbacks:
    """The callbacks of the parser: none for its own head, then those of the connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._has_own_head = False
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete

    def on_message_begin(self) -> None:
        if self._has_own_head:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._has_own_head:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_own_head:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._has_own_head:
            self._connection.on_headers_complete()
        self._has_own_head = True


def make_body_parser(connection: Any, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser that begins with a body, with the framing of this header."""
    parser = httptools.HttpRequestParser(BodyCallbacks(connection))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
    return parser
