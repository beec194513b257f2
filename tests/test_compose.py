"""The compose file: passwords are files, and its scripts give each server users of few rights."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import redis
from conftest import ADMIN_KEY, CUSTOMER, await_true
from ports import free_port
from ruamel.yaml import YAML

from dev.embedded import programs
from dev.embedded.servers import SupervisedProcess
from shop import create_app
from shop.config import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Service

    from dev.embedded.home import Home
    from dev.embedded.servers import Postgres

SCRIPTS = ROOT / "deploy" / "compose"
USER = re.compile(r"redis-cli ACL SETUSER (shop (?:.*\\\n)*.*)")
COMMANDS = (
    "cache stats", "cache warm", "cache show products:id:1", "cache replay", "cache clear all",
    "limits list", "limits show 127.0.0.1", "limits reset 127.0.0.1", "leaderboard rebuild",
)  # fmt: skip


@pytest.fixture
def compose() -> dict[str, Any]:
    content: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.production.yaml")
    return content


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a directory with the scripts of the compose file, as a checkout has them."""
    shutil.copytree(SCRIPTS, tmp_path / "deploy" / "compose")
    return tmp_path


def make_secrets(checkout: Path) -> str:
    return subprocess.check_output([checkout / "deploy/compose/make-secrets.sh"], text=True)


def script_at(place: Path, name: str, **changes: str) -> str:
    """Return the path of a script whose files are in `place`, and not where a container has them.

    Names of `changes` are replaced, too.
    """
    content = (SCRIPTS / name).read_text()
    for here, there in {
        "/run/secrets": str(place),
        "/tmp/users": f"{place}/users",
        **changes,
    }.items():
        content = content.replace(here, there)
    path = place / name
    path.write_text(content)
    path.chmod(0o755)
    return str(path)


# The compose file


def test_every_container_is_confined(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["pids_limit"]
        assert service["mem_limit"]
        assert service["cpus"]


def test_ports_are_published_on_the_loopback_address(compose: dict[str, Any]) -> None:
    """Those of monitoring on no other, whatever is set."""
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert published == {
        "api": ["${HOST_ADDRESS:-127.0.0.1}:${PORT:-8000}:8000"],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
        "alertmanager": ["127.0.0.1:${ALERTMANAGER_PORT:-9093}:9093"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }


def test_images_of_others_are_of_one_version(compose: dict[str, Any]) -> None:
    images = {one["image"] for one in compose["services"].values()} - {"ecommerce_api"}
    version = re.compile(r"[a-z\d_/-]+:v?\d+\.\d+(\.\d+)?(-alpine[\d.]*)?")
    assert all(version.fullmatch(image) for image in images)


def test_monitoring_starts_by_its_profile_with_files_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    watching = {name for name, one in services.items() if one.get("profiles") == ["monitoring"]}
    assert len(watching) == 7
    assert watching == set(services) - {"api", "worker", "migrate", "roles", "postgres", "redis"}
    for service in services.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).exists(), mount


def test_no_secret_is_in_an_environment_or_in_a_command(compose: dict[str, Any]) -> None:
    secret = re.compile("PASSWORD|TOKEN|SECRET|ADMIN_API_KEY|AUTH")
    for service in compose["services"].values():
        names = [name for name in service.get("environment", {}) if secret.search(name)]
        assert all(name.endswith("_FILE") for name in names)
        assert not secret.search(str(service.get("command")))


def test_the_script_makes_each_secret_that_a_container_reads(
    compose: dict[str, Any], checkout: Path
) -> None:
    make_secrets(checkout)
    made = {f"./secrets/{path.name}" for path in (checkout / "secrets").iterdir()}
    assert made == {one["file"] for one in compose["secrets"].values()}
    used = {name for one in compose["services"].values() for name in one.get("secrets", [])}
    assert used == set(compose["secrets"])
    for service in compose["services"].values():
        paths = re.findall(r"/run/secrets/(\w+)", str(service.get("environment")))
        assert set(paths) <= set(service.get("secrets", []))


# The secrets


def test_a_container_reads_its_secret_and_no_other_account_enters_the_directory(
    checkout: Path,
) -> None:
    make_secrets(checkout)
    assert (checkout / "secrets").stat().st_mode & 0o777 == 0o700
    for path in (checkout / "secrets").iterdir():
        assert path.stat().st_mode & 0o777 == 0o444
        assert re.fullmatch("[0-9a-f]{64}\n", path.read_text())


def test_containers_can_read_the_scripts_of_a_closed_checkout(checkout: Path) -> None:
    for path in (checkout / "deploy").rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    make_secrets(checkout)
    assert all(path.stat().st_mode & 0o004 for path in (checkout / "deploy").rglob("*"))
    assert (checkout / "deploy/compose/redis-cli.sh").stat().st_mode & 0o001


def test_a_second_run_changes_no_secret(checkout: Path) -> None:
    make_secrets(checkout)
    before = {path.name: path.read_text() for path in (checkout / "secrets").iterdir()}
    assert make_secrets(checkout) == ""
    assert {path.name: path.read_text() for path in (checkout / "secrets").iterdir()} == before


def test_passwords_of_an_older_installation_are_kept(checkout: Path) -> None:
    (checkout / ".env.production").write_text(
        "POSTGRES_PASSWORD=of-the-volume\nDATABASE_PASSWORD='a $ign'\nADMIN_API_KEY=\nPORT=80\n"
    )
    said = make_secrets(checkout)
    assert (checkout / "secrets/postgres_password").read_text() == "of-the-volume\n"
    assert (checkout / "secrets/database_password").read_text() == "a $ign\n"
    assert len((checkout / "secrets/admin_api_key").read_text()) == 65
    assert "Delete POSTGRES_PASSWORD from .env.production" in said
    assert "Delete ADMIN_API_KEY" not in said
    assert "of-the-volume" not in said


def test_a_password_that_is_quoted_otherwise_is_not_guessed_at(checkout: Path) -> None:
    (checkout / ".env.production").write_text('POSTGRES_PASSWORD="a\\"b"\n')
    with pytest.raises(subprocess.CalledProcessError):
        make_secrets(checkout)
    assert not list((checkout / "secrets").iterdir())


# Redis


@pytest.fixture
def redis_port(home: Home) -> Iterator[int]:
    """Run the script that starts Redis, with the passwords `ruler` and `served`."""
    port = free_port()
    place = home.directory(f"compose-redis-{port}")
    passwords = {"redis_admin": "ruler", "redis": "served", "monitor": "watching"}
    for name, password in passwords.items():
        (place / f"{name}_password").write_text(f"{password}\n")
    program = str(home.runnable(programs.find_redis()))
    script = script_at(place, "redis.sh", **{"exec redis-server": f"exec {program}"})
    command = ["sh", script, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place)]
    log = place.with_suffix(".log")
    process = SupervisedProcess("redis", command, account=home.account, log=log)
    try:
        await_true(lambda: answers(port), log, seconds=30)
        assert "ruler" not in (place / "users.acl").read_text()
        yield port
    finally:
        process.stop()


