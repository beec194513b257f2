"""The commands for operators: output and exit status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from ports import free_port

from shop.extensions import cache

if TYPE_CHECKING:
    from conftest import Make, Shop

GROUPS = {
    ("cache",): ["clear", "replay", "show", "stats", "warm"],
    ("limits",): ["list", "reset", "show", "top"],
    ("keys",): ["create", "list", "revoke"],
    ("leaderboard",): ["rebuild"],
    ("orders",): ["expire"],
    ("db-identity",): ["renew", "show"],
}


def run(shop: Shop, *arguments: str) -> str:
    result = shop.command(*arguments)
    assert result.exit_code == 0, result.output
    output: str = result.output
    return output


def catalogue(shop: Shop) -> list[dict[str, Any]]:
    """Read all products, but for what depends on the moment."""
    items: list[dict[str, Any]] = []
    while page := shop.get(f"/products?limit=100&skip={len(items)}").get_json()["items"]:
        items += page
    return [{k: v for k, v in item.items() if not k.endswith("_at")} for item in items]


@pytest.mark.parametrize("group", GROUPS)
def test_every_command_has_a_help_text(a_shop: Shop, group: tuple[str]) -> None:
    listed = run(a_shop, *group, "--help")
    for command in GROUPS[group]:
        assert re.search(rf"^  {command}  +[A-Z].+", listed, re.MULTILINE)
        assert "Usage: " in run(a_shop, *group, command, "--help")
    assert "--products" in run(a_shop, "seed", "--help")
    assert "Delete sessions that have ended" in run(a_shop, "purge", "--help")
    assert "until SIGTERM or Ctrl-C" in run(a_shop, "worker", "--help")


def test_an_identity_stays_until_it_is_renewed(a_shop: Shop) -> None:
    first = run(a_shop, "db-identity", "show").strip()
    assert re.fullmatch("[0-9a-f]{16}", first)
    renewed = a_shop.command("db-identity", "renew").stdout.strip()
    assert renewed != first
    assert run(a_shop, "db-identity", "show").strip() == renewed


def test_stats_show_entries_and_the_hit_rate(make_shop: Make) -> None:
    shop = make_shop(PORT=str(free_port()))  # where nothing answers
    shop.create_product()
    shop.get("/products")
    shop.get("/products")
    output = run(shop, "cache", "stats")
    assert re.search(r"^products:id:\* +1 entries$", output, re.MULTILINE)
    assert re.search(r"^products:list:skip:\*:limit:\* +1 entries$", output, re.MULTILINE)
    assert re.search(r"^categories:id:\* +0 entries$", output, re.MULTILINE)
    assert re.search(r"^names in the outbox +0$", output, re.MULTILINE)
    assert re.search(r"^hit rate of the service +[0-9.]+% ", output, re.MULTILINE)
    rate = r"^hit rate of Redis +[0-9.]+% \([0-9]+ hits, [0-9]+ misses\)$"
    assert re.search(rate, output, re.MULTILINE)


def test_show_prints_an_entry_and_its_time(a_shop: Shop) -> None:
    a_shop.create_product(name="Rake")
    missing = a_shop.command("cache", "show", "products:id:1")
    assert (missing.exit_code, missing.output) == (1, "Error: no entry products:id:1\n")
    body = a_shop.get("/products/1").text
    result = a_shop.command("cache", "show", "products:id:1")
    assert result.stdout.splitlines()[1] == body
    assert re.fullmatch(r"expires in [0-9]+ s\n", result.stderr)


@pytest.mark.parametrize(
    ("what", "left"), [("products", {"categories"}), ("categories", {"products"}), ("all", set())]
)
def test_clear_forgets_the_given_entries(
    a_shop: Shop, redis_cli: Any, what: str, left: set[str]
) -> None:
    a_shop.create_product()
    a_shop.get("/products")
    a_shop.get("/categories")
    output = run(a_shop, "cache", "clear", what)
    assert output == f"cleared {what}: {4 if what == 'all' else 2} entries\n"
    entries = {*redis_cli.keys("*:id:[0-9]*"), *redis_cli.keys("*:list:skip:*")}
    assert {entry.split(":")[0] for entry in entries} == left
    with a_shop.statements() as sent:
        a_shop.get("/products")
    assert bool(sent) == ("products" not in left)


def test_clear_leaves_the_notes_of_writers(a_shop: Shop, redis_cli: Any) -> None:
    """A dead writer may have committed, and a repeat of its request acknowledges that."""
    a_shop.create_product()
    a_shop.get("/products")
    names = ["products:id:1", "products:id:generation"]
    with a_shop.app.app_context():
        cache.backend.protocol.suspend(names, "a")
    run(a_shop, "cache", "clear", "all")
    assert all(value.startswith("writers a=") for value in redis_cli.mget(names))


def test_clear_refuses_an_unknown_name(a_shop: Shop) -> None:
    assert a_shop.command("cache", "clear", "everything").exit_code == 2


def test_reads_after_warm_send_no_sql(a_shop: Shop) -> None:
    run(a_shop, "seed", "--products", "60")
    run(a_shop, "cache", "warm", "--pages", "3")
    with a_shop.statements() as sent:
        for path in ("/products", "/products?skip=20&limit=10", "/products/57", "/categories/3"):
            assert a_shop.get(path).headers["X-Cache"] == "HIT"
    assert not sent
    assert a_shop.get("/products?skip=30&limit=10").headers["X-Cache"] == "MISS"


def test_seed_makes_the_same_catalogue_for_the_same_numbers(a_shop: Shop) -> None:
    assert "20 categories, 120 products" in run(a_shop, "seed", "--products", "120", "--seed", "7")
    first = catalogue(a_shop)
    assert len(first) == 120
    run(a_shop, "seed", "--products", "120", "--seed", "7", "--replace", "--yes")
    assert catalogue(a_shop) == first
    run(a_shop, "seed", "--products", "120", "--seed", "8", "--replace", "--yes")
    assert catalogue(a_shop) != first


def test_a_seeded_catalogue_resembles_that_of_a_shop(a_shop: Shop) -> None:
    run(a_shop, "seed", "--products", "2000")
    items = catalogue(a_shop)
    out_of_stock = sum(item["stock"] == 0 for item in items) / len(items)
    assert 0.03 < out_of_stock < 0.07
    sizes = Counter(item["category_id"] for item in items)
    assert len(sizes) == 20
    assert max(sizes.values()) > 5 * min(sizes.values())
    assert len({item["sku"] for item in items}) == 2000
    assert all(re.fullmatch(r"[1-9][0-9]*\.[0-9]{2}", item["price"]) for item in items)


def test_seed_leaves_a_catalogue_alone(a_shop: Shop) -> None:
    product = a_shop.create_product()
    refused = a_shop.command("seed", "--products", "5")
    assert refused.exit_code == 1
    assert "--replace" in refused.output
    assert a_shop.get("/products").get_json()["items"] == [product]
    assert a_shop.command("seed", "--products", "0").exit_code == 2


def test_seed_is_seen_by_the_next_read(a_shop: Shop) -> None:
    assert a_shop.get("/products").get_json()["items"] == []
    run(a_shop, "seed", "--products", "3")
    assert len(a_shop.get("/products").get_json()["items"]) == 3


def test_limits_are_listed_with_every_route(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3", WRITE_LIMIT_CALLS="2", RATE_LIMIT_PERIOD="50")
    lines = [" ".join(line.split()) for line in run(shop, "limits", "list").splitlines()]
    for line in (
        "POLICY standard partner",
        "default 3 1000",
        "write 2 300",
        "session 100000 -",
        "unknown_key 100000 -",
        "in 50 s; the tier unlimited has no limit",
        "GET /products default (costs 1 for each 50 rows, 1 more with q, 1 more with facets)",
        "POST /products default, write",
        "GET /orders default (costs 1 for each 20 rows with a session)",
        "GET /rate_limit default (free), session (free), write (free)",
        "GET /health_check -",
        "GET /livez -",
        "GET /readyz -",
        "GET /metrics -",
    ):
        assert line in lines
    routes = [line for line in lines if re.match("[A-Z,]+ /", line)]
    assert len(routes) == len(list(shop.app.url_map.iter_rules()))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"RATE_LIMIT_ENABLED": "false"}, "switched off: RATE_LIMIT_ENABLED=false"),
        ({"RATE_LIMIT_MODE": "shadow"}, "nothing is refused: RATE_LIMIT_MODE=shadow"),
    ],
)
def test_limits_that_refuse_nothing_are_listed_as_such(
    make_shop: Make, change: dict[str, str], line: str
) -> None:
    assert run(make_shop(**change), "limits", "list").splitlines()[0] == line


def test_the_usage_of_a_client_is_shown_and_reset(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="3", WRITE_LIMIT_CALLS="2", RATE_LIMIT_PERIOD="50")
    assert run(shop, "limits", "show", "127.0.0.1") == "rate_limit:127.0.0.1\nnothing is used\n"
    assert [shop.get("/products").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert re.fullmatch(
        r"rate_limit:127\.0\.0\.1\n"
        r"default       3 of 3 in 50 s, more free in (50|49) s; 1 refused\n"
        r"address       3 of 30 in 50 s, more free in (50|49) s; 0 refused\n",
        run(shop, "limits", "show", "127.0.0.1"),
    )
    assert run(shop, "limits", "reset", "127.0.0.1") == "reset rate_limit:127.0.0.1\n"
    assert shop.get("/products").status_code == 200
    run(shop, "limits", "reset", "127.0.0.1")
    again = run(shop, "limits", "reset", "rate_limit:127.0.0.1")  # as the key is written
    assert again == "rate_limit:127.0.0.1: nothing is used\n"


def test_top_shows_the_clients_with_the_most_usage_and_refusals(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="10", WRITE_LIMIT_CALLS="2", TRUSTED_PROXIES="1")
    shop.key = None
    for client, reads, writes in (("192.0.2.1", 4, 0), ("192.0.2.2", 12, 0), ("192.0.2.3", 0, 5)):
        headers = {"X-Forwarded-For": client}
        for _ in range(reads):
            shop.get("/products", headers=headers)
        for _ in range(writes):
            shop.request("POST", "/products", headers=headers)
    redis_cli.rpush("rate_limit:of another kind", "x")
    lines = run(shop, "limits", "top", "--count", "2").splitlines()
    assert lines[:3] == ["clients: 4", "", "used most"]
    shown = [line.split()[:4] for line in lines]
    assert shown[3:5] == [
        ["192.0.2.2", "default", "10", "of"],
        ["192.0.2.3", "write", "2", "of"],
    ]
    assert lines[6] == "refused most"
    assert [line.split()[0] for line in lines[7:]] == ["192.0.2.3", "192.0.2.2"]
    assert lines[7].endswith("; 3 refused")
    assert lines[8].endswith("; 2 refused")


def test_top_without_clients_is_empty(a_shop: Shop) -> None:
    assert run(a_shop, "limits", "top") == "clients: 0\n\nused most\n\nrefused most\n"


def test_a_client_can_be_a_key_or_an_address_of_either_kind(a_shop: Shop) -> None:
    for client in ("key:0123456789ab", "0123456789ab"):
        assert "rate_limit:key:0123456789ab" in run(a_shop, "limits", "show", client)
    for client in ("2001:db8::7", "2001:db8::/64"):
        assert "rate_limit:2001:db8::/64" in run(a_shop, "limits", "show", client)
    assert a_shop.command("limits", "show", "somebody").exit_code == 2


def test_commands_without_the_database_end_with_one_line(make_shop: Make) -> None:
    shop = make_shop(DATABASE_URL="postgresql://nobody:hidden@127.0.0.1:1/none")
    for arguments in (
        ("seed",),
        ("cache", "warm"),
        ("orders", "expire"),
        ("purge",),
        ("keys", "list"),
        ("keys", "revoke", "x"),
        ("keys", "create", "--name", "x", "--scope", "catalog:write"),
    ):
        result = shop.command(*arguments)
        assert result.exit_code == 1
        last = result.stderr.splitlines()[-1]
        assert last.startswith("Error: the database cannot be used: ")
        assert "hidden" not in result.output


def test_counters_and_entries_of_another_type_are_no_fault(a_shop: Shop, redis_cli: Any) -> None:
    redis_cli.set("rate_limit:127.0.0.1", "abc")
    assert "nothing is used" in run(a_shop, "limits", "show", "127.0.0.1")
    redis_cli.hset("products:id:7", "a", "b")
    result = a_shop.command("cache", "show", "products:id:7")
    assert result.exit_code == 1
    assert "WRONGTYPE" in result.stderr


def test_commands_for_limits_ignore_foreign_values(a_shop: Shop, redis_cli: Any) -> None:
    good = "1795460923000000:0000001 "
    odd: dict[bytes, str | bytes] = {
        b"\xff": "x",
        b"\x1b[2Jx": f"default 1/9 in 86400 s, 0000000 refused: {good}\n",
        b"zero": f"default 1/0 in 60 s, 0000000 refused: {good}\n",
        b"long": f"default 1/{'9' * 5000} in 60 s, 0000000 refused: {good}\n",
        b"bytes": b"\xff\xfe 1/9 in 60 s, 0000000 refused: \n",
    }
    for client, value in odd.items():
        redis_cli.set(b"rate_limit:" + client, value)
    top = run(a_shop, "limits", "top")
    assert top.startswith("clients: 5")
    assert "\x1b" not in top
    for named in ("key:a\nb", "key:\udcff", "192.0.2.1/64", "somebody", ""):
        for command in ("show", "reset"):
            assert a_shop.command("limits", command, named).exit_code == 2


def test_the_flask_program_finds_the_commands(settings: dict[str, str]) -> None:
    def flask(*arguments: str) -> str:
        program = Path(sys.executable).with_name("flask")
        environment = {**os.environ, **settings}
        return subprocess.check_output([program, *arguments], cwd=ROOT, env=environment, text=True)

    listed = flask("--help")
    for command in ("cache", "db", "keys", "limits", "routes", "seed"):
        assert re.search(rf"^  {command}  +[A-Z].+", listed, re.MULTILINE)
    assert "/products/<row_id:product_id>" in flask("routes")
    assert "upgrade" in flask("db", "--help")
