"""Parse the requests of a connection: within limits, and no further than they can be answered."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shop.config import LARGE_BODY_MAX
from shop.problems import (
    AddressTooLongError,
    BodyTooLargeError,
    HeadersTooLargeError,
    ShopError,
)

from . import request_head
from .bodies import Bodies
from .body_parser import make_body_parser
from .connection_limits import AHEAD, DRAINED_MAX, FRAMED_MAX, HEAD_MAX, PIECE
from .cycle import Cycle

if TYPE_CHECKING:
    from .connection_limits import ConnectionLimits


class IgnoredError(Exception):
    """Input after the last request is ignored: the connection ends when that is answered."""


class Parsing(HttpToolsProtocol):
    """The requests of one connection, in the order in which they came."""

    limits: ConnectionLimits  # of the worker, which sets them
    is_leaving = False  # the worker, so that each answer is the last of its connection
    bodies: ClassVar = Bodies()
    cycle: Cycle  # type: ignore[assignment]  # the last

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unparsed = b""  # waits until the requests before it are answered
        self._under_way: deque[Cycle] = deque()  # whose heads have come: the first is answered
        self._method = ""  # of the last request, as soon as its head is there
        self._in_head = self._in_body = False
        self._came = 0  # bytes of the head, or of the body with its framing; less than a piece more
        self._wrong: ShopError | None = None  # with what is being read: nothing after it is
        self._is_parsing = self._is_closing = False

    # What a connection does with them.

    def _refuse(self, error: ShopError) -> None:
        raise NotImplementedError

    def give_up(self) -> None:
        raise NotImplementedError

    def _begin(self, cycle: Cycle) -> None:
        raise NotImplementedError

    def _go_on(self) -> None:
        raise NotImplementedError

    def _wait_for_client(self) -> None:
        raise NotImplementedError

    def _parse(self) -> None:
        """Parse the input, until a request waits for another to be answered."""
        if self._is_parsing:
            return
        self._is_parsing = True
        while self._unparsed and len(self._under_way) < AHEAD and not self._is_over:
            piece, self._unparsed = self._unparsed[:PIECE], self._unparsed[PIECE:]
            self._parse_piece(piece)
        self._is_parsing = False
        if self._unparsed and not self._is_closing:
            self.flow.pause_reading()

    @property
    def _is_over(self) -> bool:
        """True if no further input is a request."""
        is_last = self.cycle is not None and not self.cycle.keep_alive and not self._in_body
        return is_last or self._wrong is not None or self._is_closing

    def _parse_piece(self, piece: bytes) -> None:
        in_head, in_body = self._in_head, self._in_body
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:  # which is not done: it is HTTP/1.1
            self._unparsed = piece[upgrade.args[0] :] + self._unparsed
            if self._in_body:
                self.parser = make_body_parser(self, request_head.framing_header(self.headers))
        except httptools.HttpParserInvalidMethodError:
            self._refuse(request_head.unknown_method_error(piece))
        except httptools.HttpParserCallbackError as error:
            self._refuse_for(error.__context__)
        except httptools.HttpParserError:
            self._refuse(request_head.unreadable_error())
        else:
            self._count(len(piece), in_head=in_head, in_body=in_body)

    def _refuse_for(self, error: BaseException | None) -> None:
        """Refuse a request, after an error in a callback of the parser."""
        if isinstance(error, ShopError):
            self._refuse(error)
        elif not isinstance(error, IgnoredError):
            self.logger.error("Unexpected error in a request", exc_info=error)
            self._refuse(request_head.unreadable_error())

    def _count(self, count: int, *, in_head: bool, in_body: bool) -> None:
        """Count a piece of `count` bytes of a head or a body, and refuse one that is too long."""
        if self._in_head and in_head:
            self._came += count
            if self._came > HEAD_MAX:
                self._refuse(_head_too_large())
        elif self._in_body and in_body:
            self._came += count
            if self._came > FRAMED_MAX:
                limit = LARGE_BODY_MAX
                self._refuse(BodyTooLargeError(f"The body may have {limit} bytes.", limit=limit))
            elif not self.cycle.response_complete:
                self.bodies.add(self, count)

    # What the parser finds. An exception in one of these ends the parsing: see `_refuse_for`.

    def on_message_begin(self) -> None:
        if self._is_over:
            raise IgnoredError
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._method = ""
        self._in_head, self._came = True, 0
        if not self._under_way:
            self._wait_for_client()

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.line:
            limit = self.limits.line
            raise AddressTooLongError(f"The address may have {limit} bytes.", limit=limit)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which nobody reads
        name, value = name.lower(), value.rstrip(b" \t")
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        limits = self.limits
        if len(self.headers) > limits.fields or len(name) + len(value) > limits.field:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        self.cycle = cycle = self._new_cycle()
        self._in_head, self._in_body, self._came = False, cycle.more_body, 0
        self._under_way.append(cycle)
        if len(self._under_way) == 1:
            self._begin(cycle)
        else:
            self.flow.pause_reading()  # until those before it are answered

    def _new_cycle(self) -> Cycle:
        """Return the request of the head that was parsed. Raises ShopError."""
        self._method = method = self.parser.get_method().decode("ascii")
        version = self.parser.get_http_version()
        request_head.check_version(version)
        request_head.check_host(self.headers, version)
        raw_path, _, query = request_head.parse_target(self.url, method).partition(b"?")
        length = request_head.body_length(self.headers, version)
        scope = {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": self.scheme,
            "path": raw_path.decode("latin-1"),
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "server": self.server,
            "client": self.client,
        }
        may_keep_alive = version == "1.1" and not self.is_leaving
        cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.on_response_complete,
            length=length,
            keep_alive=may_keep_alive and self.parser.should_keep_alive(),
            waiting_for_100_continue=self.expect_100_continue and version == "1.1",
        )
        cycle.may_drain = length <= DRAINED_MAX and not cycle.waiting_for_100_continue
        return cycle

    def on_message_complete(self) -> None:
        if self._in_body and self.parser.should_upgrade():
            return  # the parser only says so: the body comes, see `make_body_parser`
        had_body, self._in_body = self._in_body, False
        if had_body:
            self.bodies.end(self)
        if self.cycle.response_complete:  # ahead of the end of its body
            self._go_on()
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if had_body and self._under_way[0] is self.cycle:
            self._wait_for_client()


def _head_too_large() -> HeadersTooLargeError:
    return HeadersTooLargeError("The request has too many or too long headers.", limit=HEAD_MAX)
