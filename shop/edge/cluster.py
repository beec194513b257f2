"""Cached reads from a Redis Cluster: the loop asks all nodes at the same time.

A page takes one round trip for its entries, one for the rows that these name, and one for the
documents that are joined to the rows. A session takes two more: one for each record that pays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shop.cache.stamps import current_generations, hit_document
from shop.limits import calls
from shop.limits.calls import NUMBERS
from shop.pages import row_ids
from shop.redis import RedisUnavailable
from shop.redis.loop_cluster import LoopCluster, NotAskedError
from shop.sessions.service import needs_no_renewal, session_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shop.cache import MemoizedMany
    from shop.facts import ReadRequest
    from shop.limits.mode import LimitMode
    from shop.pages import Join
    from shop.quotas import Charge, Payers
    from shop.redis import RedisConnection
    from shop.redis.loop_cluster import Value

    from .read_plan import ReadPlan

    Values = Mapping[str, Value | None]  # by the names that were read

NOT_KEPT = (b"", 0)  # in place of the epoch and the time to live of a copy


class Cluster:
    tracks_changes = False  # answers of several nodes are not kept

    def __init__(self, connection: RedisConnection, mode: LimitMode) -> None:
        self._connection = connection
        self._redis = LoopCluster(connection)
        self._mode = mode

    def start(self) -> None:
        """Do nothing: a node is connected to by the first call of it."""

    def stop(self) -> None:
        self._redis.stop()

    @property
    def is_ready(self) -> bool:
        """True if the next call will be tried."""
        return self._redis.is_ready

    @property
    def is_opening(self) -> bool:
        """True while a connection is being opened."""
        return self._redis.is_opening

    async def ask(
        self,
        read: ReadRequest,
        plan: ReadPlan | None,
        payers: Payers,
        charges: Sequence[Charge],
    ) -> list[Any]:
        """Charge and read; return what ANSWER returns (`script.py`). Raises RedisUnavailable."""
        if plan is None:  # only a copy would be answered without a read, and there is none here
            return []
        reading = asyncio.create_task(self._redis.read(_first_names(read, plan)))
        if read.session and not self._needs_no_renewal(read.session, await reading):
            return []
        try:
            decided = await self._decide(payers, charges) if charges else []
        except NotAskedError:
            return []
        if self._mode.enforced and not all(decided[::NUMBERS]):
            return [decided]
        documents = await self._find(read, plan, await reading)
        return [decided, NOT_KEPT, *documents] if documents else [decided]

    def _needs_no_renewal(self, session: str, values: Values) -> bool:
        """Return whether a session is known, and need not be renewed."""
        name = session_documents.prefix + session
        found = self._documents([session_documents.generation_key], [name], values)
        return found is not None and needs_no_renewal(found[0])

    async def _decide(self, payers: Payers, charges: Sequence[Charge]) -> list[int]:
        """Charge; return the answer of DECIDE. Raises NotAskedError if nothing was charged."""
        if payers.client == payers.address:
            decided: list[int] = await self._redis.evaluate(*calls.decide(payers, charges))
            return decided
        deciding = calls.decide_apart(payers, charges)
        call = next(deciding)
        while True:
            try:
                answer = await self._redis.evaluate(*call)
            except (NotAskedError, RedisUnavailable) as error:
                call = deciding.throw(error)
                continue
            try:
                call = deciding.send(answer)
            except StopIteration as decided:
                answers: list[int] = decided.value
                return answers

    async def _find(self, read: ReadRequest, plan: ReadPlan, values: Values) -> list[Any] | None:
        """Return entries, rows and joined documents, as ANSWER does; None unless all are hits.

        `values`: what was read by the names in the plan.
        """
        entries = []
        for reading in plan.entries:
            found = self._documents(reading.generations, reading.keys, values)
            if found is None:
                return None
            entries += found
        if plan.rows is None:
            return [entries, []]
        ids = (
            [read.row] if plan.is_row else row_ids(list(map(int, plan.ids)), filter(None, entries))
        )
        rows = await self._read(plan.rows, ids, values)
        if rows is None:
            return None
        joined = await asyncio.gather(*(self._join(join, rows, values) for join in plan.joins))
        return None if None in joined else [entries, rows, *joined]

    async def _join(self, join: Join, rows: Sequence[bytes], values: Values) -> list[bytes] | None:
        """Return the numbers that rows name and the documents with these numbers, in turn."""
        numbers = join.numbers(rows)
        found = await self._read(join.function, numbers, values)
        if found is None:
            return None
        return [
            part
            for number, document in zip(numbers, found, strict=True)
            for part in (str(number).encode(), document)
        ]

    async def _read(
        self, function: MemoizedMany[int], ids: Iterable[object], values: Values
    ) -> list[bytes] | None:
        """Return the documents of these ids. Read those that are not in `values`."""
        names = [f"{function.prefix}{one}" for one in ids]
        if unread := [name for name in names if name not in values]:
            values = {**values, **await self._redis.read(unread)}
        return self._documents([function.generation_key], names, values)

    def _documents(
        self, generations: Sequence[str], names: Sequence[str], values: Values
    ) -> list[bytes] | None:
        """Return the documents of entries with these generations; None unless all are hits."""
        current, origin = current_generations(generations, values), self._connection.known_origin
        found = [hit_document(values.get(name), origin, current) for name in names]
        documents = [one for one in found if one is not None]
        return documents if len(documents) == len(found) else None


def _first_names(read: ReadRequest, plan: ReadPlan) -> list[str]:
    """Return the names that the request and its plan name; entries name further ones."""
    names = list(plan.keys)
    if plan.rows and plan.is_row:
        names.append(plan.rows.prefix + read.row)
    if read.session:
        names += [session_documents.generation_key, session_documents.prefix + read.session]
    return names
