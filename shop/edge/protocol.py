"""What a client may do on its connection: HTTP/1.1 by uvicorn, with limits and deadlines.

A thread sees a request only when all of it has arrived. Whatever a client does slowly, it does on
the loop, which waits for thousands at once, and for each until its deadline.
"""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shop import answers
from shop.config import LARGE_BODY_MAX
from shop.facts import Facts, sane_id
from shop.problems import (
    AddressTooLongError,
    HeadersTooLargeError,
    RequestTimeoutError,
    UnknownMethodError,
    UnreadableRequestError,
)

from .arrival import Arrival, closed, tell
from .limits import (
    DRAINED_MAX,
    HEAD_MAX,
    LINGER_SECONDS,
    NEVER,
    WRITE_SECONDS,
    Limits,
    body_seconds,
)

if TYPE_CHECKING:
    from shop.problems import ShopError

# RFC 9112, section 3.2: a name, an address, [an address], and a port (RFC 3986, section 3.2.2).
HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{0,5})?"
)
METHOD = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+ ")
ORIGIN = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
CLOSE = b"Connection: close\r\n"
PHRASES = {one.value: one.phrase.upper().encode() for one in HTTPStatus}


class Cycle(RequestResponseCycle):
    """A request and its answer, which is written in one piece."""

    may_drain = False  # whether the rest of its body is read when it is answered
    _start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start, self.response_started = message, True
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()  # what this client was sent before
        if self.disconnected:
            return
        self.waiting_for_100_continue = False
        self.keep_alive = self.keep_alive and (not self.more_body or self.may_drain)
        status, body = self._start["status"], message["body"]
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, PHRASES[status]), _own_lines(int(time.time()))]
        for name, value in self._start["headers"]:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else CLOSE + b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """One connection. At its deadline it is closed."""

    limits: Limits  # of the worker, which sets them

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.deadline = NEVER
        self._in_head = self._in_body = self._is_closing = False
        self._head_more = 0  # bytes of the head that came after those it began with
        self._wrong: ShopError | None = None

    # Deadlines. `expire` is called when that of now has passed.

    def _wait(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def expire(self) -> None:
        """End a connection that has not gone on in time."""
        self.deadline = NEVER
        if self._is_closing or self.flow.write_paused:
            self.transport.abort()
        elif self._in_head or self._in_body:
            self._refuse(RequestTimeoutError("The request has not arrived in time."))
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Serve what is under way, and no more."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    # What happens on the socket.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        began_before = self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # which is not done: it is HTTP/1.1
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
            return
        except httptools.HttpParserError as error:
            is_method = isinstance(error, httptools.HttpParserInvalidMethodError)
            self._refuse(self._wrong or (_unknown(data) if is_method else _unreadable()))
            return
        if self._in_head and began_before:
            self._head_more += len(data)
            if self._head_more > HEAD_MAX:
                self._refuse(_too_large())

    def eof_received(self) -> None:
        if self._in_head or self._in_body:
            self.transport.close()  # the rest will not come

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(WRITE_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.deadline = NEVER
        if self.cycle is None or self.cycle.response_complete:
            self._wait(self.timeout_keep_alive)

    # What the parser finds. An exception in one of these ends the connection: see `data_received`.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_more = True, 0
        if self.cycle is None or self.cycle.response_complete:
            self._wait(self.limits.head_seconds)

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.line:
            limit = self.limits.line
            self._fail(AddressTooLongError(f"The address may have {limit} bytes.", limit=limit))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        limits = self.limits
        if len(self.headers) > limits.fields or len(name) + len(value) > limits.field:
            self._fail(_too_large())

    def on_headers_complete(self) -> None:
        self._in_head = False
        version = self.parser.get_http_version()
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        self._check_host(version)
        raw_path, _, scope["query_string"] = self._target().partition(b"?")
        scope["raw_path"], scope["path"] = raw_path, raw_path.decode("latin-1")
        before = self.cycle
        length = self._body_length()
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version == "1.1",
            keep_alive=version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self._in_body = length > 0
        cycle.more_body = self._in_body
        cycle.may_drain = length <= DRAINED_MAX and not cycle.waiting_for_100_continue
        if before is None or before.response_complete:
            self._begin(cycle)
        else:
            self.flow.pause_reading()  # until those before it are answered
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if len(self.cycle.body) <= LARGE_BODY_MAX:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        if self.cycle.response_complete:  # ahead of the end of its body
            self._next()
            return
        super().on_message_complete()
        if not self.flow.write_paused:
            self.deadline = NEVER  # what the request needs is up to the application

    def _begin(self, cycle: Cycle) -> None:
        self._start_asgi_task(cycle, self.app)
        if self._in_body and cycle is self.cycle:
            self._wait(body_seconds(self._body_length()))
        else:
            self.deadline = NEVER

    def _body_length(self) -> int:
        """Return how many bytes of body the head announces: the most of one in chunks."""
        length = 0
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                return LARGE_BODY_MAX
        return length

    def _target(self) -> bytes:
        """Return path and query of the request's target (RFC 9112, section 3.2)."""
        url = self.url
        if not url.startswith(b"/"):
            if absolute := ORIGIN.match(url):
                url = url[absolute.end() :]
                url = url if url.startswith(b"/") else b"/" + url
            elif url != b"*" or self.scope["method"] != "OPTIONS":
                self._fail(UnreadableRequestError("The request has no target that can be read."))
        if b"#" in url:
            self._fail(UnreadableRequestError("The target of a request has no fragment."))
        return url

    def _check_host(self, version: str) -> None:
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) != 1 and (hosts or version == "1.1"):
            self._fail(UnreadableRequestError("A request has one header Host."))
        if hosts and not _is_host(hosts[0]):
            self._fail(UnreadableRequestError("The header Host names no host."))

    # How it goes on when a request is answered.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._wrong or not self.cycle.keep_alive:
            self._end()
            return
        self.flow.resume_reading()
        if not self._in_body:
            self._next()

    def _next(self) -> None:
        """Carry out what was sent meanwhile, or wait for it."""
        if self.pipeline:
            cycle, _ = self.pipeline.pop()
            self._begin(cycle)  # type: ignore[arg-type]
        elif not self.flow.write_paused:
            self._wait(self.limits.head_seconds if self._in_head else self.timeout_keep_alive)

    def _fail(self, error: ShopError) -> None:
        """Refuse the request, from within a call of the parser."""
        self._wrong = error
        raise error

    def _refuse(self, error: ShopError) -> None:
        """Answer with an error, when those before are answered, and end the connection."""
        self._wrong = error
        cycle = self.cycle
        if self._in_body and cycle and not cycle.response_started:
            cycle.disconnected = True  # the application waits for the body
            cycle.message_event.set()
        elif cycle and not cycle.response_complete:
            self.flow.pause_reading()
            return  # `on_response_complete` comes here
        self._end()

    def _end(self) -> None:
        """Close when the client has had the time to read what it was sent."""
        if self._wrong:
            self.transport.write(_own_answer(self._wrong, self.client))
        unread = self._in_body or self._wrong is not None
        self._is_closing = True
        if not unread:
            self.transport.close()
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(LINGER_SECONDS)


def _unreadable() -> UnreadableRequestError:
    return UnreadableRequestError("This is no request of HTTP/1.1 that can be read.")


def _unknown(data: bytes) -> ShopError:
    """Return what is wrong with a method that the parser does not know: whether it can be one."""
    if METHOD.match(data):
        return UnknownMethodError("The service knows no such method.")
    return _unreadable()


def _too_large() -> HeadersTooLargeError:
    return HeadersTooLargeError("The request has too many or too long headers.", limit=HEAD_MAX)


def _own_answer(error: ShopError, client: tuple[str, int] | None) -> bytes:
    """Answer what could not be read, which is told once."""
    scope = {"method": "-", "path": "-"}
    arrival = Arrival(scope, {}, client[0] if client else "unknown", Facts(sane_id(None)))
    answer = closed(arrival, answers.of_error(error, "", arrival.known.identifier))
    tell(arrival, answer, arrival.client)
    lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers).encode("latin-1")
    head = b"HTTP/1.1 %d %b\r\n" % (answer.status, PHRASES[answer.status])
    return b"".join((head, _own_lines(int(time.time())), lines, CLOSE, b"\r\n", answer.body))


@lru_cache(maxsize=2)
def _own_lines(second: int) -> bytes:
    """Return the headers of every answer that are the server's own."""
    return f"Server: gunicorn\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()


@lru_cache(maxsize=1024)
def _is_host(value: bytes) -> bool:
    return HOST.fullmatch(value) is not None
