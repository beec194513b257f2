"""Entries of the cache: their keys, their content, and the writes that forget them."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from flask_caching.signals import cache_memoize_hit, cache_memoize_miss
from sqlalchemy import update

from shop.categories.service import search_texts
from shop.extensions import cache, db
from shop.products import lists
from shop.products import service as products
from shop.products.models import Product
from shop.search.query import Filters, Query
from shop.search.suggestions import TypedText

if TYPE_CHECKING:
    from conftest import Make, Shop

READS = ["/products/1", "/products", "/products?skip=1&limit=1", "/categories/1", "/categories"]


@pytest.mark.parametrize("path", READS)
def test_a_second_read_sends_no_sql_and_is_the_same(a_shop: Shop, path: str) -> None:
    a_shop.create_product()
    a_shop.create_product(name="Broom")
    with a_shop.statements() as first:
        missed = a_shop.get(path)
    with a_shop.statements() as second:
        hit = a_shop.get(path)
    assert first
    assert not second
    assert (missed.headers["X-Cache"], hit.headers["X-Cache"]) == ("MISS", "HIT")
    assert hit.data == missed.data
    assert hit.headers["ETag"] == missed.headers["ETag"]
    assert hit.headers["Cache-Control"] == "no-cache"


def test_cache_keys_are_those_of_the_guide(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    redis_cli.flushall()
    for path in ("/products?skip=0&limit=10", "/products/1", "/categories/1", "/categories"):
        a_shop.get(path)
    documents = {*redis_cli.keys("*:id:[0-9]*"), *redis_cli.keys("*:list:skip:*")}
    assert documents == {
        "products:id:1",
        "products:list:skip:0:limit:10",
        "categories:id:1",
        "categories:list:skip:0:limit:100",
    }


OWN = ["generation", "missing", "admission"]  # what the cache's own names end with


def arguments(word: str) -> dict[str, object]:
    """Return what the places of keys are filled with by a caller who writes a word everywhere."""
    filters = Filters(q=word)
    numbers = dict.fromkeys(("product_id", "category_id", "skip", "limit"), 1)
    periods = dict.fromkeys(("period", "length"), "week")
    digests = {"token_hash": sha256(word.encode()).hexdigest(), "prefix": "0123456789ab"}
    typed = {"sku": word, "q": TypedText.of(word), "filters": filters}
    return {**numbers, **periods, **digests, **typed, "query": Query(filters, "relevance", 20)}


@pytest.mark.parametrize("word", OWN)
def test_no_key_is_a_name_of_the_caches_own(word: str) -> None:
    own = {
        name
        for one in cache.memoized
        for name in (one.generation_key, one.missing_key, one.admission_key)
    }
    own |= {
        lists.members.generation_key(lists.ALL_PRODUCTS),
        lists.category_moves.generation_key(),
        search_texts.generation_key(),
    }
    keys = {one.key.format(**arguments(word)) for one in cache.memoized}
    assert not keys & own


@pytest.mark.parametrize("word", OWN)
@pytest.mark.parametrize("path", ["/search/suggest?q=", "/products?sku=", "/products?q="])
def test_a_reserved_word_of_cache_keys_can_be_searched_for(
    a_shop: Shop, path: str, word: str
) -> None:
    a_shop.create_product(name=f"Next {word}", sku=word)
    for outcome in ("MISS", "HIT"):
        found = a_shop.get(path + word)
        assert [one["id"] for one in found.get_json()["items"]] == [1]
        assert found.headers["X-Cache"] == outcome


def test_an_entry_is_a_stamp_and_the_json_that_is_answered(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product(name="Râteau 🌱")
    body = a_shop.get("/products/1").text
    line, document = redis_cli.get("products:id:1").split("\n")
    stamp, until = line.split()
    epoch, _, generation = stamp.split(":")
    assert redis_cli.info("replication")["master_replid"].startswith(epoch)
    assert generation == redis_cli.get("products:id:generation")
    assert int(until) == redis_cli.pexpiretime("products:id:1")
    assert document == body
    a_shop.get("/products")
    page = redis_cli.get("products:list:skip:0:limit:10").split("\n")[1]
    assert json.loads(page) == {"ids": [1], "more": False}


def test_entries_expire_as_the_settings_say(make_shop: Make, redis_cli: Any) -> None:
    make_shop().create_product()
    for settings, product, category in (
        ({}, 300, 3600),
        ({"REDIS_CACHE_TTL": "100", "CATEGORY_CACHE_TTL": "1000"}, 100, 1000),
    ):
        redis_cli.flushall()
        shop = make_shop(**settings)
        for path in ("/products", "/categories"):
            shop.get(path)
        for key, ttl in (
            ("products:id:1", product),
            ("products:list:skip:0:limit:10", product),
            ("categories:id:1", category),
            ("categories:list:skip:0:limit:100", category),
        ):
            assert ttl / 2 < redis_cli.ttl(key) <= ttl


def test_a_page_is_composed_from_the_rows_that_are_cached(a_shop: Shop) -> None:
    for n in range(3):
        a_shop.create_product(name=f"Rake {n}")
    a_shop.get("/products")
    with a_shop.statements() as sent:
        assert a_shop.get("/products/2").headers["X-Cache"] == "HIT"
        other = a_shop.get("/products?limit=2")
    assert len(sent) == 1  # the ids of the other page; its rows are there
    assert [item["id"] for item in other.get_json()["items"]] == [1, 2]


def test_the_missing_rows_of_a_page_are_read_in_one_statement(a_shop: Shop, redis_cli: Any) -> None:
    for n in range(20):
        a_shop.create_product(name=f"Rake {n}")
    a_shop.get("/products?limit=20")
    redis_cli.delete("products:id:3", "products:id:7", "products:id:8")
    with a_shop.statements() as sent:
        page = a_shop.get("/products?limit=20")
    assert len(sent) == 1
    assert page.headers["X-Cache"] == "MISS"
    assert [item["id"] for item in page.get_json()["items"]] == list(range(1, 21))


def test_a_change_forgets_the_row_and_no_page(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    a_shop.create_product(name="Broom")
    a_shop.get("/products")
    for change in ({"stock": 9}, {"price": "7.00"}, {"name": "Spade"}):
        changed = a_shop.patch("/products/1", **change).get_json()
        assert not redis_cli.exists("products:id:1")
        assert redis_cli.exists("products:id:2")
        with a_shop.statements() as sent:
            page = a_shop.get("/products").get_json()
        assert len(sent) == 1
        assert page["items"][0] == changed


def test_every_kind_of_write_is_seen_by_the_next_read(a_shop: Shop) -> None:
    def seen() -> tuple[Any, Any]:
        """Read twice, so that the second is answered from the cache."""
        for path in ("/products", "/categories"):
            a_shop.get(path)
        with a_shop.statements() as sent:
            found = [a_shop.get(path).get_json()["items"] for path in ("/products", "/categories")]
        assert not sent
        return found[0], found[1]

    assert seen() == ([], [])
    garden = a_shop.create_category("Garden")
    assert seen() == ([], [garden])
    rake = a_shop.create_product(category_id=garden["id"])
    assert seen() == ([rake], [garden])
    broom = a_shop.create_product(category_id=garden["id"], name="Broom")
    assert seen() == ([rake, broom], [garden])
    rake = a_shop.patch("/products/1", stock=8).get_json()
    assert seen() == ([rake, broom], [garden])
    rake = a_shop.put(
        "/products/1", name="Spade", price=3, stock=1, category_id=garden["id"]
    ).get_json()
    assert seen() == ([rake, broom], [garden])
    garden = a_shop.put("/categories/1", name="Gardening").get_json()
    assert seen() == ([rake, broom], [garden])
    garden = a_shop.patch("/categories/1", name="Outdoors").get_json()
    assert seen() == ([rake, broom], [garden])
    a_shop.delete("/products/1")
    assert seen() == ([broom], [garden])
    a_shop.delete("/products/2")
    assert seen() == ([], [garden])
    a_shop.delete("/categories/1")
    assert seen() == ([], [])


def test_a_refused_write_forgets_nothing(a_shop: Shop) -> None:
    a_shop.create_product(sku="RK-1")
    a_shop.create_product(sku="RK-2")
    a_shop.get("/products")
    assert a_shop.patch("/products/1", sku="RK-2").status_code == 409
    assert a_shop.patch("/products/1", stock=-1).status_code == 422
    assert a_shop.delete("/categories/1").status_code == 409
    with a_shop.statements() as sent:
        a_shop.get("/products")
    assert not sent


def test_deleting_keys_by_hand_is_safe(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    before = a_shop.get("/products").get_json()
    for key in redis_cli.scan_iter("products:*"):
        redis_cli.delete(key)
        assert a_shop.get("/products").get_json() == before


@pytest.mark.parametrize("entry", ["", "x", "\n", "{}", '{"id": 1}', "stamp\n{}", "{gen}\n"])
def test_an_entry_that_is_not_the_caches_own_is_a_miss(
    a_shop: Shop, redis_cli: Any, entry: str
) -> None:
    product = a_shop.create_product()
    a_shop.get("/products/1")
    redis_cli.set("products:id:1", entry.replace("{gen}", redis_cli["products:id:generation"]))
    response = a_shop.get("/products/1")
    assert (response.get_json(), response.headers["X-Cache"]) == (product, "MISS")


def test_keys_of_another_type_do_no_harm(a_shop: Shop, redis_cli: Any) -> None:
    product = a_shop.create_product()
    redis_cli.flushall()
    redis_cli.rpush("products:id:1", "x")
    redis_cli.rpush("products:list:skip:0:limit:10", "x")
    redis_cli.rpush("products:id:generation", "x")
    assert a_shop.get("/products/1").get_json() == product
    assert a_shop.get("/products").get_json()["items"] == [product]
    assert a_shop.patch("/products/1", stock=77).status_code == 200
    assert a_shop.get("/products/1").get_json()["stock"] == 77


def test_forgetting_any_number_of_pages_is_one_command(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    for skip in range(50):
        a_shop.get(f"/products?skip={skip}")
    redis_cli.config_resetstat()
    a_shop.create_product(name="Broom")
    counted = redis_cli.info("commandstats")
    # The new row, which may have been asked for, the count of its category, and the generations of
    # plain pages, of lists of all and of its category, and of searches: suspended, then released.
    assert counted["cmdstat_set"]["calls"] == 6
    assert counted["cmdstat_del"]["calls"] == 6
    assert not {"cmdstat_scan", "cmdstat_keys", "cmdstat_flushdb"} & set(counted)
    assert a_shop.get("/products?skip=1").get_json()["items"][0]["name"] == "Broom"


def test_round_trips_are_one_for_a_hit_two_for_a_page_a_miss_and_a_write(
    make_shop: Make, redis_cli: Any
) -> None:
    """The edge and the limits are off; a limit is one round trip more for each."""
    shop = make_shop(RATE_LIMIT_ENABLED="false", EDGE_ENABLED="false")
    shop.create_product()
    shop.get("/products/1")

    def round_trips(method: str, path: str, **fields: Any) -> int:
        """Count calls of scripts: every call of the cache is one."""
        redis_cli.config_resetstat()
        assert shop.request(method, path, json=fields or None).status_code < 300
        counted = redis_cli.info("commandstats")
        return sum(
            counts["calls"] for name, counts in counted.items() if name.startswith("cmdstat_eval")
        )

    assert round_trips("GET", "/products/1") == 1
    assert round_trips("GET", "/products") == 3  # the ids are missing, the row is there
    assert round_trips("GET", "/products") == 2
    assert round_trips("PATCH", "/products/1", stock=5) == 2
    assert round_trips("GET", "/products/1") == 2
    assert round_trips("POST", "/categories", name="Kitchen") == 2
    assert round_trips("DELETE", "/products/1") == 2


def test_an_unchanged_document_is_304(a_shop: Shop) -> None:
    a_shop.create_product()
    for path in READS:
        etag = a_shop.get(path).headers["ETag"]
        response = a_shop.get(path, headers={"If-None-Match": etag})
        assert (response.status_code, response.data) == (304, b"")
        assert response.headers["ETag"] == etag
        assert response.headers["X-Cache"] == "HIT"
        other = a_shop.get(path, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
    a_shop.patch("/products/1", stock=99)
    assert a_shop.get("/products/1", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("If-None-Match", "*", 304), ("If-None-Match", "W/{}", 304),
        ("If-None-Match", '"x", {}', 304), ("If-None-Match", "x", 200),
        ("If-Match", '"x"', 200), ("Range", "bytes=0-1", 200),
        ("If-Modified-Since", "Mon, 01 Jan 2040 00:00:00 GMT", 200),
    ],
)  # fmt: skip
def test_if_none_match_is_the_only_condition_of_a_read(
    a_shop: Shop, header: str, value: str, status: int
) -> None:
    a_shop.create_product()
    etag = a_shop.get("/products/1").headers["ETag"]
    response = a_shop.get("/products/1", headers={header: value.format(etag)})
    assert response.status_code == status


def test_head_has_the_headers_of_get(a_shop: Shop) -> None:
    a_shop.create_product()
    got = a_shop.get("/products/1")
    head = a_shop.request("HEAD", "/products/1")
    assert head.data == b""
    assert head.headers["ETag"] == got.headers["ETag"]
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


def test_a_write_is_not_marked_as_cached(a_shop: Shop) -> None:
    response = a_shop.post("/categories", name="Garden")
    assert "X-Cache" not in response.headers
    assert "Cache-Control" not in response.headers


def test_the_log_lines_of_the_cache_are_those_of_the_guide(
    a_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "shop.cache"):
        a_shop.create_product()
        a_shop.get("/products/1")
        a_shop.get("/products/1")
        a_shop.patch("/products/1", stock=1)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert ("DEBUG", "Cache MISS: products:id:1") in lines
    assert ("DEBUG", "Cache HIT: products:id:1") in lines
    assert ("INFO", "Invalidated products:id:1") in lines
    assert ("INFO", "Invalidated every products:list entry") in lines


def test_signals_report_hits_and_misses(a_shop: Shop) -> None:
    a_shop.create_product()
    seen: list[tuple[str, str]] = []

    def note_hit(_cache: Any, cache_key: str, **_: Any) -> None:
        seen.append(("hit", cache_key))

    def note_miss(_cache: Any, cache_key: str, **_: Any) -> None:
        seen.append(("miss", cache_key))

    with cache_memoize_hit.connected_to(note_hit), cache_memoize_miss.connected_to(note_miss):
        a_shop.get("/products/1")
        a_shop.get("/products/1")
    assert seen == [("miss", "products:id:1"), ("hit", "products:id:1")]


def test_the_cache_is_bypassed_when_it_is_switched_off(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product()
    for path in READS:
        if path != "/products?skip=1&limit=1":
            with shop.statements() as sent:
                assert shop.get(path).headers["X-Cache"] == "BYPASS"
            assert sent
    assert redis_cli.dbsize() == 0


def test_a_write_with_the_cache_switched_off_logs_no_invalidation(
    make_shop: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "shop.cache"):
        make_shop(REDIS_ENABLED="false").create_product()
    assert not [record for record in caplog.records if record.name == "shop.cache"]


def test_a_write_after_a_read_of_the_same_request_is_whole_or_not_at_all(
    a_shop: Shop, redis_cli: Any
) -> None:
    """A read that misses needs no transaction; what follows it does."""
    stock = a_shop.create_product()["stock"]
    with a_shop.app.test_request_context(), suppress(ZeroDivisionError):
        products.product(1)
        with cache.transaction():
            db.session.execute(update(Product).values(stock=stock + 1))
            cache.delete_memoized(products.product_documents)
            raise ZeroDivisionError
    redis_cli.flushall()
    assert a_shop.get("/products/1").get_json()["stock"] == stock
