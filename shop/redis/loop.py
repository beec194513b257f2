"""Calls of Redis on an event loop, which goes on while a call waits."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import redis

from shop.log_throttle import once_a_minute

from .connection import RedisUnavailable
from .pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .connection import RedisConnection
    from .pipeline import ScriptCall

logger = logging.getLogger("shop.redis")

AGAIN_SECONDS = 0.1  # until it is tried again to open the pipeline


class LoopRedis:
    """Keeps a pipeline open while Redis answers, behind the breaker of the process."""

    def __init__(
        self, connection: RedisConnection, when_changed: Callable[[list[bytes] | None], None]
    ) -> None:
        """`when_changed` is called with the names that have changed, or None for all names."""
        self._connection = connection
        self._when_changed = when_changed
        self._pipeline = Pipeline(
            connection.connect,
            connection.timeout,
            when_lost=self._open_again,
            when_pushed=self._receive_push,
        )
        self.tracks_changes = False
        self._followed: Sequence[str] = ()
        self._wanted = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    def start(self, followed: Sequence[str]) -> None:
        """Open the pipeline, and open it again whenever it is lost; call this on the loop.

        `followed`: the prefixes of the names whose changes Redis sends.
        """
        self._followed = followed
        loop = asyncio.get_running_loop()
        self._connection.when_back.append(partial(_call_on, loop, self._wanted.set))
        self._wanted.set()
        self._keeping = loop.create_task(self._keep_open())

    def stop(self) -> None:
        if self._keeping:
            self._keeping.cancel()
        self._pipeline.close(redis.ConnectionError("this process ends"))

    @property
    def is_ready(self) -> bool:
        """True if the next call will be tried."""
        if not (self._pipeline.is_open and self._connection.is_ready):
            return False
        if self._connection.leads_to_master(self._pipeline.connection):
            return True
        if self._pipeline.is_idle:
            self._leave(redis.ConnectionError("another is the master now"))
        return False

    async def run(self, call: ScriptCall) -> Any:
        """Return the answer of a script, which runs once at most. Raises RedisUnavailable."""
        with self._connection.counted():
            try:
                return await self._pipeline.run(call)
            except redis.ReadOnlyError as error:  # this was the master
                self._leave(error)
                raise

    def _leave(self, error: Exception) -> None:
        self._pipeline.close(error)
        self._open_again(error)

    async def _keep_open(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while not self._pipeline.is_open and self._connection.is_ready:
                with suppress(RedisUnavailable), self._connection.counted():
                    await self._open()
            if not self._pipeline.is_open:
                asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._wanted.set)

    async def _open(self) -> None:
        await self._pipeline.open()
        prefixes = [word for name in self._followed for word in ("PREFIX", name)]
        try:
            await self._pipeline.call("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        except redis.ResponseError as error:
            if once_a_minute("tracking"):
                logger.warning("No answers are kept, because Redis tells no changes: %s", error)
        else:
            self.tracks_changes = True

    def _open_again(self, _: Exception) -> None:
        self.tracks_changes = False
        self._when_changed(None)
        self._wanted.set()

    def _receive_push(self, message: list[Any]) -> None:
        if message[0] == b"invalidate":
            self._when_changed(message[1])


def _call_on(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(work)
