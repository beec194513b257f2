"""Each call of Flask-Caching obeys the protocol, or refuses and names what to use instead."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from inspect import getmembers, isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import await_true, hung
from flask_caching import Cache as FlaskCache
from flask_caching.backends.base import BaseCache

from shop.cache.protocol import EntryState
from shop.categories import service as categories
from shop.extensions import cache, db
from shop.products import service as products
from shop.products.models import Product
from shop.responses import cached_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop

    from dev.embedded.servers import Redis

KEY = "products:id:1"
DOCUMENT = Path(__file__).parent.parent / "docs" / "cache.md"


@pytest.fixture
def shop(a_shop: Shop) -> Iterator[Shop]:
    a_shop.create_product(stock=3)
    a_shop.get("/products/1")
    with a_shop.app.app_context():
        yield a_shop


def calls(library: type) -> set[str]:
    return {name for name, _ in getmembers(library, isfunction) if not name.startswith("_")}


def test_the_document_has_each_call_of_the_library() -> None:
    [table] = re.findall(
        r"## The calls of Flask-Caching\n(.*?)\n## ", DOCUMENT.read_text(), re.DOTALL
    )
    named = set(re.findall(r"`(\w+)\b", table))
    assert calls(FlaskCache) | calls(BaseCache) <= named | {"init_app"}


def test_the_backend_has_no_calls_that_bypass_the_protocol(shop: Shop) -> None:
    assert not [name for name in calls(BaseCache) if hasattr(cache.cache, name)]


# Entries of memoized functions.


def test_get_answers_the_document_that_the_function_would(shop: Shop) -> None:
    assert cache.get(KEY)["stock"] == 3
    assert cache.has(KEY)
    assert cache.get_many(KEY, "products:id:2") == [cache.get(KEY), None]
    assert cache.get_dict(KEY, "products:id:2") == {KEY: cache.get(KEY), "products:id:2": None}


def test_get_answers_no_entry_of_an_old_epoch(shop: Shop, redis_cli: Any) -> None:
    epoch, rest = redis_cli.get(KEY).split(":", 1)
    redis_cli.set(KEY, f"{'0' * len(epoch)}:{rest}", keepttl=True)
    assert cache.get(KEY) is None
    assert not cache.has(KEY)


def test_get_answers_no_entry_of_an_old_generation(shop: Shop) -> None:
    cache.delete_memoized(products.product_documents)
    assert cache.get(KEY) is None
    assert not cache.has(KEY)


def test_get_answers_no_row_that_is_absent(shop: Shop) -> None:
    assert shop.get("/products/2").status_code == 404
    assert cache.get("products:id:2") is None
    assert not cache.has("products:id:2")


def test_get_finds_nothing_while_another_reader_computes(shop: Shop) -> None:
    cache.delete(KEY)
    [entry] = cache.backend.read(["products:id:generation"], [KEY])
    assert entry.state is EntryState.LEASED
    assert cache.get(KEY) is None
    assert not cache.has(KEY)
    assert cache.backend.protocol.fill({KEY: (entry.lease, 60, b"{}")}) == 1


def test_get_finds_nothing_while_a_writer_commits(shop: Shop) -> None:
    cache.backend.protocol.suspend([KEY], "a")
    assert cache.get(KEY) is None
    assert not cache.has(KEY)


def test_get_finds_nothing_within_a_transaction(shop: Shop) -> None:
    with cache.transaction():
        assert cache.get(KEY) is None
        assert not cache.has(KEY)


def test_get_of_an_entry_with_tags_refuses(shop: Shop) -> None:
    with pytest.raises(RuntimeError, match=r"products:suggest:q:\* depends on tags"):
        cache.get("products:suggest:q:wood")


@pytest.mark.parametrize("call", ["set", "add"])
def test_an_entry_is_stored_by_its_function_alone(shop: Shop, redis_cli: Any, call: str) -> None:
    before = redis_cli.get(KEY)
    with pytest.raises(
        RuntimeError, match=r"products:id:\* is stored by products\.product_documents alone"
    ):
        getattr(cache, call)(KEY, {"stock": 9})
    with pytest.raises(RuntimeError, match="alone: call it"):
        cache.set_many({KEY: {"stock": 9}})
    assert redis_cli.get(KEY) == before


def test_delete_takes_the_lease_of_a_reader(shop: Shop) -> None:
    cache.delete(KEY)
    [entry] = cache.backend.read(["products:id:generation"], [KEY])
    assert cache.delete(KEY)
    assert cache.backend.protocol.fill({KEY: (entry.lease, 60, b"{}")}) == 0


@pytest.mark.parametrize("call", ["delete", "delete_many", "unlink"])
def test_delete_leaves_the_notes_of_writers(shop: Shop, redis_cli: Any, call: str) -> None:
    cache.backend.protocol.suspend([KEY], "a")
    getattr(cache, call)(KEY)
    assert redis_cli.get(KEY).startswith("writers a=")


def test_delete_within_a_transaction_takes_effect_at_its_commit(shop: Shop) -> None:
    with suppress(ZeroDivisionError), cache.transaction():
        cache.delete(KEY)
        raise ZeroDivisionError
    assert cache.has(KEY)
    with cache.transaction():
        assert cache.delete_many(KEY, "banner") == [KEY, "banner"]
    assert not cache.has(KEY)


def test_delete_counts_as_forgetting_what_a_write_changes(shop: Shop) -> None:
    with cache.transaction():
        row = db.session.get_one(Product, 1)
        row.stock = 7
        cache.delete(KEY)
    assert shop.get("/products/1").get_json()["stock"] == 7


def test_clear_forgets_every_document_and_no_quota(shop: Shop, redis_cli: Any) -> None:
    shop.get("/categories/1")
    cache.set("banner", "Until Sunday")
    assert cache.clear()
    assert cache.get_many(KEY, "categories:id:1", "banner") == [None, None, None]
    assert redis_cli.exists("rate_limit:127.0.0.1")


# Values of the caller's own.


def test_a_value_is_kept_until_its_timeout(shop: Shop, redis_cli: Any) -> None:
    assert cache.get("banner") is None
    assert cache.set("banner", {"text": "Until Sunday"}, timeout=5000)
    assert cache.get("banner") == {"text": "Until Sunday"}
    assert cache.has("banner")
    assert 4000 < redis_cli.ttl("values:key:banner") <= 5000
    assert cache.set("banner", "other", timeout=timedelta(minutes=1))
    assert cache.get("banner") == "other"
    assert 50 < redis_cli.ttl("values:key:banner") <= 60
    assert cache.delete("banner")
    assert not cache.has("banner")


def test_several_values_are_set_and_deleted_together(shop: Shop) -> None:
    assert cache.set_many({"a": 1, "b": [2]}) == ["a", "b"]
    assert cache.get_many("a", "b", "c") == [1, [2], None]
    assert cache.get_dict("a", "c") == {"a": 1, "c": None}
    assert cache.delete_many("a", "b") == ["a", "b"]
    assert cache.get_many("a", "b") == [None, None]


def test_add_keeps_what_is_there(shop: Shop) -> None:
    assert cache.add("banner", "first")
    assert not cache.add("banner", "second")
    assert cache.get("banner") == "first"


def test_a_value_of_an_old_epoch_is_a_miss(shop: Shop, redis_cli: Any) -> None:
    cache.set("banner", "before")
    epoch, rest = redis_cli.get("values:key:banner").split(":", 1)
    redis_cli.set("values:key:banner", f"{'0' * len(epoch)}:{rest}", keepttl=True)
    assert not cache.has("banner")
    assert cache.get("banner") is None


def test_a_value_computed_before_a_delete_is_not_stored(shop: Shop) -> None:
    """With cache-aside by hand a reader can be between a writer's commit and its own `set`."""
    assert cache.get("stock") is None
    computed = 3
    with shop.app.app_context():  # a writer
        cache.delete("stock")
    assert not cache.set("stock", computed)
    assert cache.get("stock") is None


