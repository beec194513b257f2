"""Statements outside any transaction."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection


@contextmanager
def autocommit(connection: Connection) -> Iterator[None]:
    """Let each statement be its own transaction, on a connection that has begun none.

    The driver sends neither BEGIN nor ROLLBACK, and nothing to switch back. An isolation level of
    SQLAlchemy costs a statement to switch back; where the connection is lost, that statement fails,
    and the pool loses a place for good.
    """
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  (the caller has just got the connection)
    driver.autocommit = True
    try:
        yield
    finally:
        with suppress(psycopg2.Error):  # a lost connection, which nobody will use
            driver.autocommit = False