def answers(port: int) -> bool:
    with redis.Redis(port=port, password="ruler") as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


def test_the_user_of_the_service_is_the_documented_one() -> None:
    [documented] = USER.findall((ROOT / "docs" / "redis.md").read_text())
    words = documented.replace("\\\n", "").replace("'", "").split()
    [line] = re.findall("^user (shop .*)", (SCRIPTS / "redis.sh").read_text(), re.MULTILINE)
    ours = line.replace("${REDIS_KEY_PREFIX:+ ~$REDIS_KEY_PREFIX*}", "").split()
    assert ours[:3] == ["shop", "on", "#$service"]
    assert ours[3:] == words[3:]


def test_the_service_works_as_its_user(
    redis_port: int, settings: dict[str, str], serve: Callable[..., Service], tmp_path: Path
) -> None:
    (tmp_path / "redis_password").write_text("served\n")
    as_user = {
        "REDIS_URL": "", "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis_port),
        "REDIS_USERNAME": "shop", "REDIS_PASSWORD_FILE": str(tmp_path / "redis_password"),
    }  # fmt: skip
    service = serve(**as_user)
    category = service.write("POST", "/categories", name="Garden").json()["id"]
    product = service.write(
        "POST", "/products", name="Rake", price="1.00", stock=2, category_id=category
    ).json()["id"]
    session = service.write("POST", "/sessions").json()["token"]
    owner = {"Authorization": f"Bearer {session}"}
    lines = [{"product_id": product, "quantity": 1}]
    assert service.write("POST", "/orders", customer=CUSTOMER, lines=lines).status_code == 201
    for path in ("/cart", "/products/trending", "/products/top-selling", "/products?q=rake"):
        assert service.get(path, headers=owner).ok
    administrator = {"Authorization": f"Bearer {ADMIN_KEY}"}
    assert service.get("/ops/status", headers=administrator).ok
    service.get(f"/products/{product}")
    assert service.get(f"/products/{product}").headers["X-Cache"] == "HIT"
    command = create_app(settings | as_user).test_cli_runner().invoke
    for line in COMMANDS:
        ran = command(args=line.split())
        assert ran.exit_code == 0, ran.output
    with redis.Redis(port=redis_port, password="ruler", decode_responses=True) as client:
        assert client.keys("products:trending:*")
        denied = {entry["object"] for entry in client.execute_command("ACL", "LOG")}
    assert denied <= {"client|setinfo"}  # redis-py names itself, and does without


