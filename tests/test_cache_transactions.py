"""Transactions of the cache: a write that forgets too little is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cached_product import KEY, stock
from sqlalchemy import insert, select, text, update

from shop.categories import service as categories
from shop.categories.models import Category
from shop.extensions import cache, db
from shop.products import service as products
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop


def test_a_change_outside_a_transaction_of_the_cache_is_refused(a_shop: Shop) -> None:
    a_shop.create_product()
    changes: list[Callable[[], Any]] = [
        lambda: db.session.add(Category(name="Kitchen")),
        lambda: db.session.delete(db.session.get(Product, 1)),
        lambda: setattr(db.session.get(Product, 1), "stock", 9),
        lambda: db.session.execute(update(Product).values(stock=9)),
        lambda: db.session.execute(insert(Category).values(name="Kitchen")),
        lambda: db.session.execute(text("UPDATE products SET stock = 9")),
        lambda: db.session.execute(text("TRUNCATE TABLE categories, products CASCADE")),
        lambda: db.session.execute(text('DELETE FROM "products" WHERE id = 1')),
        lambda: cache.execute(update(Product).values(stock=9), {}),
    ]

    def commit(change: Callable[[], Any]) -> None:
        change()
        db.session.commit()

    for change in changes:
        with a_shop.app.app_context():
            with pytest.raises(RuntimeError, match=r"only within cache.transaction\(\)"):
                commit(change)
            db.session.rollback()
    with a_shop.app.app_context():
        db.session.execute(text("SELECT * FROM products FOR UPDATE"))
        db.session.get(Product, 1)
        db.session.commit()
    assert stock(a_shop) == 3


def test_a_write_must_forget_something_that_reads_what_it_changes(a_shop: Shop) -> None:
    a_shop.create_product()

    def forget_too_little() -> None:
        with cache.transaction():
            db.session.add(Category(name="Kitchen"))
            cache.delete_memoized(products.page_ids)

    def commit_too_early() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            db.session.commit()

    def nest() -> None:
        with cache.transaction(), cache.transaction():
            pass

    def forget_too_little_alone() -> None:
        with cache.transaction():
            cache.execute(update(Product).values(stock=9), {})
            cache.delete_memoized(categories.page_ids)

    def write_before() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            db.session.flush()
            cache.execute(select(Product.id), {})

    def read_after() -> None:
        with cache.transaction():
            cache.execute(update(Product).values(stock=9), {})
            db.session.get(Product, 1)

    for write, error in (
        (forget_too_little, "nothing that reads categories is forgotten"),
        (forget_too_little_alone, "nothing that reads products is forgotten"),
        (write_before, "the session has a part"),
        (read_after, "the session has no part"),
        (commit_too_early, "commits by itself"),
        (nest, "not to be nested"),
    ):
        with a_shop.app.app_context(), pytest.raises(RuntimeError, match=error):
            write()
    assert stock(a_shop) == 3
    assert len(a_shop.get("/categories").get_json()["items"]) == 1


def test_a_transaction_of_statements_alone_has_one_connection(a_shop: Shop) -> None:
    a_shop.create_product(stock=3)
    with a_shop.app.app_context():
        with cache.transaction():
            assert db.session.get(Product, 1) is not None
            cache.execute(update(Product).values(stock=9), {})
            products.forget_product(1)
            assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert stock(a_shop) == 9


def test_uncommitted_read_of_a_transaction_is_not_cached(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product(stock=3)
    redis_cli.delete(KEY)

    def read_and_fail() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            assert b'"stock":9' in products.product(1)
            raise ZeroDivisionError

    with a_shop.app.app_context(), pytest.raises(ZeroDivisionError):
        read_and_fail()
    assert not redis_cli.exists(KEY)
    assert stock(a_shop) == 3
