"""Statements on the database of the current application, for tests of migrations."""

from __future__ import annotations

from typing import Any

from conftest import ROOT
from sqlalchemy import text

from shop.extensions import db

MIGRATIONS = str(ROOT / "migrations")


def execute(*statements: str) -> None:
    with db.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def rows(statement: str) -> list[Any]:
    with db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]
