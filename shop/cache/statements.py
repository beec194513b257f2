"""Statements that are no part of a transaction."""

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

    Neither BEGIN nor ROLLBACK is sent, and nothing else: to go back costs no statement, either. (An
    isolation level of SQLAlchemy's does; where that fails, because the connection is lost, the pool
    loses a place for good.)
    """
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101  (a connection that was just had)
    driver.autocommit = True
    try:
        yield
    finally:
        with suppress(psycopg2.Error):  # it is lost, and nobody will use it
            driver.autocommit = False
