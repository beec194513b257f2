"""The edge: cached reads in one round trip, and everything else as if it were not there."""

from __future__ import annotations

import ast
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, await_true
from flask import request
from flask_caching.signals import cache_memoize_hit
from prometheus_client import REGISTRY
from sqlalchemy import text

from shop.edge import application, asgi_scope, hits, learned_plans
from shop.extensions import db
from shop.logs import AnsweredRequest, RequestFilter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop
    from flask import Response

    from dev.embedded.servers import Redis

PACKAGE = Path(application.__file__).parents[1]
READS = ("/products/1", "/products", "/products?skip=0&limit=2", "/categories/1", "/categories")

STOCKING = (*READS, READS[0])  # the last by the edge, whose script Redis knows then


@pytest.fixture
def stocked(make_shop: Make) -> Shop:
    """A shop with three products, whose reads the edge has learnt."""
    return stock(make_shop())


def stock(shop: Shop) -> Shop:
    for name in ("Rake", "Spade", "Broom"):
        shop.create_product(name=name)
    for path in STOCKING:
        assert shop.get(path).status_code == 200
    return shop


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("shop_edge_requests_total", {"result": result}) or 0


@contextmanager
def counting(**expected: int) -> Iterator[None]:
    """Expect these numbers of requests for each result within the block."""
    results = ("hit", "not_modified", "refused", "miss", "passed")
    before = {result: counted(result) for result in results}
    yield
    after = {result: counted(result) - before[result] for result in results}
    assert after == {result: expected.get(result, 0) for result in results}


def round_trips(redis_cli: Any) -> int:
    """Return how many scripts were called since the last reset."""
    counts = redis_cli.info("commandstats").items()
    return sum(one["calls"] for name, one in counts if name.startswith("cmdstat_eval"))


@pytest.mark.parametrize("path", READS)
def test_a_cached_read_is_one_round_trip(stocked: Shop, redis_cli: Any, path: str) -> None:
    """The limits and the rows of a page are included; a 304 costs the same."""
    etag = stocked.get(path).headers["ETag"]
    redis_cli.config_resetstat()
    with counting(hit=1, not_modified=1):
        assert stocked.get(path).headers["X-Cache"] == "HIT"
        answer = stocked.get(path, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.data) == (304, b"")
    assert round_trips(redis_cli) == 2


def test_a_refused_request_is_one_round_trip(make_shop: Make, redis_cli: Any) -> None:
    shop = stock(make_shop(RATE_LIMIT_CALLS=str(len(STOCKING))))
    redis_cli.config_resetstat()
    with counting(refused=2):
        answers = [shop.get(path) for path in READS[:2]]
    assert [answer.status_code for answer in answers] == [429, 429]
    assert answers[0].get_json()["instance"] == READS[0]
    assert answers[0].get_json()["request_id"] == answers[0].headers["X-Request-ID"]
    assert round_trips(redis_cli) == 2


def test_a_miss_is_three_round_trips_and_is_charged_once(stocked: Shop, redis_cli: Any) -> None:
    left = int(stocked.get("/products/1").headers["X-RateLimit-Remaining"])
    redis_cli.delete("products:id:1")
    stocked.get("/products/2")  # with whose answer the loop hears what was deleted
    left -= 1
    redis_cli.config_resetstat()
    with counting(miss=1):
        answer = stocked.get("/products/1")
    assert answer.headers["X-Cache"] == "MISS"
    assert int(answer.headers["X-RateLimit-Remaining"]) == left - 1
    assert round_trips(redis_cli) == 3


def test_the_edge_learns_all_rows_of_a_route_together(stocked: Shop) -> None:
    for number in (2, 3):
        with counting(hit=1):
            assert stocked.get(f"/products/{number}").get_json()["id"] == number
    with counting(passed=6):
        for other in ("0", "01", "4", "2147483648", "99999999999", "x"):
            assert stocked.get(f"/products/{other}").status_code == 404


