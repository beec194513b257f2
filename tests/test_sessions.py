"""Sessions: opened by anyone, sent as a token, renewed by use, closed at once."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from shop.extensions import db
from shop.sessions.service import close_session

if TYPE_CHECKING:
    from conftest import Make, Shop


def rows(shop: Shop) -> list[Any]:
    with shop.app.app_context(), db.engine.begin() as connection:
        return list(connection.execute(text("SELECT * FROM sessions ORDER BY id")))


def client_of(row: Any) -> str:
    return f"session:{row.token_hash[:16]}"


def set_end(shop: Shop, redis_cli: Any, left: timedelta) -> None:
    """Let all sessions end in so long."""
    with shop.app.app_context(), db.engine.begin() as connection:
        values = {"end": datetime.now(UTC) + left}
        connection.execute(text("UPDATE sessions SET expires_at = :end"), values)
    redis_cli.flushall()


def test_a_session_is_opened_with_a_token_of_256_bits(a_shop: Shop) -> None:
    before = datetime.now(UTC)
    answer = a_shop.client.post("/sessions")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    opened = answer.get_json()
    assert re.fullmatch("session_[A-Za-z0-9_-]{43}", opened["token"])
    left = datetime.fromisoformat(opened["expires_at"]) - before
    assert timedelta(hours=24) <= left < timedelta(hours=24, minutes=1)
    assert a_shop.client.post("/sessions").get_json()["token"] != opened["token"]


def test_the_token_is_kept_as_a_hash_alone(a_shop: Shop, redis_cli: Any) -> None:
    session = a_shop.open_session()
    a_shop.get("/cart", headers=session)
    token = session["Authorization"].removeprefix("Bearer ")
    [row] = rows(a_shop)
    assert row.token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert token not in str(row)
    entry = redis_cli.get(f"session:{row.token_hash}")
    assert json.loads(entry.partition("\n")[2])["id"] == row.id
    assert 0 < redis_cli.ttl(f"session:{row.token_hash}") <= 300
    secret = token.removeprefix("session_")
    assert not any(secret in key for key in redis_cli.keys("*"))


def test_the_log_has_no_token(a_shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "shop"):
        session = a_shop.open_session()
        a_shop.get("/cart", headers=session)
        a_shop.request("DELETE", "/sessions/current", headers=session)
    secret = session["Authorization"].removeprefix("Bearer session_")
    assert any("/cart 200" in message for message in caplog.messages)
    assert secret not in caplog.text


def test_a_known_session_costs_no_statement(a_shop: Shop) -> None:
    a_shop.create_product()
    session = a_shop.open_session()
    a_shop.get("/products/1", headers=session)
    with a_shop.statements() as sent:
        answer = a_shop.get("/products/1", headers=session)
    assert sent == []
    assert answer.headers["X-Cache"] == "HIT"


def test_x_cache_does_not_report_how_the_session_was_found(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    session = a_shop.open_session()
    a_shop.get("/products/1")
    assert redis_cli.exists("products:id:1")
    assert a_shop.get("/products/1", headers=session).headers["X-Cache"] == "HIT"
    assert "X-Cache" not in a_shop.get("/cart", headers=session).headers


def test_a_closed_session_is_refused_by_every_worker_at_once(make_shop: Make) -> None:
    one, other = make_shop(), make_shop()
    session = one.open_session()
    for shop in (one, other):
        assert shop.get("/cart", headers=session).status_code == 200
    assert one.request("DELETE", "/sessions/current", headers=session).status_code == 204
    for shop in (one, other):
        answer = shop.get("/cart", headers=session)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert rows(one) == []


@pytest.mark.parametrize(
    "authorization", ["", "Bearer session_x", f"Bearer session_{'a' * 43}", "Basic x"]
)
def test_without_a_session_there_is_no_cart(a_shop: Shop, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for method, path in (
        ("GET", "/cart"),
        ("PUT", "/cart/items/1"),
        ("DELETE", "/cart/items/1"),
        ("POST", "/cart/checkout"),
        ("DELETE", "/sessions/current"),
    ):
        answer = a_shop.client.open(path, method=method, headers=headers)
        assert answer.status_code == 401, path
        assert "POST /sessions" in answer.get_json()["detail"]


def test_a_session_ends_a_day_after_its_last_use(a_shop: Shop, redis_cli: Any) -> None:
    session = a_shop.open_session()
    set_end(a_shop, redis_cli, timedelta(seconds=5))
    assert a_shop.get("/cart", headers=session).status_code == 200
    left = rows(a_shop)[0].expires_at - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    set_end(a_shop, redis_cli, timedelta(seconds=-1))
    assert a_shop.get("/cart", headers=session).status_code == 401


def test_not_every_use_is_written(a_shop: Shop, redis_cli: Any) -> None:
    session = a_shop.open_session()
    set_end(a_shop, redis_cli, timedelta(hours=23, minutes=1))
    end = rows(a_shop)[0].expires_at
    for _ in range(2):
        a_shop.get("/cart", headers=session)
    assert rows(a_shop)[0].expires_at == end


def test_a_session_that_ends_while_it_is_cached_is_refused(a_shop: Shop, redis_cli: Any) -> None:
    """The time to live of its entry is no longer life for the session."""
    session = a_shop.open_session()
    a_shop.get("/cart", headers=session)
    key = f"session:{rows(a_shop)[0].token_hash}"
    stamp, _, document = redis_cli.get(key).partition("\n")
    ended = json.dumps(json.loads(document) | {"expires_at": datetime.now(UTC).timestamp()})
    redis_cli.set(key, f"{stamp}\n{ended}", keepttl=True)
    assert a_shop.get("/cart", headers=session).status_code == 401


def test_an_ended_session_browses_on_as_its_address(a_shop: Shop, redis_cli: Any) -> None:
    """The page of a shop that was left open over night is no attack."""
    a_shop.create_product()
    session = a_shop.open_session()
    set_end(a_shop, redis_cli, timedelta(seconds=-1))
    answer = a_shop.get("/products/1", headers=session)
    assert answer.status_code == 200
    assert "unknown_key" not in answer.headers["RateLimit-Policy"]
    assert a_shop.get("/rate_limit", headers=session).get_json()["client"] == "127.0.0.1"


def test_limits_count_by_session(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5")
    sessions = [shop.open_session() for _ in range(2)]
    for session in sessions:
        statuses = [shop.get("/products", headers=session).status_code for _ in range(6)]
        assert statuses == [200] * 5 + [429]
    told = shop.get("/rate_limit", headers=sessions[1]).get_json()
    assert (told["client"], told["policies"][0]["remaining"]) == (client_of(rows(shop)[1]), 0)
    assert shop.get("/products").status_code == 200


def test_the_sessions_of_an_address_are_limited(make_shop: Make) -> None:
    """Each session would bring another quota."""
    shop = make_shop(SESSION_LIMIT_CALLS="2")
    shop.key = None
    statuses = [shop.post("/sessions").status_code for _ in range(3)]
    assert statuses == [201, 201, 429]


def test_a_session_opens_no_others_at_its_own_expense(make_shop: Make) -> None:
    """Each new session would bring a quota for more of them."""
    shop = make_shop(SESSION_LIMIT_CALLS="2")
    shop.key = None
    session: dict[str, str] = {}
    statuses = []
    for _ in range(4):
        answer = shop.request("POST", "/sessions", headers=session)
        statuses.append(answer.status_code)
        if answer.status_code == 201:
            session = {"Authorization": f"Bearer {answer.get_json()['token']}"}
    assert statuses == [201, 201, 429, 429]


def test_a_session_is_closed_once(a_shop: Shop) -> None:
    session = a_shop.open_session()
    with a_shop.app.app_context():
        for _ in range(2):
            close_session(1)
    assert a_shop.get("/cart", headers=session).status_code == 401


def test_a_session_that_cannot_be_renewed_is_valid(a_shop: Shop, redis_cli: Any) -> None:
    session = a_shop.open_session()
    set_end(a_shop, redis_cli, timedelta(hours=1))
    end = rows(a_shop)[0].expires_at
    with a_shop.app.app_context(), db.engine.begin() as other:
        other.execute(text("SELECT FROM sessions FOR UPDATE"))  # nobody waits for it
        assert a_shop.get("/products", headers=session).status_code == 200
    with a_shop.app.app_context(), db.engine.begin() as other:
        other.execute(text("ALTER DATABASE shop SET default_transaction_read_only = on"))
    try:
        with a_shop.app.app_context():
            db.engine.dispose()
        assert a_shop.get("/cart", headers=session).status_code == 200
    finally:
        with a_shop.app.app_context(), db.engine.connect() as other:
            other.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
            other.commit()
            other.execute(text("ALTER DATABASE shop RESET default_transaction_read_only"))
            other.commit()
            db.engine.dispose()
    assert rows(a_shop)[0].expires_at == end
    assert a_shop.get("/cart", headers=session).status_code == 200
    assert rows(a_shop)[0].expires_at > end


def test_commands_show_and_reset_a_session(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="5")
    session = shop.open_session()
    shop.get("/products", headers=session)
    client = client_of(rows(shop)[0])
    shown = shop.command("limits", "show", client)
    assert f"rate_limit:{client}" in shown.output
    assert "default       1 of 5" in shown.output
    assert shop.command("limits", "reset", client).output == f"reset rate_limit:{client}\n"


def test_sessions_work_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    session = shop.open_session()
    assert shop.get("/cart", headers=session).status_code == 200
    assert shop.request("DELETE", "/sessions/current", headers=session).status_code == 204
    assert shop.get("/cart", headers=session).status_code == 401


def test_ended_sessions_are_purged_with_their_carts(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    for _ in range(3):
        session = a_shop.open_session()
        a_shop.request("PUT", "/cart/items/1", json={"quantity": 1}, headers=session)
    set_end(a_shop, redis_cli, timedelta(seconds=-1))
    kept = a_shop.open_session()
    assert a_shop.command("purge").output == "3 sessions, 0 idempotency keys\n"
    assert [row.id for row in rows(a_shop)] == [4]
    assert a_shop.get("/cart", headers=kept).status_code == 200
    with a_shop.app.app_context(), db.engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM cart_items")) == 0