def test_a_value_computed_beside_another_reader_is_not_stored(shop: Shop) -> None:
    assert cache.get("stock") is None
    with shop.app.app_context():
        assert cache.get("stock") is None
        assert not cache.set("stock", "of the second")
    assert cache.set("stock", "of the first")
    assert cache.get("stock") == "of the first"


def test_a_value_is_not_stored_while_a_writer_commits(shop: Shop, redis_cli: Any) -> None:
    cache.backend.protocol.suspend(["values:key:stock"], "a")
    assert not cache.set("stock", 3)
    assert redis_cli.get("values:key:stock").startswith("writers a=")


def test_a_value_is_not_set_within_a_transaction(shop: Shop) -> None:
    with cache.transaction():
        for call in (cache.set, cache.add):
            with pytest.raises(RuntimeError, match=r"set after cache\.transaction\(\)"):
                call("banner", 1)


def test_values_have_a_namespace_of_their_own(shop: Shop, redis_cli: Any) -> None:
    before = redis_cli.get("rate_limit:127.0.0.1")
    assert cache.set("rate_limit:127.0.0.1", "none")
    assert redis_cli.get("rate_limit:127.0.0.1") == before


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_the_timeout_of_a_value_must_be_positive(shop: Shop, timeout: Any) -> None:
    with pytest.raises(ValueError, match="above 0"):
        cache.set("banner", 1, timeout=timeout)


