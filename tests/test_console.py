"""The state of the whole service for operators, and what they may do."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jsonschema
import psycopg2
import pytest
from conftest import ADMIN_KEY, await_true

from shop.console import fleet, worker_tasks
from shop.console.cached_value import CachedValue
from shop.console.history import History
from shop.console.host_report import HostReport
from shop.console.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Make, Service, Shop
    from werkzeug.test import TestResponse

    from dev.embedded.servers import Postgres, Redis

    Serve = Callable[..., Service]

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
ACTIONS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/ops/cache/clear", {"family": "products"}),
    ("POST", "/ops/limits/reset", {"client": "127.0.0.1"}),
    ("PUT", "/ops/limits/mode", {"mode": "shadow", "seconds": 60}),
    ("DELETE", "/ops/limits/mode", None),
]


def status(shop: Shop) -> dict[str, Any]:
    answer = shop.get("/ops/status", headers=ADMIN)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.get_json()
    return document


def key(shop: Shop, *scopes: str) -> dict[str, str]:
    chosen = [part for scope in scopes for part in ("--scope", scope)]
    made = shop.command("keys", "create", "--name", "tests", "--tier", "unlimited", *chosen)
    assert made.exit_code == 0, made.output
    return {"Authorization": f"Bearer {made.stdout.strip()}"}


def act(shop: Shop, number: int, **headers: str) -> TestResponse:
    method, path, body = ACTIONS[number]
    return shop.client.open(path, method=method, json=body, headers=headers or ADMIN)


def family(document: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [one for one in document["cache"]["families"] if one["family"] == name]
    assert isinstance(found, dict)
    return found


def test_the_state_needs_a_key_with_the_scope(a_shop: Shop) -> None:
    assert a_shop.client.get("/ops/status").status_code in {401, 403}
    for scope, expected in (("catalog:write", 403), ("ops:write", 403), ("ops:read", 200)):
        answer = a_shop.client.get("/ops/status", headers=key(a_shop, scope))
        assert answer.status_code == expected, scope
    assert answer.headers["Cache-Control"] == "no-store"
    session = a_shop.open_session()
    assert a_shop.client.get("/ops/status", headers=session).status_code == 403


@pytest.mark.parametrize("number", range(len(ACTIONS)))
def test_each_action_needs_a_key_with_the_scope(a_shop: Shop, number: int) -> None:
    assert act(a_shop, number, **key(a_shop, "ops:read")).status_code == 403
    assert act(a_shop, number, **key(a_shop, "ops:write")).status_code in {200, 204}


def test_the_page_and_its_calls_can_be_switched_off(make_shop: Make) -> None:
    shop = make_shop(OPS_PAGE="false")
    assert shop.get("/ops/status", headers=ADMIN).status_code == 404
    assert [act(shop, number).status_code for number in range(4)] == [404] * 4
    assert "/ops/status" not in shop.get("/openapi.json").get_json()["paths"]


def test_the_state_has_the_form_of_the_document(a_shop: Shop) -> None:
    a_shop.place_order(a_shop.create_product()["id"])
    a_shop.get("/products/1")
    document = a_shop.get("/openapi.json").get_json()
    schema = {"$ref": "#/components/schemas/ServiceStatus", "components": document["components"]}
    jsonschema.validate(status(a_shop), schema)


def test_the_cache_is_told_of_by_family(a_shop: Shop) -> None:
    a_shop.create_product()
    before = family(status(a_shop), "products")
    for _ in range(4):
        a_shop.get("/products/1")
    after = family(status(a_shop), "products")
    assert (after["reads"] - before["reads"], after["hits"] - before["hits"]) == (4, 3)
    assert family(status(a_shop), "stats")["entries"] == 0


def test_entries_and_their_ages_are_those_of_redis(a_shop: Shop, redis_cli: Any) -> None:
    for name in ("Rake", "Broom", "Spade"):
        a_shop.create_product(name=name)
    for number in (1, 2, 3, 404):
        a_shop.get(f"/products/{number}")
    for number, left in ((1, 200), (2, 250), (3, 290)):
        redis_cli.expire(f"products:id:{number}", left)
    found = family(status(a_shop), "products")
    assert found["entries"] == 4  # one of which says that there is no such product
    assert 100 <= found["oldest_seconds"] <= 160
    assert 50 <= found["median_seconds"] <= 110


def test_of_many_keys_the_numbers_are_estimates(a_shop: Shop, redis_cli: Any) -> None:
    total = 30_000
    redis_cli.mset({f"products:id:{number}": "" for number in range(total)})
    document = status(a_shop)
    assert document["cache"]["is_estimate"]
    assert 0.9 * total < family(document, "products")["entries"] < 1.1 * total
    [server] = document["cache"]["servers"]
    assert server["keys"] >= total


def test_clients_are_told_of_and_reset(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3")
    statuses = [shop.client.get("/products").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    limits = status(shop)["limits"]
    assert limits["clients"] == 1
    nearest = limits["near"][0]
    assert (nearest["client"], nearest["policy"]) == ("127.0.0.1", "default")
    assert (nearest["used"], nearest["quota"]) == (3, 3)
    assert limits["refused"][0]["refused"] == 2
    assert act(shop, 1).get_json() == {"client": "127.0.0.1", "had_used": True}
    assert act(shop, 1).get_json() == {"client": "127.0.0.1", "had_used": False}
    assert shop.client.get("/products").status_code == 200


def test_an_unknown_client_or_family_is_refused(a_shop: Shop) -> None:
    for path, body in (("limits/reset", {"client": "nobody"}), ("cache/clear", {"family": "x"})):
        answer = a_shop.client.post(f"/ops/{path}", json=body, headers=ADMIN)
        assert answer.status_code == 422
        [error] = answer.get_json()["errors"]
        assert error["field"] == next(iter(body))


@pytest.mark.parametrize("family_name", ["products", "all"])
def test_a_cleared_family_is_read_anew(a_shop: Shop, family_name: str) -> None:
    a_shop.create_product()
    a_shop.get("/categories/1")
    a_shop.get("/products/1")
    assert a_shop.get("/products/1").headers["X-Cache"] == "HIT"
    body = {"family": family_name}
    answer = a_shop.client.post("/ops/cache/clear", json=body, headers=ADMIN)
    assert answer.get_json() == body
    assert a_shop.get("/products/1").headers["X-Cache"] == "MISS"
    expected = "MISS" if family_name == "all" else "HIT"
    assert a_shop.get("/categories/1").headers["X-Cache"] == expected


def test_the_mode_of_the_limits_is_set_for_a_time(make_shop: Make, redis_cli: Any) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="2")
    shop.create_product()

    def answers() -> list[int]:
        return [shop.client.get("/products/1").status_code for _ in range(3)]

    assert answers() == [200, 200, 429]
    assert act(shop, 2).get_json()["mode"] == "shadow"
    assert answers() == [200] * 3
    limits = status(shop)["limits"]
    assert (limits["mode"], limits["configured_mode"]) == ("shadow", "enforce")
    assert limits["mode_until"]
    assert "nothing is refused: an operator" in shop.command("limits", "list").output
    assert act(shop, 3).status_code == 204
    assert answers() == [429] * 3
    act(shop, 2)
    redis_cli.flushall()  # as its end does
    assert status(shop)["limits"]["mode"] == "enforce"
    assert answers() == [200, 200, 429]


def test_a_mode_that_was_set_ends_without_redis(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.create_product()
    body = {"mode": "shadow", "seconds": 1}
    assert shop.client.put("/ops/limits/mode", json=body, headers=ADMIN).status_code == 200
    own_redis.stop()
    await_true(lambda: status(shop)["limits"]["mode"] == "enforce")


def test_without_redis_the_other_parts_are_there(make_shop: Make, own_redis: Redis) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.place_order(shop.create_product()["id"])
    own_redis.stop()
    shop.patch("/products/1", name="Broom")
    document = status(shop)
    assert document["scope"] == "host"
    assert document["health"]["redis"] == "unreachable"
    assert document["cache"]["servers"] is None
    assert family(document, "products")["entries"] is None
    assert document["limits"]["near"] is None
    assert document["orders"]["placed"] == 1
    assert len(document["selling"]) == 1
    assert document["cache"]["outbox"]["names"] > 0
    for number in range(len(ACTIONS)):
        answer = act(shop, number)
        assert (answer.status_code, answer.get_json()["type"]) == (
            503,
            "/problems/redis-unavailable",
        )


def test_without_the_database_the_other_parts_are_there(
    make_shop: Make, settings: dict[str, str]
) -> None:
    elsewhere = settings["DATABASE_URL"].replace("/shop?", "/nowhere?")
    document = status(make_shop(DATABASE_URL=elsewhere))
    assert document["health"]["status"] == "unavailable"
    assert document["orders"] is None
    assert document["selling"] is None
    assert document["cache"]["outbox"] is None
    assert document["traffic"]


def test_the_command_prints_the_state(a_shop: Shop) -> None:
    a_shop.create_product()
    with a_shop.app.app_context():
        worker_tasks.count_success("purge", seconds=0.1)
    shown = a_shop.command("ops", "status").output
    assert re.search(r"^purge +1 +0 +2\d{3}-", shown, re.MULTILINE)
    assert shown.startswith("ok: database ok, Redis ok\n")
    assert "of this command alone" in shown
    assert "products" in shown
    assert '"hit_rate"' in a_shop.command("ops", "status", "--json").output


def test_any_host_answers_for_all(
    serve: Serve, a_shop: Shop, postgres: Postgres, redis_cli: Any
) -> None:
    """Counts and failed answers of all hosts, also after the end of the worker that reports."""
    a_shop.create_product()
    here, there = (serve(DATABASE_LOCK_TIMEOUT="1") for _ in range(2))
    for _ in range(20):
        assert there.get("/products/1").ok
    with psycopg2.connect(postgres.url) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
        failed = there.write("PATCH", "/products/1", stock=9)
        assert failed.status_code == 503
    holder.close()

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = here.get("/ops/status", headers=ADMIN).json()
        return found

    def has_told() -> bool:
        hosts = seen()["hosts"]
        return len(hosts) == 2 and sum(one["workers"] for one in hosts) == 4 and errors() != []

    def errors() -> list[str]:
        return [one["request_id"] for one in seen()["errors"]]

    await_true(has_told, there.log)
    document = seen()
    assert document["scope"] == "service"
    assert errors() == [failed.headers["X-Request-ID"]]
    assert document["errors"][0]["host"].endswith(there.url.rpartition(":")[2])
    assert sum(one["requests"] for one in document["minutes"]) >= 21
    assert "of this command alone" not in a_shop.command("ops", "status").output
    assert family(document, "products")["reads"] >= 20

    for worker in there.workers():
        os.kill(worker, signal.SIGKILL)
    redis_cli.flushall()
    assert there.get("/products/1").ok
    await_true(has_told, there.log)  # by another worker, from what the first one has left
    assert errors() == [failed.headers["X-Request-ID"]]
    assert sum(one["requests"] for one in seen()["minutes"]) >= 21


def test_a_locked_table_holds_up_one_part_and_no_other(make_shop: Make, postgres: Postgres) -> None:
    shop = make_shop(DATABASE_LOCK_TIMEOUT="100")
    shop.create_product()
    with psycopg2.connect(postgres.url) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        document = status(shop)
    holder.close()
    assert document["cache"]["outbox"] == {"names": 0, "oldest_seconds": 0}
    assert document["orders"] is document["selling"] is document["tasks"] is None
    assert status(shop)["orders"]["placed"] == 0


def test_those_who_ask_meanwhile_get_the_value_of_before() -> None:
    """A slow look at the database holds one thread of a worker, and not all."""
    cached: CachedValue[int] = CachedValue(seconds=0)
    assert cached.get(lambda: 1) == 1
    begun, end = threading.Event(), threading.Event()

    def compute() -> int:
        begun.set()
        assert end.wait(60)
        return 2

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(cached.get, compute)
        assert begun.wait(60)
        assert cached.get(lambda: 3) == 1
        end.set()
        assert slow.result() == 2
    assert cached.get(lambda: 4) == 4


def test_counts_that_could_not_be_read_are_not_counted_twice() -> None:
    history = History({}, {})
    for total in (5, 0, 7):
        history.add(Counter(requests=total))
    [counts] = history.minutes.values() if len(history.minutes) == 1 else [history.totals]
    assert counts["requests"] == 7


def test_a_scrape_that_is_locked_out_makes_no_report(
    tmp_path: Path, a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the counts of one worker would be taken for those of all."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    reporter = Reporter(a_shop.app, "host:1", tmp_path)
    with a_shop.app.app_context():
        reporter.report()
        made = (tmp_path / "report.json").read_bytes()
        with (tmp_path / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(OSError, match="cannot be read"):
                reporter.report()
    reporter.release()
    assert (tmp_path / "report.json").read_bytes() == made


def test_a_report_that_cannot_be_written_reaches_other_hosts(
    tmp_path: Path, a_shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "report.json").mkdir()  # as without room on the disk
    reporter = Reporter(a_shop.app, "host:1", tmp_path)
    with a_shop.app.app_context():
        reporter.report()
        reporter.report()
    reporter.release()
    assert caplog.text.count("Workers are not told of each other") == 1
    assert [one["host"] for one in status(a_shop)["hosts"]] == ["host:1"]


def test_the_hour_of_a_host_that_is_gone_ends_too(a_shop: Shop) -> None:
    now = int(time.time()) // 60 * 60
    minutes = [(now - 60 * ago, {"requests": 10}) for ago in range(90)]
    gone = HostReport(
        host="gone:1", master=1, version="0.1.0", started_at=0, made_at=0, minutes=minutes
    )
    with a_shop.app.app_context():
        fleet.publish(gone)
    found = status(a_shop)["minutes"]
    assert 600 <= sum(one["requests"] for one in found) < 700
