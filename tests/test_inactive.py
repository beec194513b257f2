"""Inactive products: callers with catalog:write see them, and they do not exist for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from conftest import ADMIN_KEY
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import update

from shop.extensions import cache, db
from shop.products import service as products
from shop.products.models import Product

if TYPE_CHECKING:
    from conftest import Make, MakeRelay, Service, Shop
    from werkzeug.test import TestResponse

    from dev.embedded.servers import Postgres

Headers = dict[str, str]
Serve = Callable[..., "Service"]

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
LIST = "/products?skip=0&limit=10"
SECRET = "Unannounced rake"


@pytest.fixture(params=["true", "false"], ids=["with the edge", "without it"])
def shop(request: pytest.FixtureRequest, make_shop: Make) -> Shop:
    """A shop of four products, of which the second is inactive; all reads have been learnt."""
    shop = make_shop(EDGE_ENABLED=request.param)
    for number in range(1, 5):
        shop.create_product(name=SECRET if number == 2 else "Rake", active=number != 2)
    for path in ("/products/1", LIST):
        for _ in range(2):
            assert shop.get(path).status_code == 200
    return shop


def key(shop: Shop, *scopes: str) -> Headers:
    options = [option for scope in scopes for option in ("--scope", scope)]
    made = shop.command("keys", "create", "--name", "x", *options)
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def revoked_key(shop: Shop) -> Headers:
    headers = key(shop, "catalog:write")
    shop.command("keys", "revoke", headers["Authorization"].split("_")[1])
    return headers


PUBLIC: dict[str, Callable[[Shop], Headers]] = {
    "nobody in particular": lambda _: {},
    "a session": lambda shop: shop.open_session(),
    "a session that has ended": lambda _: {"Authorization": f"Bearer session_{'x' * 43}"},
    "a key without scopes": key,
    "a key with the other scopes": lambda shop: key(
        shop, "orders:read", "orders:write", "stats:read"
    ),
    "a key that was revoked": revoked_key,
    "a key that nobody has": lambda _: {"Authorization": "Bearer abc"},
}
WRITERS: dict[str, Callable[[Shop], Headers]] = {
    "the administrator": lambda _: ADMIN,
    "a key with catalog:write": lambda shop: key(shop, "catalog:write"),
}


@pytest.fixture(params=PUBLIC)
def public(request: pytest.FixtureRequest, shop: Shop) -> Headers:
    return PUBLIC[request.param](shop)


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest, shop: Shop) -> Headers:
    return WRITERS[request.param](shop)


def ids(shop: Shop, path: str = LIST, **headers: str) -> list[int]:
    answer = shop.get(path, headers=headers)
    assert answer.status_code == 200
    return [item["id"] for item in answer.get_json()["items"]]


def told(answer: TestResponse) -> tuple[Any, ...]:
    """Return all that an answer says, but for the product's id and the counters of limits."""
    headers = [header for header in answer.headers if "ratelimit" not in header[0].lower()]
    return answer.status_code, headers, answer.text.replace("7", "2")


def test_an_inactive_product_does_not_exist_for_everybody(shop: Shop, public: Headers) -> None:
    headers = public | {"X-Request-ID": "one"}
    for method in ("GET", "HEAD"):
        for _ in range(2):
            hidden = shop.request(method, "/products/2", headers=headers)
            unknown = shop.request(method, "/products/7", headers=headers)
            assert hidden.status_code == 404
            assert told(hidden) == told(unknown)
            assert "ETag" not in hidden.headers
            assert "X-Cache" not in hidden.headers
    for path in (LIST, "/products", "/products?limit=100", "/products?skip=1&limit=2"):
        for _ in range(2):
            assert SECRET not in shop.get(path, headers=public).text
    assert ids(shop, **public) == [1, 3, 4]


