"""The extensions, made here and bound to an application in `create_app`."""

from __future__ import annotations

import select
from typing import Any

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import Pool

from .cache import Cache
from .config import ISOLATION, TRANSACTION_IDLE_SECONDS
from .limits import limiter
from .openapi import Api

__all__ = ["Base", "api", "cache", "db", "limiter", "migrate"]


class Base(DeclarativeBase):
    """The base of every model; constraints get names that migrations and errors can use.

    What the database computes comes back with each INSERT and UPDATE, and stays after COMMIT: a
    write answers with what it wrote, whatever another write does next.
    """

    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )


db = SQLAlchemy(
    metadata=Base.metadata,
    disable_autonaming=True,
    session_options={"expire_on_commit": False},
)


@event.listens_for(Pool, "connect")
def _prepare(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET default_transaction_isolation = '{ISOLATION}'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{TRANSACTION_IDLE_SECONDS}s'")
    connection.commit()
    record.info["fresh"] = True


@event.listens_for(Pool, "checkout")
def _test(connection: Any, record: Any, _proxy: Any) -> None:
    """Replace a connection that PostgreSQL has ended, so that a restart of it fails no request.

    PostgreSQL says nothing between statements, but for the end; to look costs no round trip. Where
    a new one has ended as well, its first statement tells why.
    """
    if record.info.pop("fresh", False):
        return
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError


migrate = Migrate()
cache = Cache(db)
api = Api()
