"""Cached reads from a Redis that is one server: everything in one round trip."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shop.extensions import cache
from shop.limits import records
from shop.redis.loop import LoopRedis
from shop.redis.pipeline import ScriptCall
from shop.sessions.service import RENEW_BELOW_SECONDS, session_documents

from .script import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shop.facts import ReadRequest
    from shop.limits.mode import LimitMode
    from shop.quotas import Charge, Payers
    from shop.redis import RedisConnection

    from .read_plan import ReadPlan

NOTHING_TO_READ = ("", 0, 0, 0)  # for ANSWER, if there is a copy
CALLS_MAX = 1024  # packed calls that are kept; without a session many requests share one


class OneServer:
    def __init__(
        self,
        connection: RedisConnection,
        when_changed: Callable[[list[bytes] | None], None],
        mode: LimitMode,
    ) -> None:
        """`when_changed` is called with the names that have changed, or None for all names."""
        self._connection = connection
        self._redis = LoopRedis(connection, when_changed)
        self._mode = mode
        self._known_call = lru_cache(CALLS_MAX)(self._call)  # to pack one anew takes longer

    def start(self) -> None:
        named = [one.key for one in cache.memoized] + [tag.name for tag in cache.tags]
        begin = {name.partition(":")[0] for name in named} - {"key", "session"}
        self._redis.start([f"{self._connection.prefix}{one}:" for one in sorted(begin)])

    def stop(self) -> None:
        self._redis.stop()

    @property
    def is_ready(self) -> bool:
        """True if the next call will be tried."""
        return self._redis.is_ready

    @property
    def is_opening(self) -> bool:
        """True while a connection is being opened."""
        return self._connection.is_ready and not self._redis.is_ready

    @property
    def tracks_changes(self) -> bool:
        """True if Redis sends the names that change, so that answers may be kept."""
        return self._redis.tracks_changes

    async def ask(
        self,
        read: ReadRequest,
        plan: ReadPlan | None,
        payers: Payers,
        charges: Sequence[Charge],
    ) -> list[Any]:
        """Return the answer of ANSWER, which reads nothing without a plan.

        Raises RedisUnavailable.
        """
        charged = (payers, tuple(charges), self._connection.known_origin, self._mode.enforced)
        row = read.row if plan and plan.is_row else ""
        if read.session:
            call = self._call(*charged, plan, row, read.session)
        else:
            call = self._known_call(*charged, plan, row)
        answered: list[Any] = await self._redis.run(call)
        return answered

    def _call(  # noqa: PLR0913, PLR0917  (what it is kept by)
        self,
        payers: Payers,
        charges: Sequence[Charge],
        origin: bytes,
        enforced: bool,  # noqa: FBT001  (a part of the key)
        plan: ReadPlan | None,
        row: str,
        session: str = "",
    ) -> ScriptCall:
        """Return the call of ANSWER that charges, and reads the plan, a row and a session."""
        keys = [records.key(payers.client), records.key(payers.address)]
        reading: Sequence[object] = NOTHING_TO_READ
        if plan:
            reading = plan.arguments
            keys += plan.keys
            if plan.rows and plan.is_row:
                keys.append(plan.rows.prefix + row)
        until = ""
        if session:
            keys += [session_documents.generation_key, session_documents.prefix + session]
            until = str(int(time.time()) + RENEW_BELOW_SECONDS)
        connection = self._connection
        arguments = [origin, connection.prefix, "1" if enforced else "", until, *reading]
        for charge in charges:
            arguments += charge
        return ScriptCall(ANSWER, connection.prefixed(keys), arguments)
