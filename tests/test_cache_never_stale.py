"""Writers that die or fail leave no stale entry, at any step of a write."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from cached_product import KEY, outcome, stock
from conftest import ADMIN_KEY, ROOT, await_true
from faults import before_commit, engine_of, execute, holding_relay, lose_all_connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

    from dev.embedded.servers import Postgres

    Die = Callable[[str, str, str], None]

STEPS = ("before it suspends", "before the commit", "after the commit", "after the release")
WRITE = """
import sys, time
import shop.config
shop.config.FILES.clear()
from shop import create_app

method, path, key = sys.argv[1:]
create_app().test_client().open(path, method=method, json={"stock": 77, "name": "New",
    "price": 1, "category_id": 1}, headers={"Authorization": f"Bearer {key}"})
print("written", flush=True)
time.sleep(600)
"""


@pytest.fixture
def die_writing(settings: dict[str, str], postgres: Postgres) -> Die:
    """Kill a process that writes when it has come to a step."""

    def die(step: str, method: str, path: str) -> None:
        change = b"UPDATE products" if method == "PUT" else b"INSERT INTO products"
        with holding_relay(postgres.socket) as way:
            if step == "before it suspends":
                way.stop_after(change)
            elif step == "before the commit":
                way.stop_before(change, b"COMMIT")
            elif step == "after the commit":
                way.stop_after(change, b"COMMIT")
            url = f"postgresql://shop@127.0.0.1:{way.port}/shop"
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITE, method, path, ADMIN_KEY],
                cwd=ROOT,
                env=os.environ | settings | {"DATABASE_URL": url},
                stdout=subprocess.PIPE,
            )
            with writer:
                try:
                    if step == "after the release":
                        assert writer.stdout
                        assert writer.stdout.readline() == b"written\n"
                    else:
                        assert way.reached.wait(120)
                finally:
                    writer.kill()
        await_true(lambda: not others(settings["DATABASE_URL"]), "its transaction has ended")

    return die


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_writer_that_dies_leaves_nothing_stale(
    a_shop: Shop, die_writing: Die, redis_cli: Any, step: str, method: str
) -> None:
    a_shop.create_product(stock=3)
    for path in ("/products/1", "/products"):
        a_shop.get(path)
        assert outcome(a_shop, path) == "HIT"
    path = "/products/1" if method == "PUT" else "/products"
    die_writing(step, method, path)
    assert_suspended(redis_cli, step)
    committed = step.startswith("after")
    for _ in range(3):
        if method == "PUT":
            assert stock(a_shop) == (77 if committed else 3)
        else:
            assert len(a_shop.get("/products").get_json()["items"]) == (2 if committed else 1)
    for name in redis_cli.scan_iter("products:*"):
        if redis_cli.get(name).startswith("writers"):
            redis_cli.pexpire(name, 1)  # as it will by itself
    await_true(lambda: outcome(a_shop, path) == "HIT")


def assert_suspended(redis_cli: Any, step: str) -> None:
    """Assert that Redis has a writer's notes if it died between suspension and release."""
    values = [redis_cli.get(name) for name in redis_cli.scan_iter("products:*")]
    notes = [value for value in values if value.startswith("writers")]
    assert bool(notes) == (step in {"before the commit", "after the commit"})


def others(url: str) -> int:
    """Count the transactions that are open."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        [[count]] = cursor.fetchall()
        return int(count)


def test_a_commit_with_an_unknown_outcome_leaves_its_names_suspended(
    a_shop: Shop, postgres: Postgres, redis_cli: Any
) -> None:
    a_shop.create_product(stock=3)
    with before_commit(engine_of(a_shop), lambda: lose_all_connections(postgres)):
        assert a_shop.patch("/products/1", stock=9).status_code == 503
    assert redis_cli.get(KEY).startswith("writers ")
    assert stock(a_shop) == 3
    assert outcome(a_shop) == "MISS"  # nothing is stored
    assert a_shop.patch("/products/1", stock=9).status_code == 200
    assert redis_cli.get(KEY).startswith("writers ")  # of the first
    assert stock(a_shop) == 9


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE unique_violation; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def test_a_write_that_is_refused_at_its_commit_releases_its_names(
    a_shop: Shop, redis_cli: Any
) -> None:
    a_shop.create_product(stock=3)
    execute(a_shop, REFUSE)
    try:
        assert a_shop.patch("/products/1", stock=9).status_code == 409
    finally:
        execute(a_shop, "DROP FUNCTION refuse CASCADE")
    assert not redis_cli.exists(KEY)
    assert stock(a_shop) == 3
    assert outcome(a_shop) == "HIT"