def test_a_page_has_the_rows_as_they_are_now(stocked: Shop) -> None:
    assert stocked.patch("/products/2", name="Shovel").status_code == 200
    with counting(miss=1):
        stocked.get("/products/2")
    with counting(hit=1):
        names = [row["name"] for row in stocked.get("/products").get_json()["items"]]
    assert names == ["Rake", "Shovel", "Broom"]
    assert stocked.delete("/products/1").status_code == 204
    with counting(miss=1):
        names = [row["name"] for row in stocked.get("/products").get_json()["items"]]
    assert names == ["Shovel", "Broom"]


def test_neighbours_of_a_page_are_linked_as_they_are_now(make_shop: Make) -> None:
    shop = stock(make_shop())
    path = "/products?skip=1&limit=2"
    shop.get(path)
    assert shop.get(path).headers["Link"] == '</products?skip=0&limit=2>; rel="prev"'
    shop.create_product()
    for result in ({"miss": 1}, {"hit": 1}):
        with counting(**result):
            assert 'rel="next"' in shop.get(path).headers["Link"]


@pytest.mark.parametrize(
    "options",
    [
        {"method": "POST"},
        {"method": "OPTIONS"},
        {"data": b"{}"},
        {"headers": {"Authorization": f"Bearer {ADMIN_KEY}"}},
        {"headers": {"Authorization": "Basic eDp5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Upgrade": "websocket", "Connection": "upgrade"}},
        {"headers": {"Host": "a..b"}},
        {"headers": {"Host": "x" * 64}},
        {"headers": {"Host": ""}},
        {"environ_overrides": {"PATH_INFO": "//products/1"}},
        {"environ_overrides": {"PATH_INFO": "/products/\u00e9"}},
        {"query_string": "x=" + "y" * asgi_scope.URL_LONGEST},
    ],
)
def test_an_unusual_request_is_passed_to_flask(stocked: Shop, options: dict[str, Any]) -> None:
    method = options.get("method", "GET")
    others = {name: value for name, value in options.items() if name != "method"}
    for _ in range(2):
        with counting(passed=1):
            stocked.client.open("/products/1", method=method, **others)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "0"},
        {"X-Request-ID": "seven"},
        {"Accept": "text/html", "Cookie": "session=x", "Range": "bytes=0-1"},
        {"If-None-Match": "garbage"},
        {"Host": "127.0.0.1:8000"},
        {"Host": "Shop.Example.com"},
    ],
)
def test_unrelated_headers_do_not_change_the_answer(stocked: Shop, headers: dict[str, str]) -> None:
    plain = stocked.get("/products/1")
    with counting(hit=1):
        answer = stocked.get("/products/1", headers=headers)
    assert answer.data == plain.data
    assert answer.headers["X-Request-ID"] == headers.get(
        "X-Request-ID", answer.headers["X-Request-ID"]
    )


def test_head_has_the_headers_without_a_body(stocked: Shop) -> None:
    with counting(hit=2):
        whole = stocked.get("/products")
        head = stocked.request("HEAD", "/products")
    assert head.data == b""
    assert head.headers["Content-Length"] == str(len(whole.data))
    assert head.headers["ETag"] == whole.headers["ETag"]


def test_every_header_that_the_service_reads_is_known_to_the_edge() -> None:
    """A header that changes a read must be declared to the edge."""
    known = {
        "Access-Control-Request-Method",  # of OPTIONS alone
        "Authorization",  # if it is no session, the request goes on into Flask
        "Idempotency-Key",  # of writes alone
        "If-Match",  # of writes alone
        "If-None-Match",
        "Origin",  # of OPTIONS alone; else read outside the edge, for its answers and Flask's alike
        "X-Forwarded-For",
        "X-Request-ID",
    }
    ways = {"args", "endpoint", "environ", "headers", "method", "path", "remote_addr", "url_rule"}
    ways |= {"max_content_length", "routing_exception"}  # of a request with a body, of OPTIONS
    # Of metrics and probes, which the edge never learns.
    ways |= {"accept_mimetypes", "authorization", "blueprint"}
    read, used = set(), set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "request":
                used.add(node.attr)
            if isinstance(node, ast.Subscript):
                assert ast.unparse(node.value) != "request.headers", path
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "request.headers.get":
                read.add(ast.literal_eval(node.args[0]))
    assert read == known
    assert used - {*AnsweredRequest._fields, "_asdict"} <= ways  # log_request's is another