def test_catalogue_writer_sees_inactive_products(shop: Shop, writer: Headers) -> None:
    for outcome in ("MISS", "HIT"):
        answer = shop.get("/products?limit=4", headers=writer)
        assert [item["id"] for item in answer.get_json()["items"]] == [1, 2, 3, 4]
        assert answer.headers["X-Cache"] == outcome
    answer = shop.get("/products/2", headers=writer)
    assert (answer.get_json()["name"], answer.get_json()["active"]) == (SECRET, False)
    assert shop.get("/products/7", headers=writer).status_code == 404


def test_pages_count_the_products_that_their_reader_sees(shop: Shop, writer: Headers) -> None:
    path = "/products?skip=1&limit=2"
    assert ids(shop, path) == [3, 4]
    assert shop.get(path).headers["Link"] == '</products?skip=0&limit=2>; rel="prev"'
    assert ids(shop, path, **writer) == [2, 3]
    links = shop.get(path, headers=writer).headers["Link"]
    assert links == (
        '</products?skip=0&limit=2>; rel="prev", </products?skip=3&limit=2>; rel="next"'
    )
    assert ids(shop, "/products?skip=3&limit=2") == []


def test_public_and_full_pages_have_own_keys_and_share_rows(shop: Shop, redis_cli: Any) -> None:
    redis_cli.flushall()
    ids(shop)
    with shop.statements() as sent:
        ids(shop, **ADMIN)
    assert len(sent) == 2  # the ids, and the one row that the other page had not
    pages = {name: page(redis_cli, name) for name in redis_cli.keys("products:list:*skip:*")}
    assert pages == {
        "products:list:skip:0:limit:10": [1, 3, 4],
        "products:list:all:skip:0:limit:10": [1, 2, 3, 4],
    }
    assert len(redis_cli.keys("products:id:[0-9]*")) == 4


def page(redis_cli: Any, name: str) -> list[int]:
    found: list[int] = orjson.loads(redis_cli.get(name).split("\n")[1])["ids"]
    return found


def test_a_change_of_active_is_in_the_next_answer(shop: Shop, writer: Headers) -> None:
    changes: list[tuple[int, dict[str, Any]]] = [
        (1, {"active": False}),
        (2, {"active": True}),
        (1, {"active": True, "stock": 9}),
        (2, {"active": False}),
    ]
    public, everybody = {1, 3, 4}, [1, 2, 3, 4]
    for product_id, change in changes:
        assert shop.patch(f"/products/{product_id}", **change).status_code == 200
        public ^= {product_id}
        for _ in range(2):
            assert ids(shop) == sorted(public)
            assert ids(shop, **writer) == everybody
            for one in (1, 2):
                status = 200 if one in public else 404
                assert shop.get(f"/products/{one}").status_code == status
                seen = shop.get(f"/products/{one}", headers=writer).get_json()
                assert seen["active"] == (one in public)


def test_a_put_without_the_active_field_activates(shop: Shop) -> None:
    assert ids(shop) == [1, 3, 4]
    shop.put("/products/2", name="Hoe", price="1.00", stock=1, category_id=1)
    assert ids(shop) == [1, 2, 3, 4]
    shop.put("/products/2", name="Hoe", price="1.00", stock=1, category_id=1, active=False)
    assert ids(shop) == [1, 3, 4]


def test_a_new_or_deleted_product_is_in_the_pages_of_those_who_see_it(shop: Shop) -> None:
    made = shop.create_product(active=False)["id"]
    assert (ids(shop), ids(shop, **ADMIN)) == ([1, 3, 4], [1, 2, 3, 4, made])
    shop.delete(f"/products/{made}")
    shop.delete("/products/3")
    assert (ids(shop), ids(shop, **ADMIN)) == ([1, 4], [1, 2, 4])


def test_only_a_change_of_active_forgets_pages(shop: Shop, redis_cli: Any) -> None:
    generation = redis_cli.get("products:list:generation")
    for change in ({"stock": 9}, {"active": True}, {"active": True, "name": "Spade"}):
        assert shop.patch("/products/1", **change).status_code == 200
        assert redis_cli.get("products:list:generation") == generation
    whole = {"name": "Rake", "price": "1.00", "stock": 1, "category_id": 1}
    assert shop.put("/products/1", **whole).status_code == 200
    assert redis_cli.get("products:list:generation") == generation
    assert shop.patch("/products/1", active=False).status_code == 200
    assert redis_cli.get("products:list:generation") is None


