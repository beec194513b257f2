"""The routes for machines: liveness, readiness, health and metrics."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from conftest import ADMIN_KEY, await_true
from sqlalchemy import event

from shop.console import health
from shop.extensions import db
from shop.problems import MetricsTokenRequiredError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Make, Service, Shop

PROBES = ("/livez", "/readyz", "/health_check")
TOKEN = "a-token-for-metrics"
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_livez_answers_while_the_servers_are_away(make_shop: Make) -> None:
    """No state of the servers matters, and no key is looked up."""
    shop = make_shop(DATABASE_URL=NOWHERE, REDIS_URL="redis://127.0.0.1:1/0")
    for headers in ({}, bearer("shop_ef5354032fac_" + "x" * 43), bearer("session_" + "x" * 43)):
        with shop.statements() as sent:
            response = shop.get("/livez", headers=headers)
        assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
        assert response.headers["Cache-Control"] == "no-store"
        assert not sent


def test_a_service_is_ready_while_the_database_answers(make_shop: Make, a_shop: Shop) -> None:
    ready = a_shop.get("/readyz")
    assert (ready.status_code, ready.get_json()) == (200, {"status": "ok"})
    assert make_shop(REDIS_URL="redis://127.0.0.1:1/0").get("/readyz").status_code == 200
    away = make_shop(DATABASE_URL=NOWHERE).get("/readyz")
    assert (away.status_code, away.get_json()) == (503, {"status": "unavailable"})


def test_the_health_check_reports_both_servers(a_shop: Shop, make_shop: Make) -> None:
    response = a_shop.get("/health_check")
    assert response.status_code == 200
    assert response.get_json() == {
        "status": "ok", "database": "ok", "redis": "ok", "version": "0.1.0",
    }  # fmt: skip
    without = make_shop(REDIS_URL="redis://127.0.0.1:1/0").get("/health_check")
    assert without.status_code == 200
    assert without.get_json()["status"] == "degraded"
    assert without.get_json()["redis"] == "unreachable"
    disabled = make_shop(REDIS_ENABLED="false").get("/health_check").get_json()
    assert (disabled["status"], disabled["redis"]) == ("ok", "disabled")


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_answers_get_and_head_alone(a_shop: Shop, path: str) -> None:
    head = a_shop.request("HEAD", path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.content_length == a_shop.get(path).content_length
    assert a_shop.request("POST", path).status_code == 405


def test_health_checks_of_one_moment_share_a_result(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RESULT_SECONDS", 60)
    with a_shop.statements() as sent:
        for _ in range(5):
            assert a_shop.get("/health_check").get_json()["status"] == "ok"
            assert a_shop.get("/readyz").status_code == 200
    assert sent == ["SELECT 1"]


def test_a_health_check_after_its_result_is_old_looks_again(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RESULT_SECONDS", 0)
    with a_shop.statements() as sent:
        for _ in range(3):
            a_shop.get("/health_check")
    assert sent == ["SELECT 1"] * 3


def test_concurrent_health_checks_share_one_look(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 60)
    begun, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        begun.set()
        go_on.wait(60)

    with a_shop.app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", hold)
    with a_shop.statements() as sent:
        found: list[int] = []
        ask = [
            threading.Thread(
                target=lambda: found.append(a_shop.app.test_client().get("/readyz").status_code)
            )
            for _ in range(8)
        ]
        for one in ask:
            one.start()
        assert begun.wait(60)
        go_on.set()
        for one in ask:
            one.join()
    assert found == [200] * 8
    assert len(sent) <= 2  # a thread that was late may have found the first look too old


def test_a_hanging_database_is_reported_in_time_and_holds_one_thread(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.1)
    go_on = threading.Event()

    def hold(*_: object) -> None:
        go_on.wait(60)

    with a_shop.app.app_context():
        engine = db.engine
    a_shop.get("/nothing")  # in a thread for requests, which stays
    a_shop.get("/livez")  # when the loop has its connection to Redis, made in a thread that stays
    event.listen(engine, "before_cursor_execute", hold)
    threads = threading.active_count()
    for _ in range(20):
        answer = a_shop.get("/health_check")
        assert answer.status_code == 503
        assert answer.get_json()["database"] == "unreachable"
        assert answer.get_json()["redis"] == "ok"
    assert a_shop.get("/livez").status_code == 200
    assert a_shop.get("/metrics").status_code == 200  # without what only the database knows
    assert threading.active_count() == threads + 2  # the check's, and that of the metrics
    monkeypatch.setattr(health, "RESULT_SECONDS", 0)
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 60)
    go_on.set()
    await_true(lambda: a_shop.get("/readyz").status_code == 200)


def test_probes_are_neither_counted_nor_logged(serve: Callable[..., Service]) -> None:
    service = serve(METRICS_OPEN="true")
    for path in PROBES:
        assert service.get(path).ok
    assert service.get("/products").ok
    text = service.get("/metrics").text
    assert 'shop_http_requests_total{method="GET",route="/products",status="200"} 1' in text
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    routes = {line.get("route") for line in lines}
    assert "/products" in routes
    for path in PROBES:
        assert path not in text
        assert path not in routes


def test_probes_are_logged_for_debugging(serve: Callable[..., Service]) -> None:
    service = serve(LOG_LEVEL="DEBUG")
    assert service.get("/livez").ok
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert {line["level"] for line in lines if line.get("route") == "/livez"} == {"DEBUG"}


def test_without_a_token_metrics_are_an_unknown_address(make_shop: Make) -> None:
    shop = make_shop(METRICS_OPEN="")
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answers = [shop.request(method, path) for path in ("/metrics", "/nothing")]
        assert [answer.status_code for answer in answers] == [404, 404]
        known, unknown = ({*answer.headers.keys()} for answer in answers)
        assert known == unknown
    assert shop.get("/metrics").get_json()["type"] == shop.get("/nothing").get_json()["type"]


@pytest.mark.parametrize("opened", ["", "true"])
def test_metrics_need_their_token(make_shop: Make, opened: str) -> None:
    shop = make_shop(METRICS_TOKEN=TOKEN, METRICS_OPEN=opened)
    read = shop.get("/metrics", headers=bearer(TOKEN))
    assert read.status_code == 200
    assert read.content_type.startswith("text/plain; version=")
    wrong: tuple[dict[str, str], ...] = (
        {},
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        bearer("ä" * 20),
        bearer(ADMIN_KEY),
    )
    for headers in (*wrong, bearer(""), {"Authorization": f"Basic {TOKEN}"}):
        refused = shop.get("/metrics", headers=headers)
        assert refused.status_code == 401
        assert refused.content_type == "application/problem+json"
        assert refused.get_json()["type"] == MetricsTokenRequiredError.type()
        assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
        assert "shop_http" not in refused.text


def test_a_token_of_any_characters_is_sent_in_utf_8(make_shop: Make) -> None:
    """curl and Prometheus send it so; the server passes it on as Latin-1."""
    token = "a-tökèn-for-metrics"
    shop = make_shop(METRICS_TOKEN=token, METRICS_OPEN="")
    sent = bearer(token.encode().decode("latin-1"))
    assert shop.get("/metrics", headers=sent).status_code == 200


def test_the_token_of_metrics_can_be_in_a_file(make_shop: Make, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    shop = make_shop(METRICS_TOKEN_FILE=str(tmp_path / "token"), METRICS_OPEN="")
    assert shop.get("/metrics", headers=bearer(TOKEN)).status_code == 200
    assert shop.get("/metrics").status_code == 401


def test_the_token_of_metrics_opens_nothing_else(make_shop: Make) -> None:
    shop = make_shop(METRICS_TOKEN=TOKEN)
    assert shop.get("/orders", headers=bearer(TOKEN)).status_code == 401
