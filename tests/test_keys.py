"""API keys: permission to write, and making, showing and revoking keys."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from shop.extensions import db
from shop.keys.models import ApiKey

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Make, MakeRelay, Shop
    from werkzeug.test import TestResponse

    from dev.embedded.servers import Postgres

WRITES = [
    ("POST", "/products"), ("PUT", "/products/1"), ("PATCH", "/products/1"),
    ("DELETE", "/products/1"), ("POST", "/categories"), ("PUT", "/categories/1"),
    ("PATCH", "/categories/1"), ("DELETE", "/categories/1"),
]  # fmt: skip


def write(shop: Shop, **headers: str) -> TestResponse:
    return shop.client.post("/categories", json={"name": "Garden"}, headers=headers)


def made_key(shop: Shop) -> str:
    result = shop.command("keys", "create", "--name", "tests", "--scope", "catalog:write")
    assert result.exit_code == 0, result.output
    key: str = result.stdout.strip()
    return key


def test_reads_are_public(a_shop: Shop) -> None:
    a_shop.create_product()
    a_shop.key = None
    for path in ("/products", "/products/1", "/categories", "/categories/1"):
        assert a_shop.get(path).status_code == 200


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_needs_a_key(a_shop: Shop, method: str, path: str) -> None:
    a_shop.create_product()
    a_shop.key = None
    response = a_shop.request(method, path, json={})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer realm=shop"
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer shop_0123456789ab_" + "x" * 43, "Bearer ü", "bearer wrong"],
)
def test_an_invalid_key_is_401(a_shop: Shop, header: str) -> None:
    response = write(a_shop, Authorization=header)
    assert response.status_code == 401
    assert "invalid_token" in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("key", ["abcdefgh=ijklmnopq", "schlüssel-mit-ümlaut", "0123456789abcde=="])
def test_any_administrators_key_can_be_sent(make_shop: Make, key: str) -> None:
    shop = make_shop(ADMIN_API_KEY=key)
    sent = key.encode().decode("latin-1")  # as the bytes of a header arrive
    assert write(shop, Authorization=f"Bearer {sent}").status_code == 201


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "wrong", "", "Bearer a=b"])
def test_invalid_bearer_key_is_401(a_shop: Shop, header: str) -> None:
    assert write(a_shop, Authorization=header).status_code == 401


def test_a_write_says_how_to_make_a_key_when_there_is_none(make_shop: Make) -> None:
    shop = make_shop(ADMIN_API_KEY="")
    response = write(shop)
    assert response.status_code == 403
    assert "flask keys create" in response.get_json()["detail"]
    made_key(shop)
    assert write(shop).status_code == 401


def test_a_made_key_writes_until_it_is_revoked(a_shop: Shop) -> None:
    a_shop.key = made_key(a_shop)
    assert a_shop.post("/categories", name="Garden").status_code == 201
    prefix = a_shop.key.split("_")[1]
    assert a_shop.command("keys", "revoke", prefix).exit_code == 0
    assert a_shop.post("/categories", name="Kitchen").status_code == 401


def test_without_the_database_a_read_with_a_key_is_answered_from_the_cache(
    make_shop: Make, relay: MakeRelay, postgres: Postgres
) -> None:
    way = relay(postgres.socket)
    shop = make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
    category = shop.create_category()
    headers = {"Authorization": f"Bearer {made_key(shop)}"}
    shop.get("/categories/1")
    way.close()
    assert shop.get("/categories/1", headers=headers).get_json() == category
    assert shop.get("/products/1", headers=headers).status_code == 503  # who may see it?
    refused = shop.client.delete("/products/1", headers=headers)
    assert refused.status_code == 503
    policies = refused.headers["RateLimit-Policy"]  # it was charged, to the address
    assert "write" in policies
    assert "unknown_key" not in policies


def test_a_key_without_the_scope_is_403(a_shop: Shop) -> None:
    a_shop.key = made_key(a_shop)
    with a_shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(update(ApiKey).values(scopes=[]))
    response = a_shop.post("/categories", name="Garden")
    assert response.status_code == 403
    assert "catalog:write" in response.get_json()["detail"]


def test_only_the_hash_of_a_key_is_kept(a_shop: Shop) -> None:
    key = made_key(a_shop)
    assert re.fullmatch(r"shop_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)
    _, prefix, secret = key.split("_", 2)
    with a_shop.app.app_context():
        row = db.session.scalars(select(ApiKey)).one()
        assert row.prefix == prefix
        assert re.fullmatch("[0-9a-f]{64}", row.secret_hash)
        assert secret not in repr(vars(row))
    listed = a_shop.command("keys", "list").output
    assert prefix in listed
    assert "active" in listed
    assert secret not in listed


def test_a_key_can_be_for_a_larger_quota_alone(a_shop: Shop) -> None:
    made = a_shop.command("keys", "create", "--name", "partner shop", "--tier", "partner")
    assert made.exit_code == 0
    a_shop.key = made.stdout.strip()
    assert a_shop.post("/categories", name="Garden").status_code == 403
    headers = {"Authorization": f"Bearer {a_shop.key}"}
    assert a_shop.get("/rate_limit", headers=headers).get_json()["tier"] == "partner"
    listed = a_shop.command("keys", "list").output
    assert re.search(r"^[0-9a-f]{12} +active +partner +- .* partner shop$", listed, re.MULTILINE)


def test_commands_refuse_what_is_wrong(a_shop: Shop) -> None:
    for arguments in (
        ("keys", "create", "--scope", "catalog:write"),
        ("keys", "create", "--name", "tests", "--tier", "gold"),
        ("keys", "create", "--name", "tests", "--scope", "everything"),
        ("keys", "create", "--name", " ", "--scope", "catalog:write"),
        ("keys", "create", "--name", "x" * 101, "--scope", "catalog:write"),
    ):
        assert a_shop.command(*arguments).exit_code == 2
    result = a_shop.command("keys", "revoke", "000000000000")
    assert result.exit_code == 1
    assert result.output == "Error: no key has the prefix 000000000000\n"


def test_the_administrators_key_can_be_in_a_file(make_shop: Make, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-key-from-a-file\n")
    shop = make_shop(ADMIN_API_KEY="", ADMIN_API_KEY_FILE=str(tmp_path / "key"))
    shop.key = "a-key-from-a-file"
    assert shop.post("/categories", name="Garden").status_code == 201