def test_a_refused_change_of_active_changes_nothing(shop: Shop) -> None:
    answer = shop.request(
        "PATCH", "/products/1", json={"active": False}, headers={"If-Match": '"0"'}
    )
    assert answer.status_code == 412
    assert shop.patch("/products/1", active=False, category_id=99).status_code == 422
    assert ids(shop) == [1, 3, 4]


def deactivate_by_hand(shop: Shop, product_id: int) -> None:
    """Make a product inactive, and let its row alone be forgotten."""
    with shop.app.app_context(), cache.transaction():
        change = update(Product).where(Product.id == product_id).values(active=False)
        db.session.execute(change)
        cache.delete_memoized(products.product_documents, product_id)


def test_an_old_list_of_ids_does_not_show_an_inactive_product(
    shop: Shop, public: Headers, redis_cli: Any
) -> None:
    """A list from just before the change may be joined with rows from just after it."""
    etag = shop.get(LIST, headers=public).headers["ETag"]
    deactivate_by_hand(shop, 3)
    assert shop.get("/products/3", headers=ADMIN).get_json()["active"] is False
    assert page(redis_cli, "products:list:skip:0:limit:10") == [1, 3, 4]
    for _ in range(3):
        answer = shop.get(LIST, headers=public | {"If-None-Match": etag})
        assert answer.status_code == 200
        assert [item["id"] for item in answer.get_json()["items"]] == [1, 4]


def test_an_etag_of_an_administrator_does_not_reveal_an_inactive_product(
    shop: Shop, public: Headers
) -> None:
    of_row = shop.get("/products/2", headers=ADMIN).headers["ETag"]
    of_page = shop.get(LIST, headers=ADMIN).headers["ETag"]
    for known in (of_row, f"W/{of_row}", f'"x", {of_row}', "*"):
        condition = {"If-None-Match": known}
        for _ in range(2):
            assert shop.get("/products/2", headers=public | condition).status_code == 404
        assert shop.get("/products/2", headers=ADMIN | condition).status_code == 304
    for _ in range(2):
        answer = shop.get(LIST, headers=public | {"If-None-Match": of_page})
        assert (answer.status_code, SECRET in answer.text) == (200, False)
        assert answer.headers["ETag"] != of_page
    assert shop.get(LIST, headers=ADMIN | {"If-None-Match": of_page}).status_code == 304


def test_an_etag_of_a_formerly_active_product_reveals_nothing(shop: Shop, public: Headers) -> None:
    of_row, of_page = (
        {"If-None-Match": shop.get(path).headers["ETag"]} for path in ("/products/1", LIST)
    )
    assert shop.get("/products/1", headers=public | of_row).status_code == 304
    shop.patch("/products/1", active=False)
    for _ in range(2):
        assert shop.get("/products/1", headers=public | of_row).status_code == 404
        assert shop.get(LIST, headers=public | of_page).status_code == 200
    shop.patch("/products/1", active=True)
    assert shop.get("/products/1", headers=public).status_code == 200


def test_an_id_that_was_unknown_is_shown_once_it_exists(shop: Shop) -> None:
    for headers in ({}, ADMIN):
        assert shop.get("/products/5", headers=headers).status_code == 404
    assert shop.create_product(name=SECRET, active=False)["id"] == 5
    assert shop.get("/products/5", headers=ADMIN).get_json()["name"] == SECRET
    for _ in range(2):
        assert shop.get("/products/5").status_code == 404
        assert shop.get("/products/5", headers=ADMIN).status_code == 200


