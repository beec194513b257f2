"""What the loop asks of a Redis that is one server: everything in one round trip."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shop.extensions import cache
from shop.limits import records
from shop.redis.loop import LoopRedis
from shop.redis.pipeline import ScriptCall
from shop.sessions.service import UNRENEWED_SECONDS, session_documents

from .script import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shop.facts import Asked
    from shop.quotas import Charge, Payers
    from shop.redis import RedisConnection

    from .address import Address

NOTHING_TO_READ = ("", 0, 0, 0)  # what ANSWER is told of names where a copy is kept
CALLS_MAX = 1024  # that are kept; without a session one is sent for many requests


class OneServer:
    def __init__(
        self,
        connection: RedisConnection,
        when_changed: Callable[[list[bytes] | None], None],
        *,
        enforced: bool,
    ) -> None:
        """`when_changed` has the names that have changed, or None for all of them."""
        self._connection = connection
        self._redis = LoopRedis(connection, when_changed)
        self._enforced = enforced
        self._known_call = lru_cache(CALLS_MAX)(self._call)  # to pack one anew takes longer

    def start(self) -> None:
        named = [one.key for one in cache.memoized] + [tag.name for tag in cache.tags]
        begin = {name.partition(":")[0] for name in named} - {"key", "session"}
        self._redis.start([f"{self._connection.prefix}{one}:" for one in sorted(begin)])

    def stop(self) -> None:
        self._redis.stop()

    @property
    def is_ready(self) -> bool:
        """Whether it will be asked now."""
        return self._redis.is_ready

    @property
    def is_opening(self) -> bool:
        """Whether there will soon be a connection, which there is not now."""
        return self._connection.is_ready and not self._redis.is_ready

    @property
    def tells_changes(self) -> bool:
        """Whether what was read may be kept, because it is told what changes."""
        return self._redis.tells_changes

    async def ask(
        self,
        asked: Asked,
        address: Address | None,
        payers: Payers,
        charges: Sequence[Charge],
    ) -> list[Any]:
        """Return what ANSWER does, which without an address reads nothing.

        Raises RedisUnavailable.
        """
        charged = (payers, tuple(charges), self._connection.known_origin)
        row = asked.row if address and address.is_row else ""
        if asked.session:
            call = self._call(*charged, address, row, asked.session)
        else:
            call = self._known_call(*charged, address, row)
        answered: list[Any] = await self._redis.run(call)
        return answered

    def _call(  # noqa: PLR0913, PLR0917  (what it is kept by)
        self,
        payers: Payers,
        charges: Sequence[Charge],
        origin: bytes,
        address: Address | None,
        row: str,
        session: str = "",
    ) -> ScriptCall:
        """Return the call of ANSWER that charges, reads an address and a row, and a session."""
        keys = [records.key(payers.client), records.key(payers.address)]
        reading: Sequence[object] = NOTHING_TO_READ
        if address:
            reading = address.arguments
            keys += address.keys
            if address.rows and address.is_row:
                keys.append(address.rows.prefix + row)
        until = ""
        if session:
            keys += [session_documents.generation_key, session_documents.prefix + session]
            until = str(int(time.time()) + UNRENEWED_SECONDS)
        connection = self._connection
        arguments = [origin, connection.prefix, "1" if self._enforced else "", until, *reading]
        for charge in charges:
            arguments += charge
        return ScriptCall(ANSWER, connection.named(keys), arguments)
