"""`make backup` and `make restore`: what they refuse, and in which order they work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import dumps
import psycopg2
import pytest
from conftest import ROOT
from faults import execute

from dev.embedded.home import Home
from dev.embedded.servers import Postgres
from shop.extensions import db

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Make


# So many bytes that the middle of a dump is within a row, and not within its list of content.
LARGE_ROW = """
    INSERT INTO idempotency_keys (client, key, fingerprint, row_id, body)
    SELECT '', '', '', 0, decode(string_agg(md5(random()::text), ''), 'hex')
    FROM generate_series(1, 20000)
"""


def half(dump: Path) -> bytes:
    whole = dump.read_bytes()
    return whole[: len(whole) // 2]


def test_a_broken_dump_changes_nothing(make_shop: Make, database_copy: str, tmp_path: Path) -> None:
    shop = make_shop(DATABASE_URL=database_copy)
    product = shop.create_product()["id"]
    execute(shop, LARGE_ROW)
    whole = dumps.backup(database_copy, tmp_path)
    broken = tmp_path / "broken.dump"
    reasons: list[str] = []
    for content in (half(whole), b"PGDMP", b"text\n"):
        broken.write_bytes(content)
        with shop.app.app_context():
            db.engine.dispose()
        with pytest.raises(subprocess.CalledProcessError) as refused:
            dumps.restore(broken, database_copy)
        reasons.append(refused.value.output.splitlines()[-1])
    is_none = f"{broken} is no dump of backup.sh"
    assert reasons == ["the dump was not restored, and the database is as it was", is_none, is_none]
    assert shop.get(f"/products/{product}").status_code == 200
    names = "SELECT datname FROM pg_database WHERE datname ~ '^copy_'"
    assert dumps.run("psql", "-Atc", names, url=database_copy) == ""


def test_a_database_that_is_used_is_not_replaced(
    make_shop: Make, database_copy: str, tmp_path: Path
) -> None:
    shop = make_shop(DATABASE_URL=database_copy)
    shop.create_product()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dumps.restore(dumps.backup(database_copy, tmp_path), database_copy)
    assert "stop the service first" in refused.value.output


def test_nothing_is_restored_without_a_yes(database_copy: str, tmp_path: Path) -> None:
    dump = dumps.backup(database_copy, tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        dumps.run("restore.sh", dump, url=database_copy)
    assert refused.value.output.endswith("[y/N] nothing is changed\n")


def test_a_backup_is_this_account_s_alone_and_one_that_fails_leaves_no_file(
    database_copy: str, tmp_path: Path
) -> None:
    assert dumps.backup(database_copy, tmp_path / "all").stat().st_mode & 0o777 == 0o600
    with pytest.raises(subprocess.CalledProcessError):
        dumps.backup(
            dumps.named(database_copy.replace("/copy?", "/shop?"), "none"), tmp_path / "none"
        )
    assert not list((tmp_path / "none").iterdir())


# Docker compose

DOCKER = """#!/bin/sh
# Log the calls, and run here what `docker exec` would run in the container.
echo "$@" >> "$DOCKER_LOG"
[ "$1" = exec ] || exit 0
shift
while [ "$1" != ecommerce_postgres_prod ]; do shift; done
shift
exec "$@"
"""


def test_containers_stop_for_the_swap_alone(
    make_shop: Make, database_copy: str, tmp_path: Path
) -> None:
    shop = make_shop(DATABASE_URL=database_copy)
    shop.create_product(name="Rake")
    log = tmp_path / "docker.log"
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    calls = {
        "COMPOSE": "1",
        "DOCKER_LOG": str(log),
        "PATH": f"{tmp_path}:{dumps.programs()}:/bin:/usr/bin",
    }
    execute(shop, LARGE_ROW)
    dump = dumps.backup(database_copy, tmp_path, **calls)
    shop.create_product(name="Hoe")
    (tmp_path / "broken.dump").write_bytes(half(dump))
    with pytest.raises(subprocess.CalledProcessError):
        dumps.restore(tmp_path / "broken.dump", database_copy, **calls)
    assert "compose" not in log.read_text()
    log.unlink()
    assert "1 products" in dumps.restore(dump, database_copy, **calls)
    lines = log.read_text().splitlines()
    [stopped] = [at for at, line in enumerate(lines) if line.endswith("stop api worker")]
    [restored] = [at for at, line in enumerate(lines) if "pg_restore --exit-on-error" in line]
    assert restored < stopped < len(lines) - 1
    assert lines[-1].endswith("up -d")
    assert all("PGUSER=postgres" in line for line in lines if line.startswith("exec"))


# make run


def command(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what `make backup` and `make restore` do."""
    return subprocess.run(
        [sys.executable, "-m", "dev.embedded.backup", *arguments],
        cwd=checkout, env={**os.environ, "YES": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_make_run_is_dumped_while_it_runs_and_restored_while_it_is_stopped(home: Home) -> None:
    checkout = home.path / uuid.uuid4().hex[:8]
    for name in ("shop", "dev", "deploy"):
        shutil.copytree(ROOT / name, checkout / name)
    instance = Home.at(checkout / "instance")
    with instance.locked() as lock:
        server = Postgres(instance, durable=False, lock=lock)
        server.start()
        with psycopg2.connect(server.url) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE products (); CREATE TABLE orders (created_at timestamptz)")
        connection.close()
        running = checkout / "instance" / "running.env"
        running.write_text(f"DATABASE_URL='{server.url}'\n")
        assert command(checkout, "backup").returncode == 0
        [dump] = (checkout / "instance" / "backups").iterdir()
        with psycopg2.connect(server.url) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (now())")
        connection.close()
        refused = command(checkout, "restore", str(dump))
        assert refused.returncode == 1
        assert "make restore: the servers of this checkout are running" in refused.stderr
        server.stop()
    restored = command(checkout, "restore", str(dump))  # the file of a run that was killed is there
    assert "0 products and 0 orders" in restored.stdout, restored.stderr
    running.unlink()
    dump.rename(checkout / "first.dump")
    stopped = command(checkout, "backup")
    assert stopped.returncode == 0, stopped.stderr
