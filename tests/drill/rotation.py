"""Drills: certificates that are renewed under load, of Redis, PostgreSQL and nginx."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import flask_migrate
import pytest
from certificates import Authority
from conftest import ROOT, await_true
from hosts import BEHIND
from ports import free_port
from proxies import nginx
from redis_servers import Node
from replication import Primary

from dev.embedded.home import Home
from shop import create_app
from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Service
    from load import Load

    Serve = Callable[..., Service]
    Loads = Callable[..., Load]

COMPOSE = ROOT / "deploy" / "compose"
ROUNDS = 3


def await_new(shown: Callable[[], bytes], before: bytes) -> None:
    await_true(lambda: shown() != before, "the new certificate", seconds=30)


def rotate(
    load: Load, authority: Authority, reload: Callable[[], None], shown: Callable[[], bytes]
) -> None:
    """Renew under load, and wait until new connections get the new certificate."""
    with load:
        for _ in range(ROUNDS):
            before = shown()
            authority.renew()
            assert shown() == before
            reload()
            await_new(shown, before)
            load.await_well()
    assert not load.saw.failed
    assert load.saw.stale == []


def test_certificate_of_redis_renewed(home: Home, serve: Serve, load: Loads) -> None:
    authority = Authority(home, f"redis-{free_port()}")
    node = Node(home, "--tls-auth-clients", "yes", authority=authority)
    certificate, key = authority.client
    own = f"ssl_ca_certs={authority.certificate}&ssl_certfile={certificate}&ssl_keyfile={key}"
    service = serve(REDIS_URL=f"rediss://127.0.0.1:{node.port}/0?{own}")

    def reload() -> None:
        files = zip(("tls-cert-file", "tls-key-file"), authority.server, strict=True)
        node.call("CONFIG", "SET", *(str(word) for pair in files for word in pair))
        node.call("CLIENT", "KILL", "TYPE", "normal")  # so that all connect anew

    try:
        shown = lambda: authority.shown("127.0.0.1", node.port)  # noqa: E731
        rotate(load([service.url]), authority, reload, shown)
    finally:
        node.stop()


class Reachable(Primary):
    """A PostgreSQL that speaks TLS on an address of its own, as deploy/compose/tls.yaml has it."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        number = free_port()
        self.host = f"127.1.{number >> 8}.{number & 255}"
        self._tls = home.directory("tls")

    def _command(self) -> list[str]:
        return [*super()._command(), "-h", self.host]

    def encrypt(self, certificates: Path) -> None:
        """Take the options of the compose file, and its rules of who may connect."""
        self.copy(certificates, "exit 0")
        options = re.findall(r"--(ssl[a-z-]*)=(\S+)", (COMPOSE / "tls.yaml").read_text())
        assert len(options) == 3
        for name, value in options:
            path = value.replace("/tmp", str(self._home.path))
            self.ask(f"ALTER SYSTEM SET {name.replace('-', '_')} = '{path}'")
        shutil.copy(COMPOSE / "pg_hba.tls.conf", self.data / "pg_hba.conf")
        self.ask("SET password_encryption = 'scram-sha-256'; ALTER ROLE shop PASSWORD 'word'")
        self.ask("SELECT pg_reload_conf()")

    def copy(self, certificates: Path, then: str) -> None:
        """Run the script of the container, with another command in the place of its signal."""
        text = (COMPOSE / "postgres-tls.sh").read_text()
        here = {"/tmp": self._home.path, "/run/tls": certificates, "exec kill -HUP 1": then}
        for old, new in here.items():
            assert old in text
            text = text.replace(old, str(new))
        user, group = self._home.account or (None, None)
        command = ["sh", "-c", text, "sh", "reload"]
        subprocess.run(command, user=user, group=group, check=True)

    def reload(self, certificates: Path) -> None:
        pid = (self.data / "postmaster.pid").read_text().split()[0]
        self.copy(certificates, f"exec kill -HUP {pid}")


@pytest.fixture
def database(home: Home) -> Iterator[Reachable]:
    """A PostgreSQL with the tables of a shop."""
    own = Home(home.directory(f"encrypted-{free_port()}"), home.account)
    own.path.chmod(0o755)
    made = Reachable(own)
    made.start()
    app = create_app({"DATABASE_URL": made.url})
    with app.app_context():
        flask_migrate.upgrade(str(ROOT / "migrations"))
        db.engine.dispose()
    yield made
    made.stop()


def test_certificate_of_postgresql_renewed(
    home: Home, database: Reachable, serve: Serve, load: Loads
) -> None:
    authority = Authority(home, f"postgres-{free_port()}", POSTGRES_NAMES=f"IP:{database.host}")
    certificates = authority.of("tls-postgres")
    database.encrypt(certificates)
    own = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    url = f"postgresql://shop:word@{database.host}/shop?{own}"

    def reload() -> None:
        database.reload(certificates)

    shown = lambda: authority.shown(database.host, 5432, postgres=True)  # noqa: E731
    rotate(load([serve(DATABASE_URL=url).url]), authority, reload, shown)
    assert serve(DATABASE_URL=url).get("/categories/1").ok  # by new connections


def test_certificate_of_nginx_renewed(
    home: Home, serve: Serve, load: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is of a new connection: nginx ends those that are kept when it reloads."""
    authority = Authority(home, f"nginx-{free_port()}")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    port = free_port()
    serve(port=port, **BEHIND)
    proxy = nginx(home, [port], certificates=authority.of("tls"))
    try:
        shown = lambda: authority.shown("127.0.0.1", proxy.port)  # noqa: E731
        one = load([f"https://127.0.0.1:{proxy.port}"], keeps=False)
        rotate(one, authority, proxy.reload, shown)
    finally:
        proxy.stop()
