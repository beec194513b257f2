"""One connection of an event loop to Redis, which the calls of many requests share."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hiredis
import redis
from redis._parsers.base import BaseParser

from .breaker import UNREACHABLE
from .pool import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .pool import Key

CHUNK = 65_536  # bytes that are read at a time
CHUNKS_MAX = 64  # that are read in a turn of the loop
PING_SECONDS = 1.0  # of silence, after which a PING is sent
WAIT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(slots=True)
class _Call:
    answer: asyncio.Future[Any]
    sent: float | None = None  # the time; None until then
    parts: list[Any] | None = None  # the answers so far, if the call has several commands
    expected: int = 1


class ScriptCall:
    """A packed call of a script, which can be sent often."""

    def __init__(self, script: str, keys: Sequence[Key], arguments: Sequence[object]) -> None:
        self.script = script
        self.rest: Any = (len(keys), *keys, *arguments)
        self.packed = hiredis.pack_command(("EVALSHA", digest(script), *self.rest))


class Pipeline:
    """A connection whose calls are answered in their order, each within `timeout` seconds.

    If a call is late, the connection ends and all calls under way fail, so that no late answer is
    taken for another's. Everything but `connect` runs on the loop.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        timeout: float,
        *,
        when_lost: Callable[[Exception], None],
        when_pushed: Callable[[list[Any]], None],
    ) -> None:
        """`connect` returns a connection of redis-py, and may take its time.

        `when_lost` is called with the error for which calls have failed, `when_pushed` with
        messages of Redis that are no answers.
        """
        self._connect = connect
        self._timeout = timeout
        self._when_lost = when_lost
        self._when_pushed = when_pushed
        self._connection: Any = None
        self._waiting: deque[_Call] = deque()
        self._unsent: list[bytes] = []
        self._is_blocked = False  # until the socket takes more

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def connection(self) -> Any:
        """The connection of redis-py; None while there is none."""
        return self._connection

    @property
    def is_idle(self) -> bool:
        """True if no call is under way."""
        return not self._waiting

    async def open(self) -> None:
        """Connect. Raises the errors of redis-py."""
        self._loop = asyncio.get_running_loop()
        connection = await self._loop.run_in_executor(None, self._connect)
        self._reader = hiredis.Reader(replyError=BaseParser.parse_error)
        self._socket = connection._sock  # noqa: SLF001  (which no method returns)
        self._socket.settimeout(0)
        self._is_encrypted = isinstance(self._socket, ssl.SSLSocket)
        self._connection, self._is_blocked, self._used = connection, False, time.monotonic()
        self._loop.add_reader(self._socket, self._read)
        self._timer = self._loop.call_later(self._timeout / 4, self._check_deadlines)

    def close(self, error: Exception) -> None:
        """End the connection; the calls under way fail with this error."""
        if self._connection is None:
            return
        self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._connection.disconnect()
        self._connection = None
        self._unsent.clear()
        while self._waiting:
            answer = self._waiting.popleft().answer
            if not answer.done():
                answer.set_exception(error)
                answer.exception()  # retrieved, so that asyncio does not log it

    def call(self, *command: str | bytes | float) -> asyncio.Future[Any]:
        """Send a command with the others of this turn of the loop; the future has the answer."""
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # it takes any length
        return self._start(packed, _Call(self._loop.create_future()))

    def call_each(self, commands: Sequence[tuple[str | bytes, ...]]) -> asyncio.Future[list[Any]]:
        """Send commands one after the other, with none of another call between them.

        The future has their answers; a refused command has its error there.
        """
        packed = b"".join(map(hiredis.pack_command, commands))  # type: ignore[arg-type]
        call = _Call(self._loop.create_future(), parts=[], expected=len(commands))
        return self._start(packed, call)

    def _start(self, packed: bytes, call: _Call) -> asyncio.Future[Any]:
        if self._connection is None:
            call.answer.set_exception(redis.ConnectionError("there is no connection"))
            return call.answer
        self._waiting.append(call)
        if not self._unsent and not self._is_blocked:
            self._loop.call_soon(self._send)
        self._unsent.append(packed)
        return call.answer

    async def evaluate(self, script: str, keys: Sequence[Key], arguments: Sequence[object]) -> Any:
        """Return the answer of a script."""
        return await self.run(ScriptCall(script, keys, arguments))

    async def run(self, call: ScriptCall) -> Any:
        """Return the answer of a script."""
        try:
            return await self._start(call.packed, _Call(self._loop.create_future()))
        except redis.exceptions.NoScriptError:
            return await self.call("EVAL", call.script, *call.rest)

    def _send(self) -> None:
        if self._connection is None:
            return
        data = b"".join(self._unsent)
        self._unsent.clear()
        self._used = time.monotonic()
        for call in reversed(self._waiting):
            if call.sent is not None:
                break
            call.sent = self._used  # the call waits for Redis from now on
        try:
            sent = self._socket.send(data)
        except WAIT:
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(data):
            self._unsent.append(data[sent:])
        if bool(self._unsent) != self._is_blocked:
            self._is_blocked = not self._is_blocked
            if self._is_blocked:
                self._loop.add_writer(self._socket, self._send)
            else:
                self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        try:
            data = self._receive()
        except WAIT:
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._lose(redis.ConnectionError("Redis has closed the connection"))
            return
        self._reader.feed(data)
        try:
            self._take_answers()
        except (hiredis.ProtocolError, IndexError) as error:
            self._lose(redis.ConnectionError(f"an answer cannot be read: {error}"))

    def _receive(self) -> bytes:
        """Return all input, within a bound.

        Answers that wait for the next turn of the loop could seem late, because it may take long.
        """
        parts = [self._socket.recv(CHUNK)]
        with suppress(*WAIT):
            while len(parts) < CHUNKS_MAX and (
                len(parts[-1]) == CHUNK or (self._is_encrypted and self._socket.pending())
            ):
                parts.append(self._socket.recv(CHUNK))
        return b"".join(parts)

    def _take_answers(self) -> None:
        while (answer := self._reader.gets()) is not False:
            if isinstance(answer, hiredis.PushNotification):
                self._when_pushed(answer)
                continue
            call = self._waiting[0]
            if call.parts is not None:
                call.parts.append(answer)
                if len(call.parts) < call.expected:
                    continue
                answer = call.parts
            self._waiting.popleft()
            if call.answer.done():
                continue  # whoever waited is gone
            if isinstance(answer, redis.RedisError):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)

    def _check_deadlines(self) -> None:
        """Close a connection whose answer is late; send PING over a silent one."""
        now = time.monotonic()
        if self._is_late(now):
            self._read()  # the answer may be here, if this process was late
            if self._connection is None:
                return
            if self._is_late(now):
                self._lose(redis.TimeoutError("Redis does not answer in time"))
                return
        if now - self._used >= PING_SECONDS:
            self.call("PING").add_done_callback(_mark_retrieved)
        self._timer = self._loop.call_later(self._timeout / 4, self._check_deadlines)

    def _is_late(self, now: float) -> bool:
        sent = self._waiting[0].sent if self._waiting else None
        return sent is not None and now >= sent + self._timeout

    def _lose(self, error: Exception) -> None:
        self.close(error if isinstance(error, UNREACHABLE) else redis.ConnectionError(str(error)))
        self._when_lost(error)


def _mark_retrieved(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()
