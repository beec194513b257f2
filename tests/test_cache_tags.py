"""Entries that depend on tags beside their family: a write forgets the entries of its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest
from sqlalchemy import func, select

from shop.cache import cache_outcome
from shop.categories.models import Category
from shop.extensions import cache, db
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Make, MakeRelay, Shop

    from dev.embedded.servers import Redis
    from shop.cache import MemoizedOne, Tag


class Declared(NamedTuple):
    prices: Tag
    names: Tag
    dearest: MemoizedOne[[int]]


@pytest.fixture
def declared(declarations: None) -> Declared:
    """Declare a read with two tags, for the time of a test."""
    prices = cache.tag("tried:prices:{scope}", tables=[Product])
    names = cache.tag("tried:names", tables=[Product])

    @cache.memoize(
        key="tried:dearest:{category_id}",
        ttl="redis_cache_ttl",
        tables=[Product],
        tags=lambda category_id: [prices.generation_key(category_id), names.generation_key()],
    )
    def dearest(category_id: int) -> bytes:
        of_it = select(func.max(Product.price)).where(Product.category_id == category_id)
        return orjson.dumps(str(db.session.scalar(of_it)))

    return Declared(prices, names, dearest)


@pytest.fixture
def shop(declared: Declared, make_shop: Make) -> Shop:
    shop = make_shop()
    shop.create_product(price="3.00")
    return shop


def read(shop: Shop, function: Callable[[int], bytes], number: int = 1) -> tuple[bytes, str]:
    with shop.app.app_context():
        document, outcome = function(number), cache_outcome()
        return document, outcome.name if outcome else ""


def reprice(shop: Shop, price: str, *forget: Callable[[], None]) -> None:
    with shop.app.app_context(), cache.transaction():
        db.session.get_one(Product, 1).price = price  # type: ignore[assignment]
        for one in forget:
            one()


def test_a_stamp_has_the_generations_of_family_and_tags(
    shop: Shop, declared: Declared, redis_cli: Any
) -> None:
    read(shop, declared.dearest)
    names = (
        "tried:dearest:generation",
        declared.prices.generation_key(1),
        declared.names.generation_key(),
    )
    assert names[1:] == ("tried:prices:1:generation", "tried:names:generation")
    stamp = redis_cli.get("tried:dearest:1").split()[0]
    assert stamp.split(":")[2] == ".".join(redis_cli.mget(names))


@pytest.mark.parametrize("what", ["family", "entry", "first tag", "second tag", "all three"])
def test_an_entry_is_forgotten_by_each_thing_that_it_depends_on(
    shop: Shop, declared: Declared, what: str
) -> None:
    prices, names, dearest = declared
    ways: dict[str, list[Callable[[], None]]] = {
        "family": [lambda: cache.delete_memoized(dearest)],
        "entry": [lambda: cache.delete_memoized(dearest, 1)],
        "first tag": [lambda: cache.delete_tagged(prices, 1)],
        "second tag": [lambda: cache.delete_tagged(names)],
    }
    ways["all three"] = [*ways["family"], *ways["first tag"], *ways["second tag"]]
    assert [read(shop, dearest) for _ in range(2)] == [(b'"3.00"', "MISS"), (b'"3.00"', "HIT")]
    reprice(shop, "4.00", *ways[what])
    assert [read(shop, dearest) for _ in range(2)] == [(b'"4.00"', "MISS"), (b'"4.00"', "HIT")]


def test_another_scope_of_a_tag_is_not_forgotten(shop: Shop, declared: Declared) -> None:
    for number in (1, 2):
        read(shop, declared.dearest, number)
    reprice(shop, "4.00", lambda: cache.delete_tagged(declared.prices, 2))
    assert read(shop, declared.dearest, 1)[1] == "HIT"
    assert read(shop, declared.dearest, 2)[1] == "MISS"


def test_an_entry_of_a_suspended_tag_is_neither_answered_nor_stored(
    shop: Shop, declared: Declared
) -> None:
    read(shop, declared.dearest)
    with shop.app.app_context():
        cache.backend.protocol.suspend([declared.names.generation_key()], "a")
    assert [read(shop, declared.dearest)[1] for _ in range(2)] == ["MISS", "MISS"]
    with shop.app.app_context():
        cache.backend.protocol.release([declared.names.generation_key()], "a")
    assert [read(shop, declared.dearest)[1] for _ in range(2)] == ["MISS", "HIT"]


def test_a_hit_is_one_round_trip_and_a_write_two(
    shop: Shop, declared: Declared, redis_cli: Any
) -> None:
    def scripts() -> int:
        counts = redis_cli.info("commandstats")
        return sum(one["calls"] for name, one in counts.items() if "cmdstat_eval" in name)

    def forget_both() -> None:
        cache.delete_tagged(declared.prices, 1)
        cache.delete_tagged(declared.names)

    for _ in range(2):
        read(shop, declared.dearest)
        reprice(shop, "4.00", forget_both)  # Redis knows all scripts then
    read(shop, declared.dearest)
    redis_cli.config_resetstat()
    assert read(shop, declared.dearest)[1] == "HIT"
    assert scripts() == 1
    reprice(shop, "5.00", forget_both)
    assert scripts() == 3


def test_a_write_that_forgets_a_tag_of_the_table_is_carried_out(
    shop: Shop, declared: Declared
) -> None:
    """A write that forgets only tags of another table is refused."""

    def file() -> None:
        with cache.transaction():
            db.session.add(Category(name="Kitchen"))
            cache.delete_tagged(declared.names)

    with (
        shop.app.app_context(),
        pytest.raises(RuntimeError, match="nothing that reads categories is forgotten"),
    ):
        file()
    reprice(shop, "4.00", lambda: cache.delete_tagged(declared.names))
    with shop.app.app_context():
        assert db.session.get_one(Product, 1).price == 4


def test_a_tag_is_forgotten_outside_a_transaction_at_once(shop: Shop, declared: Declared) -> None:
    read(shop, declared.dearest)
    with shop.app.app_context():
        cache.delete_tagged(declared.prices, 1)
    assert read(shop, declared.dearest)[1] == "MISS"


def test_a_scope_has_all_its_parts(declared: Declared) -> None:
    with pytest.raises(ValueError, match="argument"):
        declared.prices.generation_key()
    with pytest.raises(ValueError, match="argument"):
        declared.names.generation_key(1)


@pytest.mark.hurried
def test_a_tag_that_a_write_without_redis_changed_is_forgotten_by_the_outbox(
    shop: Shop, declared: Declared, make_shop: Make, relay: MakeRelay, redis_server: Redis
) -> None:
    way = relay(redis_server.socket)
    cut = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}")
    assert [read(shop, declared.dearest)[1] for _ in range(2)] == ["MISS", "HIT"]
    way.close()
    reprice(cut, "4.00", lambda: cache.delete_tagged(declared.prices, 1))
    with shop.app.app_context():
        assert len(cache.outbox) == 1
    assert read(shop, declared.dearest) == (b'"4.00"', "MISS")
    with shop.app.app_context():
        assert len(cache.outbox) == 0


def test_a_tag_that_is_forgotten_with_redis_off_is_forgotten_when_it_is_on(
    shop: Shop, declared: Declared, make_shop: Make
) -> None:
    off = make_shop(REDIS_ENABLED="false")
    read(shop, declared.dearest)
    for price in ("4.00", "5.00"):
        reprice(off, price, lambda: cache.delete_tagged(declared.prices, 1))
    with off.app.app_context():
        assert len(cache.outbox) == 1
    assert read(make_shop(), declared.dearest) == (b'"5.00"', "MISS")


def test_clearing_the_cache_forgets_entries_with_tags(
    shop: Shop, declared: Declared, redis_cli: Any
) -> None:
    read(shop, declared.dearest)
    assert "cleared all" in shop.command("cache", "clear", "all").output
    assert not redis_cli.exists("tried:dearest:1")
    assert read(shop, declared.dearest)[1] == "MISS"
