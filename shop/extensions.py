"""The extensions, made here and bound to an application in `create_app`."""

from __future__ import annotations

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from .cache import Cache
from .database import connections  # noqa: F401  (it prepares every connection)
from .limits import limiter
from .openapi import Api

__all__ = ["Base", "api", "cache", "db", "limiter", "migrate"]


class Base(DeclarativeBase):
    """The base of every model; constraints get names that migrations and errors can use.

    INSERT and UPDATE return the values that the database computes, and rows stay loaded after
    COMMIT: a write answers with its own values, whatever another write does next.
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


migrate = Migrate()
cache = Cache(db)
api = Api()