def test_no_shared_cache_may_keep_an_answer_that_depends_on_the_caller(
    shop: Shop, writer: Headers
) -> None:
    """A 404 may not be kept either: the product can appear at any time."""
    for path in ("/products/1", "/products/2", LIST):
        assert shop.get(path, headers=writer).headers["Cache-Control"] == "private, no-cache"
    for path in ("/products/1", LIST):
        for _ in range(2):
            assert shop.get(path).headers["Cache-Control"] == "no-cache"
    for path in ("/products/2", "/products/7", "/categories/9"):
        assert shop.get(path).headers["Cache-Control"] == "no-cache"


def test_lists_of_best_sellers_leave_out_inactive_products(shop: Shop, public: Headers) -> None:
    order = shop.place_order(1, 3)["id"]
    shop.move_order(order, "pay")
    lists = ("/products/top-selling", "/products/trending")
    for path in lists:
        sold = shop.get(path, headers=public).get_json()["items"]
        assert {item["product"]["id"] for item in sold} == {1, 3}
    shop.patch("/products/3", active=False)
    for path in lists:
        sold = shop.get(path, headers=public).get_json()["items"]
        assert [item["product"]["id"] for item in sold] == [1]


def test_a_cart_shows_only_that_an_item_is_inactive(shop: Shop) -> None:
    session = shop.open_session()
    for product_id in (1, 3):
        path = f"/cart/items/{product_id}"
        shop.request("PUT", path, json={"quantity": 2}, headers=session)
    shop.patch("/products/3", active=False, name=SECRET, price="77.00")
    answer = shop.get("/cart", headers=session)
    assert answer.get_json()["items"][1] == {
        "product_id": 3,
        "quantity": 2,
        "state": "inactive",
        "total": None,
        "product": None,
    }
    assert answer.get_json()["totals"] == [{"currency": "EUR", "total": "39.80"}]
    refused = shop.request("PUT", "/cart/items/2", json={"quantity": 1}, headers=session)
    assert (refused.status_code, SECRET in refused.text) == (409, False)
    shop.patch("/products/3", active=True)
    assert shop.get("/cart", headers=session).get_json()["items"][1]["product"]["name"] == SECRET


def of_edge(result: str) -> float:
    return REGISTRY.get_sample_value("shop_edge_requests_total", {"result": result}) or 0


def round_trips(redis_cli: Any) -> int:
    counts = redis_cli.info("commandstats").items()
    return sum(one["calls"] for name, one in counts if name.startswith("cmdstat_eval"))


@pytest.mark.parametrize("shop", ["true"], indirect=True)
def test_the_edge_leaves_out_inactive_products_and_passes_their_rows_to_flask(
    shop: Shop, redis_cli: Any
) -> None:
    deactivate_by_hand(shop, 3)
    shop.get("/products/3", headers=ADMIN)
    left = int(shop.get("/products/1").headers["X-RateLimit-Remaining"])
    redis_cli.config_resetstat()
    hits, passed = of_edge("hit"), of_edge("passed")
    assert ids(shop) == [1, 4]
    assert (of_edge("hit"), round_trips(redis_cli)) == (hits + 1, 1)
    answer = shop.get("/products/3")
    assert (answer.status_code, of_edge("passed")) == (404, passed + 1)
    assert round_trips(redis_cli) == 3
    assert int(answer.headers["X-RateLimit-Remaining"]) == left - 2  # each is charged once


@pytest.mark.parametrize("shop", ["true"], indirect=True)
def test_the_edge_learns_nothing_from_answers_that_depend_on_the_caller(shop: Shop) -> None:
    path = "/products?limit=3"
    for _ in range(3):
        assert ids(shop, path, **ADMIN) == [1, 2, 3]
    passed = of_edge("passed")
    assert ids(shop, path) == [1, 3, 4]
    assert of_edge("passed") == passed + 1
    assert ids(shop, path) == [1, 3, 4]
    assert of_edge("passed") == passed + 1


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from('"\\:,{}[]active true false'))


