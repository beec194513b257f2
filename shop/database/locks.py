"""Advisory locks of PostgreSQL that a transaction holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

if TYPE_CHECKING:
    from sqlalchemy import Connection


def try_lock(connection: Connection, name: str, *, idle_seconds: int = 0) -> bool:
    """Try to take a lock until the connection's transaction ends; tell whether it is held.

    PostgreSQL ends a transaction that is idle for `idle_seconds`; 0 allows any time. A lock of the
    session would stay on a connection that a pooler gives to others.
    """
    connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{idle_seconds}s'"))
    lock = func.pg_try_advisory_xact_lock(func.hashtext(name))
    return bool(connection.scalar(select(lock)))  # True also for the present holder
