"""Connections to PostgreSQL that are lost during a request or between two."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from faults import after_statement, engine_of, lose_all_connections
from sqlalchemy import event

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop
    from flask import Response

    from dev.embedded.servers import Postgres


def test_a_connection_that_is_lost_after_the_answer_is_known_costs_nothing(
    make_shop: Make, postgres: Postgres
) -> None:
    shop = make_shop()

    @shop.app.after_request
    def lose_all(response: Response) -> Response:
        lose_all_connections(postgres)
        return response

    for path in ("/products", "/categories", "/products"):
        assert shop.get(path).status_code == 200


def test_a_connection_that_is_lost_after_its_statement_costs_nothing(
    a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    engine = engine_of(a_shop)
    for identifier in range(1, 12):  # more than the pool has places
        with after_statement(
            engine, "products.description", lambda: lose_all_connections(postgres)
        ):
            answer = a_shop.get(f"/products/{identifier}")
        assert answer.status_code == (200 if identifier == 1 else 404)
    with a_shop.app.app_context():
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_lost_connection_is_replaced(a_shop: Shop, postgres: Postgres) -> None:
    a_shop.create_product()
    lose_all_connections(postgres)
    assert a_shop.get("/products").status_code == 200


def test_database_connections_that_end_at_once_are_503(a_shop: Shop, postgres: Postgres) -> None:
    """A PostgreSQL that is shutting down ends connections so."""
    with a_shop.app.app_context():
        pool = db.engine.pool
        pool.dispose()

    shuts_down = threading.Event()
    shuts_down.set()

    def lose(*_: object) -> None:
        if shuts_down.is_set():
            lose_all_connections(postgres)

    event.listen(pool, "connect", lose)
    answer = a_shop.get("/products/1")
    assert answer.status_code == 503
    assert answer.get_json()["detail"] == "The database cannot be reached now."
    shuts_down.clear()
    assert a_shop.get("/products/1").status_code == 404
