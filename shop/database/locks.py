"""Advisory locks of PostgreSQL that are held for longer than a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

if TYPE_CHECKING:
    from sqlalchemy import Connection


def take_lock(connection: Connection, name: str, *, idle_seconds: int = 0) -> bool:
    """Try to take a lock, until the transaction of the connection ends; tell whether it is held.

    PostgreSQL ends a transaction that is idle for so long, 0 for any time. A lock of a session
    would stay, with a pooler, on a connection that others use.
    """
    connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{idle_seconds}s'"))
    lock = func.pg_try_advisory_xact_lock(func.hashtext(name))
    return bool(connection.scalar(select(lock)))  # also for who has it already
