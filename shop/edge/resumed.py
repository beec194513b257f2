"""A parser that goes on with the body of a request whose head another has read.

httptools reads no body where a request asks for an upgrade, and what follows its head as another
request. Here no upgrade is done (RFC 9110, section 7.8), and the body is one.
"""

from __future__ import annotations

from typing import Any

import httptools


class Resumed:
    """What such a parser calls: nothing for its own head, and from then on the connection."""

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


def parser_of_body(connection: Any, framing: bytes) -> httptools.HttpRequestParser:
    """Return a parser whose first bytes are those of a body that is framed so."""
    parser = httptools.HttpRequestParser(Resumed(connection))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
    return parser
