"""Idempotency-Key: carry out a request once, also if it is sent again.

The transaction of a request with a key also stores its answer: the database has both, or neither.
So a client that got no answer can send the request again.
(draft-ietf-httpapi-idempotency-key-header-07)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flask import request
from sqlalchemy import BigInteger, DateTime, String, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from shop.caller import caller

from .config import IDEMPOTENCY_KEY_MAX, IDEMPOTENCY_SECONDS
from .extensions import Base, cache, db
from .openapi import read_body
from .openapi.headers import IDEMPOTENCY_KEY_PATTERN
from .problems import (
    IdempotencyKeyReusedError,
    InvalidIdempotencyKeyError,
    RequestUnderWayError,
)
from .prometheus import Counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import CursorResult

KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)
PURGED_TOGETHER = 1000  # answers
WRONG = f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters."

REQUESTS = Counter(
    "shop_idempotent_requests",
    "Requests with an Idempotency-Key: first, replayed, under_way, or reused for another request.",
    ["result"],
)


class KeptAnswer(Base):
    """The stored answer to a request with a key."""

    __tablename__ = "idempotency_keys"

    client: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(IDEMPOTENCY_KEY_MAX), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the request
    row_id: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), index=True
    )


class WriteAnswer(NamedTuple):
    """The answer to a write: the id of its row, and the row as a JSON document."""

    row_id: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True)
class Once:
    """A request that is carried out once for each key of a client; without a key, every time."""

    client: str
    key: str | None
    fingerprint: str

    @classmethod
    def from_request(cls) -> Once:
        """Read the current request. Raises InvalidIdempotencyKeyError."""
        key = request.headers.get("Idempotency-Key")
        if key is not None and (len(key) > IDEMPOTENCY_KEY_MAX or not KEY.fullmatch(key)):
            raise InvalidIdempotencyKeyError(WRONG)
        target = f"{request.method} {request.path}\n".encode()
        return cls(caller().client, key, sha256(target + read_body(request)).hexdigest())

    def carry_out(self, work: Callable[[], WriteAnswer]) -> WriteAnswer:
        """Do the work and store its answer, or return the answer that is stored.

        Call it first in `cache.transaction()`. Work that raises stores nothing: nothing was done,
        and the same key may try again. Raises RequestUnderWayError while another request with this
        key is carried out, IdempotencyKeyReusedError if the key was sent with another request.
        """
        if self.key is None:
            return work()
        self._claim()
        if kept := self._kept():
            return self._replay(kept)
        answer = work()
        self._keep(answer)
        REQUESTS.labels("first").inc()
        return answer

    def _claim(self) -> None:
        """Hold the key until the transaction ends, however it ends."""
        name = func.hashtextextended(f"{self.client} {self.key}", 0)
        if not db.session.scalar(select(func.pg_try_advisory_xact_lock(name))):
            REQUESTS.labels("under_way").inc()
            message = "A request with this Idempotency-Key is under way: wait for it."
            raise RequestUnderWayError(message)

    def _kept(self) -> KeptAnswer | None:
        # This statement follows the claim, so it sees the answer that an earlier holder committed.
        mine = select(KeptAnswer).where(
            KeptAnswer.client == self.client, KeptAnswer.key == self.key
        )
        return db.session.scalar(mine.where(KeptAnswer.created_at > _oldest()))

    def _replay(self, kept: KeptAnswer) -> WriteAnswer:
        if kept.fingerprint != self.fingerprint:
            REQUESTS.labels("reused").inc()
            message = "This Idempotency-Key was sent with another request: use a new one."
            raise IdempotencyKeyReusedError(message)
        cache.await_invalidation()
        REQUESTS.labels("replayed").inc()
        return WriteAnswer(kept.row_id, kept.body, replayed=True)

    def _keep(self, answer: WriteAnswer) -> None:
        values = {
            "fingerprint": self.fingerprint,
            "row_id": answer.row_id,
            "body": answer.body,
        }
        statement = insert(KeptAnswer).values(client=self.client, key=self.key, **values)
        # It replaces an expired answer that is not purged yet.
        db.session.execute(
            statement.on_conflict_do_update(
                index_elements=[KeptAnswer.client, KeptAnswer.key],
                set_=values | {"created_at": func.clock_timestamp()},
            )
        )


def purge() -> int:
    """Delete the expired answers, and return their number."""
    purged = 0
    while some := purge_some():
        purged += some
    return purged


def purge_some() -> int:
    """Delete expired answers in one transaction, up to a bound; return their number."""
    row = tuple_(KeptAnswer.client, KeptAnswer.key)
    old = select(KeptAnswer.client, KeptAnswer.key).where(KeptAnswer.created_at <= _oldest())
    some = old.limit(PURGED_TOGETHER).with_for_update(skip_locked=True)
    deleting = delete(KeptAnswer).where(row.in_(some))
    found = cast("CursorResult[Any]", db.session.execute(deleting))
    db.session.commit()
    return found.rowcount


def _oldest() -> Any:
    return func.clock_timestamp() - timedelta(seconds=IDEMPOTENCY_SECONDS)