def test_a_revoked_key_gives_no_quota(make_shop: Make) -> None:
    shop = stock(make_shop())
    key = shop.command("keys", "create", "--name", "x", "--tier", "partner").output.split()[-1]
    headers = {"Authorization": f"Bearer {key}"}
    quota = shop.get("/products/1", headers=headers).headers["X-RateLimit-Limit"]
    assert quota == "1000"
    prefix = key.split("_")[1]
    assert shop.command("keys", "revoke", prefix).exit_code == 0
    assert shop.get("/products/1", headers=headers).headers["X-RateLimit-Limit"] == "100000"


def open_session(shop: Shop, redis_cli: Any) -> dict[str, str]:
    """Open a session that Redis knows."""
    session = shop.open_session()
    assert shop.get("/cart", headers=session).status_code == 200
    return session


@pytest.mark.parametrize("path", READS)
def test_a_session_reads_in_one_round_trip_at_its_own_expense(
    stocked: Shop, redis_cli: Any, path: str
) -> None:
    session = open_session(stocked, redis_cli)
    of_address = stocked.get(path)
    redis_cli.config_resetstat()
    with counting(hit=2):
        first, second = (stocked.get(path, headers=session) for _ in range(2))
    assert round_trips(redis_cli) == 2
    assert (first.data, first.headers["ETag"]) == (of_address.data, of_address.headers["ETag"])
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in (first, second)]
    assert left[1] < left[0] < 100_000
    assert left[0] > int(of_address.headers["X-RateLimit-Remaining"])
    told = stocked.get("/rate_limit", headers=session).get_json()
    assert told["client"].startswith("session:")
    assert told["policies"][0]["remaining"] == left[1]


def test_a_session_is_refused_in_one_round_trip(make_shop: Make, redis_cli: Any) -> None:
    shop = stock(make_shop(RATE_LIMIT_CALLS="30"))
    session = open_session(shop, redis_cli)
    statuses = []
    redis_cli.config_resetstat()
    with counting(hit=29, refused=1):
        statuses = [shop.get("/products/1", headers=session).status_code for _ in range(30)]
    assert (statuses[-1], round_trips(redis_cli)) == (429, 30)
    assert shop.get("/products/1").status_code == 200


@pytest.mark.parametrize(
    "end",
    ["DELETE FROM sessions", "UPDATE sessions SET expires_at = now() + interval '1 hour'"],
    ids=["that has ended", "that is to be renewed"],
)
def test_a_session_near_or_past_its_end_is_passed_to_flask(
    stocked: Shop, redis_cli: Any, end: str
) -> None:
    """Its request is charged once, to the client that Flask determines."""
    session = open_session(stocked, redis_cli)
    with stocked.app.app_context(), db.engine.begin() as connection:
        connection.execute(text(end))
    redis_cli.delete(*redis_cli.keys("session:*"))
    left = quota_left(stocked, session)
    with counting(passed=1):
        assert stocked.get("/products/1", headers=session).status_code == 200
    assert quota_left(stocked, session) == left - 1