@given(name=TEXTS, description=TEXTS, active=st.booleans())
@example(name='"active":true', description='","active":true,"', active=False)
@example(name='\\"active":true', description='\\","active":true', active=False)
@example(name='"active":false', description='\\\\"active":false', active=True)
def test_no_text_of_a_product_can_pass_for_its_active_field(
    name: str, description: str, *, active: bool
) -> None:
    row = {"id": 1, "name": name, "description": description, "sku": None, "active": active}
    assert products.is_active(orjson.dumps(row | {"updated_at": description})) == active


def test_a_document_without_the_active_field_is_shown_to_nobody() -> None:
    assert not products.is_active(b'{"id":1}')
    assert not products.is_active(b'{"id":1,"active":null}')


def test_warm_reads_public_and_full_pages(shop: Shop, redis_cli: Any) -> None:
    redis_cli.flushall()
    shop.command("cache", "warm")
    with shop.statements() as sent:
        assert ids(shop) == [1, 3, 4]
        assert ids(shop, **ADMIN) == [1, 2, 3, 4]
        assert shop.get("/products/2", headers=ADMIN).status_code == 200
    assert not sent
    assert "products:list:all:skip:*:limit:*" in shop.command("cache", "stats").output
    shop.command("cache", "clear", "products")
    assert redis_cli.keys("products:list:*skip*") == []


@pytest.fixture
def database(make_shop: Make, relay: MakeRelay, postgres: Postgres) -> Any:
    return relay(postgres.socket)


def test_an_inactive_product_stays_hidden_without_the_database(
    make_shop: Make, database: Any
) -> None:
    url = f"postgresql://shop@127.0.0.1:{database.port}/shop"
    shop = make_shop(DATABASE_URL=url, CACHE_STALE_IF_ERROR="1000", EDGE_ENABLED="false")
    for _ in range(2):
        shop.create_product(name=SECRET)
    shop.get(LIST)
    shop.patch("/products/2", active=False)
    assert shop.get("/products/2", headers=ADMIN).status_code == 200
    database.close()
    for path, status in (("/products/2", 404), (LIST, 503), ("/products/1", 200)):
        assert shop.get(path).status_code == status
    assert shop.get("/products/2", headers=ADMIN).status_code == 200


def test_a_key_that_cannot_be_looked_up_gets_503_for_an_absent_product(
    make_shop: Make, database: Any
) -> None:
    """Public documents are answered with any key; a session sees no more than others."""
    url = f"postgresql://shop@127.0.0.1:{database.port}/shop"
    shop = make_shop(DATABASE_URL=url)
    shop.create_product()
    shop.create_product(active=False)
    headers = key(shop, "catalog:write")
    for path in ("/products/1", "/products/2", "/products/7", LIST):
        shop.get(path)
    database.close()
    unknown = {"Authorization": f"Bearer session_{'x' * 43}"}
    for path in ("/products/1", LIST):
        for sent in ({}, unknown, headers):
            assert shop.get(path, headers=sent).status_code == 200
    for path in ("/products/2", "/products/7"):
        for sent, status in (({}, 404), (unknown, 404), (headers, 503)):
            assert shop.get(path, headers=sent).status_code == status


@pytest.mark.parametrize("edge", ["true", "false"], ids=["with the edge", "without it"])
def test_every_worker_hides_and_shows_a_product_once_the_write_is_answered(
    serve: Serve, edge: str
) -> None:
    service = serve(EDGE_ENABLED=edge, WEB_CONCURRENCY="3")
    service.write("POST", "/categories", name="Garden")
    for _ in range(3):
        service.write("POST", "/products", name="Rake", price="1.00", stock=1, category_id=1)
    for turn in range(12):
        active = bool(turn % 2)
        assert service.write("PATCH", "/products/2", active=active).status_code == 200
        for _ in range(8):  # each over a connection of its own, to any worker
            items = service.get(LIST).json()["items"]
            assert [item["id"] for item in items] == ([1, 2, 3] if active else [1, 3])
            assert service.get("/products/2").status_code == (200 if active else 404)
            items = service.get(LIST, headers=ADMIN).json()["items"]
            assert [item["active"] for item in items] == [True, active, True]