def test_the_user_of_the_service_may_not_rule_redis(redis_port: int) -> None:
    with redis.Redis(port=redis_port, username="shop", password="served") as client:
        for command in (["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["GET", "other"]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
    with (
        redis.Redis(port=redis_port) as nobody,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        nobody.ping()


def test_the_user_of_monitoring_reads_figures_and_no_key(redis_port: int) -> None:
    with redis.Redis(port=redis_port, username="monitor", password="watching") as client:
        assert client.info()["maxmemory"] == 0
        assert client.slowlog_len() == 0
        for command in (
            ["GET", "products:id:1"],
            ["SCAN", "0"],
            ["CONFIG", "GET", "*"],
            ["EVAL", "return 1", "0"],
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_redis_cli_in_the_container_logs_in_as_the_administrator(tmp_path: Path) -> None:
    (tmp_path / "redis_admin_password").write_text("ruler\n")
    (tmp_path / "real").write_text('#!/bin/sh\nprintf "%s|" "$REDISCLI_AUTH" "$@"\n')
    (tmp_path / "real").chmod(0o755)
    real = {"/usr/local/bin/redis-cli": str(tmp_path / "real")}
    script = script_at(tmp_path, "redis-cli.sh", **real)
    assert subprocess.check_output([script, "KEYS", "rate_limit:*"]) == b"ruler|KEYS|rate_limit:*|"


# PostgreSQL


@contextmanager
def role_made(
    postgres: Postgres, directory: Path, script: str, role: str, **changes: str
) -> Iterator[dict[str, str]]:
    """Make a role by a script, twice as at two starts; yield libpq's variables of the server."""
    for name in ("postgres_password", "database_password", "monitor_password"):
        (directory / name).write_text("it's \\ $word\n")
    psql = shutil.which("psql") or programs.find_postgres()[0] / "psql"
    program = script_at(directory, script, **{"psql ": f"{psql} ", **changes})
    owner = psycopg2.connect(postgres.url)
    owner.autocommit = True
    place = owner.info
    login = {"PGHOST": place.host, "PGPORT": str(place.port), "PGUSER": place.user}
    cursor = owner.cursor()
    cursor.execute("CREATE DATABASE roles")
    try:
        for _ in range(2):
            subprocess.run(["sh", program], env={**login, "PGDATABASE": "roles"}, check=True)
        yield login
    finally:
        cursor.execute("DROP DATABASE roles WITH (FORCE)")
        cursor.execute(f"DROP ROLE {role}")
        owner.close()


def test_the_role_of_the_service_reads_and_writes_rows_and_does_nothing_else(
    postgres: Postgres, tmp_path: Path
) -> None:
    # The suite's server has an owner that is called shop.
    few = {"ROLE shop": "ROLE few", "'shop'": "'few'", "TO shop": "TO few"}
    with role_made(postgres, tmp_path, "roles.sh", "few", **few) as login:
        check_the_role(login)


def test_the_role_of_monitoring_reads_statistics_and_no_row(
    postgres: Postgres, tmp_path: Path
) -> None:
    with role_made(postgres, tmp_path, "monitor-role.sh", "monitor") as login:
        check_monitoring(login)


def check_monitoring(login: dict[str, str]) -> None:
    place = f"host={login['PGHOST']} port={login['PGPORT']} dbname=roles"
    with psycopg2.connect(place, user=login["PGUSER"]) as owner, owner.cursor() as cursor:
        cursor.execute("CREATE TABLE rows (id serial PRIMARY KEY)")
    owner.close()
    member = psycopg2.connect(place, user="monitor", password="it's \\ $word")
    member.autocommit = True
    with member.cursor() as cursor:
        # What is hidden from a role without pg_monitor.
        cursor.execute("SELECT query FROM pg_stat_activity WHERE backend_type = 'client backend'")
        assert ("<insufficient privilege>",) not in cursor.fetchall()
        cursor.execute("SELECT extname FROM pg_extension WHERE extname = 'pg_stat_statements'")
        assert cursor.fetchone()
        for statement in ("SELECT FROM rows", "CREATE TABLE mine ()", "CREATE ROLE other"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
    member.close()


def check_the_role(login: dict[str, str]) -> None:
    place = f"host={login['PGHOST']} port={login['PGPORT']} dbname=roles"
    with psycopg2.connect(place, user=login["PGUSER"]) as owner, owner.cursor() as cursor:
        cursor.execute("CREATE TABLE rows (id serial PRIMARY KEY)")
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'few'")
        assert "SCRAM-SHA-256$" in str(cursor.fetchone())
    owner.close()
    member = psycopg2.connect(place, user="few", password="it's \\ $word")
    member.autocommit = True
    with member.cursor() as cursor:
        cursor.execute("INSERT INTO rows DEFAULT VALUES RETURNING id")
        cursor.execute("UPDATE rows SET id = 5")
        cursor.execute("DELETE FROM rows")
        for statement in ("DROP TABLE rows", "TRUNCATE rows", "CREATE TABLE mine ()"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
    member.close()
