"""Sessions: `session_SECRET`, shown once, stored as a hash. They end a day after their last use.

The secret has 256 random bits, so one SHA-256 protects it, as it protects an API key.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from shop.config import RENEWAL_SECONDS, SESSION_SECONDS
from shop.extensions import cache, db
from shop.log_throttle import once_a_minute
from shop.pages import dump
from shop.problems import SessionEndedError

from .models import Session
from .schemas import SessionSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

logger = logging.getLogger(__name__)

PURGE_BATCH = 500  # sessions
RENEW_BELOW_SECONDS = SESSION_SECONDS - RENEWAL_SECONDS  # with less left, a use renews the session

schema = SessionSchema()


@cache.memoize_many(key="session:{token_hash}", ttl="session_cache_ttl", tables=[Session])
def session_documents(token_hashes: Sequence[str]) -> dict[str, bytes]:
    rows = db.session.scalars(select(Session).where(Session.token_hash.in_(token_hashes)))
    return {
        row.token_hash: dump({"id": row.id, "expires_at": row.expires_at.timestamp()})
        for row in rows
    }


def forget_session(token_hash: str) -> None:
    cache.delete_memoized(session_documents, token_hash)


def open_session() -> bytes:
    """Open a session, and return its token, which cannot be shown again, and its end."""
    token = f"session_{secrets.token_urlsafe(32)}"
    row = Session(token_hash=hash_token(token), expires_at=_a_day_from_now())
    with cache.transaction():
        db.session.add(row)
        db.session.flush()
        forget_session(row.token_hash)
    return dump(schema.dump({"token": token, "expires_at": row.expires_at}))


def client_name(token_hash: str) -> str:
    """Return the name of a session's client in logs and limits."""
    return f"session:{token_hash[:16]}"


def use_session(token_hash: str, document: bytes) -> int | None:
    """Return the id of the session with this document, None if it has ended; renew it if due."""
    left = _seconds_left(document)
    if left <= 0:
        return None
    if left < RENEW_BELOW_SECONDS:
        _renew(token_hash)
    session_id: int = orjson.loads(document)["id"]
    return session_id


def needs_no_renewal(document: bytes) -> bool:
    """Return whether the session with this document has not ended, and need not be renewed."""
    return _seconds_left(document) >= RENEW_BELOW_SECONDS


def _seconds_left(document: bytes) -> float:
    if not document:
        return 0
    ends: float = orjson.loads(document)["expires_at"]
    return ends - time.time()


def _renew(token_hash: str) -> None:
    """Extend a session. If another request holds it, the next request extends it."""
    found = select(Session.id).where(Session.token_hash == token_hash)
    free = found.with_for_update(skip_locked=True).scalar_subquery()
    try:
        with cache.transaction():
            renewed = update(Session).where(Session.id == free)
            db.session.execute(renewed.values(expires_at=_a_day_from_now()))
            forget_session(token_hash)
    except SQLAlchemyError as error:  # the request goes on without the renewal
        if once_a_minute("session"):
            logger.warning("A session cannot be renewed: %s", getattr(error, "orig", error))


def close_session(session_id: int) -> None:
    """Delete a session and its cart."""
    with cache.transaction():
        if not _delete(select(Session).where(Session.id == session_id).with_for_update()):
            cache.await_invalidation()  # another request has ended it


def lock_session(session_id: int) -> None:
    """Lock a session until the transaction ends, which serializes its requests.

    Raises SessionEndedError.
    """
    found = select(Session.id).where(Session.id == session_id)
    if db.session.scalar(found.with_for_update(key_share=True)) is None:
        raise SessionEndedError


def purge() -> int:
    """Delete the sessions that have ended, with their carts, and return their number."""
    purged = 0
    while deleted := purge_batch():
        purged += deleted
    return purged


def purge_batch() -> int:
    """Delete one batch of ended sessions; return their number, 0 if there are no more."""
    ended = select(Session).where(Session.expires_at <= datetime.now(UTC))
    batch = ended.limit(PURGE_BATCH).with_for_update(skip_locked=True)
    with cache.transaction():
        return _delete(batch)


def _delete(sessions: Select[Session]) -> int:
    rows = db.session.scalars(sessions).all()
    for row in rows:
        db.session.delete(row)
        forget_session(row.token_hash)
    return len(rows)


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _a_day_from_now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS)