def test_a_key_is_of_a_bounded_length(shop: Shop) -> None:
    with pytest.raises(ValueError, match="150 characters"):
        cache.delete("a" * 151)


def test_without_redis_nothing_is_stored_and_nothing_found(make_shop: Make) -> None:
    with make_shop(REDIS_ENABLED="false").app.app_context():
        assert not cache.set("banner", 1)
        assert not cache.add("banner", 1)
        assert cache.get("banner") is None
        assert not cache.has("banner")
        assert cache.delete("banner")


@pytest.mark.hurried
def test_a_value_that_redis_could_not_forget_is_forgotten_later(
    make_shop: Make, own_redis: Redis
) -> None:
    with make_shop(REDIS_URL=own_redis.url).app.app_context():
        assert cache.set("banner", "before")
        with hung(own_redis):
            assert cache.delete("banner")
        assert len(cache.outbox) == 1
        await_true(lambda: cache.backend.connection.available)
        assert cache.get("banner") is None
        assert len(cache.outbox) == 0


def test_the_edge_keeps_no_answer_that_depends_on_a_value(a_shop: Shop) -> None:
    """The edge would answer from the documents alone, without the current value."""

    def view(product_id: int) -> Any:
        if cache.get("closed"):
            return "closed", 503
        return cached_document(products.product_documents([product_id])[product_id])

    a_shop.app.add_url_rule("/open/<int:product_id>", view_func=view)
    a_shop.create_product()
    for _ in range(6):  # it learns from the first, where it may
        assert a_shop.get("/open/1").status_code == 200
    with a_shop.app.app_context():
        cache.set("closed", value=True)
    assert a_shop.get("/open/1").status_code == 503


# What is refused.


@pytest.mark.parametrize("given", [KEY, len])
def test_delete_memoized_refuses_other_functions(shop: Shop, given: Any) -> None:
    with pytest.raises(TypeError, match=r"is not memoized: cache\.delete"):
        cache.delete_memoized(given)


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        ("cached", "cache.memoize"),
        ("delete_cached", "cache.delete_memoized"),
        ("delete_memoized_verhash", "cache.delete_memoized"),
    ],
)
def test_calls_that_could_answer_stale_values_refuse(call: str, instead: str) -> None:
    with pytest.raises(RuntimeError, match=f"cache.{call} is not supported.*{instead}"):
        getattr(cache, call)(categories.page_ids)