def test_a_session_ends_by_the_clock_of_its_worker(
    stocked: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's clock set the end. The clock of Redis may be two hours behind."""
    session = open_session(stocked, redis_cli)
    now = time.time() + 2 * 3600
    monkeypatch.setattr("time.time", lambda: now)
    with counting(passed=1):
        assert stocked.get("/products/1", headers=session).status_code == 200


def quota_left(shop: Shop, headers: dict[str, str]) -> int:
    policies = shop.get("/rate_limit", headers=headers).get_json()["policies"]
    remaining: int = policies[0]["remaining"]
    return remaining


def test_a_closed_session_is_refused(stocked: Shop, redis_cli: Any) -> None:
    session = open_session(stocked, redis_cli)
    with counting(hit=1):
        stocked.get("/products/1", headers=session)
    stocked.request("DELETE", "/sessions/current", headers=session)
    with counting(passed=1):
        stocked.get("/products/1", headers=session)
    assert stocked.get("/rate_limit", headers=session).get_json()["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("scheme", "result"),
    [
        ("bearer ", "hit"),
        ("Bearer  ", "hit"),
        ("Bearer\t", "passed"),
        ("Token ", "passed"),
        ("", "passed"),
    ],
)
def test_a_request_with_another_credential_than_a_session_is_passed_to_flask(
    stocked: Shop, redis_cli: Any, scheme: str, result: str
) -> None:
    token = open_session(stocked, redis_cli)["Authorization"].removeprefix("Bearer ")
    with counting(**{result: 1}):
        stocked.get("/products/1", headers={"Authorization": scheme + token})


def test_the_number_of_learnt_urls_is_bounded(
    make_shop: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_plans, "PLANS_MAX", 2)
    shop = stock(make_shop())
    paths = [f"/products?limit={limit}" for limit in (1, 2, 3)]
    for path in paths:
        assert shop.get(path).status_code == 200
    with counting(hit=2):
        shop.get(paths[1])
        shop.get(paths[2])
    with counting(passed=1, hit=1):  # the oldest was forgotten; it is learnt anew
        shop.get(paths[0])
        shop.get(paths[0])


def test_an_answer_with_additional_headers_is_not_learnt(make_shop: Make) -> None:
    shop = make_shop()

    @shop.app.after_request
    def add(response: Response) -> Response:
        response.headers["X-Greeting"] = "hello"
        return response

    shop.create_product()
    for _ in range(3):
        with counting(passed=1):
            assert shop.get("/products/1").headers["X-Greeting"] == "hello"


def test_an_answer_that_is_not_its_document_is_not_learnt(make_shop: Make) -> None:
    shop = make_shop()

    @shop.app.after_request
    def wrap(response: Response) -> Response:
        if request.method == "GET":
            response.data = b"[%b]" % response.data
        return response

    shop.create_product()
    for _ in range(3):
        with counting(passed=1):
            assert shop.get("/products/1").get_json()[0]["id"] == 1


def test_a_request_is_logged_and_counted_as_flask_would(
    stocked: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    route = {"method": "GET", "route": "/products", "status": "200"}
    reads = {"result": "hit", "function": "products.product_documents"}

    def samples() -> list[float]:
        return [
            REGISTRY.get_sample_value("shop_http_requests_total", route) or 0,
            REGISTRY.get_sample_value("shop_cache_reads_total", reads) or 0,
        ]

    before = samples()
    with caplog.at_level(logging.INFO, "shop.access"), counting(hit=1):
        stocked.get("/products", headers={"X-Request-ID": "seven"})
    assert [b - a for a, b in zip(before, samples(), strict=True)] == [1, 3]
    [record] = caplog.records
    fields = vars(record)["fields"]
    assert fields.pop("milliseconds") >= 0
    assert fields == {
        "method": "GET",
        "route": "/products",
        "path": "/products",
        "status": 200,
        "cache": "HIT",
        "client": "127.0.0.1",
        "refused": None,
        "request_id": "seven",
    }


def test_the_edge_leaves_reads_to_flask_while_each_key_is_logged_or_signalled(
    stocked: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "shop.cache"), counting(passed=1):
        stocked.get("/products/1")
    assert "Cache HIT: products:id:1" in caplog.messages
    keys = []

    def note(_cache: Any, cache_key: str, **_: Any) -> None:
        keys.append(cache_key)

    with cache_memoize_hit.connected_to(note), counting(passed=1):
        stocked.get("/products/1")
    assert keys == ["products:id:1"]


def test_shadow_mode_refuses_nothing(make_shop: Make) -> None:
    shop = stock(make_shop(RATE_LIMIT_MODE="shadow", RATE_LIMIT_CALLS="5"))
    with counting(hit=1):
        answer = shop.get("/products/1")
    assert (answer.status_code, answer.headers["X-RateLimit-Remaining"]) == (200, "0")


def test_answers_have_no_limit_headers_without_limits(make_shop: Make, redis_cli: Any) -> None:
    shop = stock(make_shop(RATE_LIMIT_ENABLED="false"))
    redis_cli.config_resetstat()
    with counting(hit=1):
        assert "RateLimit" not in shop.get("/products/1").headers
    assert round_trips(redis_cli) == 1
    assert not redis_cli.keys("rate_limit:*")


def test_a_fault_in_the_edge_is_logged_and_flask_answers(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line has the id of the request, which Flask keeps."""
    monkeypatch.setattr(hits, "parse_read_request", lambda *_: 1 / 0)
    caplog.handler.addFilter(RequestFilter())
    with counting(passed=1):
        answer = stocked.get("/products/1")
    assert answer.status_code == 200
    [fault] = [one for one in caplog.records if one.message == "Unexpected error ahead of Flask"]
    assert vars(fault)["request_id"] == answer.headers["X-Request-ID"]


def test_a_fault_after_the_charge_costs_no_second_one(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = int(stocked.get("/products/1").headers["X-RateLimit-Remaining"])
    monkeypatch.setattr(hits, "count_decision", lambda *_, **__: 1 / 0)
    with counting(passed=1):
        answer = stocked.get("/products/1")
    assert int(answer.headers["X-RateLimit-Remaining"]) == left - 1


def test_a_request_that_is_passed_to_flask_keeps_its_time(
    stocked: Shop, redis_cli: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The edge waits for Redis, which has lost the session."""
    session = open_session(stocked, redis_cli)
    redis_cli.delete(*redis_cli.keys("session:*"))
    logged = caplog.at_level(logging.INFO, "shop.access")
    with logged, counting(passed=1), ThreadPoolExecutor(1) as pool:
        redis_cli.client_pause(60_000, all=False)
        try:
            read = pool.submit(stocked.get, "/products/1", headers=session)
            await_true(lambda: paused(redis_cli))
            began = time.monotonic()
            await_true(lambda: time.monotonic() - began > 0.3)
        finally:
            redis_cli.client_unpause()
        assert read.result().status_code == 200
    [access] = [one for one in caplog.records if one.name == "shop.access"]
    assert vars(access)["fields"]["milliseconds"] >= 300


def paused(redis_cli: Any) -> set[str]:
    """Return the commands that wait for the end of a pause of writes."""
    return {one["cmd"] for one in redis_cli.client_list() if "b" in one["flags"]}


@pytest.mark.parametrize("changes", [{"EDGE_ENABLED": "false"}, {"REDIS_ENABLED": "false"}])
def test_the_edge_is_switched_off_by_these_settings(
    make_shop: Make, changes: dict[str, str]
) -> None:
    with counting():
        stock(make_shop(**changes))


def test_a_call_that_redis_refuses_is_answered_by_flask_and_charged_once(
    make_shop: Make, redis_cli: Any
) -> None:
    """The script needs INFO, and is refused before it charges."""
    user = "edge-test"
    redis_cli.acl_setuser(user, enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    try:
        shop = stock(make_shop(REDIS_URL=redis_url_as(redis_cli, user), RATE_LIMIT_CALLS="40"))
        used = len(STOCKING)
        redis_cli.acl_setuser(user, enabled=True, commands=["-info"])
        for _ in range(3):
            assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
        redis_cli.acl_setuser(user, enabled=True, commands=["+info"])
        counter = shop.app.extensions["shop.limits"].counter
        await_true(lambda: not counter.in_fallback)
        await_true(
            lambda: shop.get("/rate_limit").get_json()["policies"][0]["remaining"] == 37 - used
        )
    finally:
        redis_cli.acl_deluser(user)


def redis_url_as(redis_cli: Any, user: str) -> str:
    path = redis_cli.connection_pool.connection_kwargs["path"]
    return f"unix://{user}:x@{path}"


def test_the_edge_answers_again_when_redis_is_back(make_shop: Make, own_redis: Redis) -> None:
    shop = stock(make_shop(REDIS_URL=own_redis.url))
    own_redis.stop()
    with counting(passed=1):
        assert shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    own_redis.start()
    before = counted("hit")
    await_true(lambda: shop.get("/products/1").status_code == 200 and counted("hit") > before)
