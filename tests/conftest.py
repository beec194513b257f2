"""The suite's own PostgreSQL and Redis, and a shop on them that is empty for each test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dumps
import flask_migrate
import inprocess
import psycopg2
import pytest
import redis
import requests
from ports import free_port
from replication import Primary, Replicated, Standby
from sqlalchemy import create_engine, event, text

import shop.config
from dev.demo.seed import seed
from dev.embedded import programs
from dev.embedded.home import Home
from dev.embedded.servers import Postgres, Redis, SupervisedProcess
from shop import create_app, log_throttle
from shop.cache import outbox_watcher
from shop.extensions import cache, db
from shop.redis import breaker, ownership, redis_connection

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

ROOT = Path(__file__).parent.parent
ADMIN_KEY = "an-admin-key-for-the-tests"
# Of a Redis that is to answer, however busy the machine: a shop would take it for one that hangs.
PATIENCE = "60000"  # milliseconds that Redis is waited for, so that no pause decides a test
CUSTOMER = {"name": "A. Customer", "email": "customer@example.com", "address": "1 Way"}

Make = Callable[..., "Shop"]
MakeRelay = Callable[[Path], "Relay"]
StartRedis = Callable[..., int]


def pytest_configure(config: pytest.Config) -> None:
    """Let programs that tests start keep compiled Python files, even with PYTHONDONTWRITEBYTECODE.

    To compile all that a service imports takes three times as long as to start it.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        kept = tempfile.TemporaryDirectory(prefix="shop-bytecode-")
        os.environ["PYTHONPYCACHEPREFIX"] = kept.name
        config.add_cleanup(kept.cleanup)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `make test-fast` leave out the tests that need a server."""
    for item in items:
        if "home" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


class Shop:
    """A client of one application, with the administrator's key for its writes."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        app.cli.add_command(seed)  # as wsgi.py does
        app.test_client_class = inprocess.Client
        self.client = app.test_client()
        self.key: str | None = ADMIN_KEY
        self._first_category: int | None = None

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = dict(options.pop("headers", {}))
        if self.key and method not in {"GET", "HEAD", "OPTIONS"}:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        return self.client.open(path, method=method, headers=headers, buffered=True, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.request("GET", path, **options)

    def post(self, path: str, **fields: Any) -> TestResponse:
        return self.request("POST", path, json=fields)

    def put(self, path: str, **fields: Any) -> TestResponse:
        return self.request("PUT", path, json=fields)

    def patch(self, path: str, **fields: Any) -> TestResponse:
        return self.request("PATCH", path, json=fields)

    def delete(self, path: str) -> TestResponse:
        return self.request("DELETE", path)

    def create_category(self, name: str = "Garden") -> dict[str, Any]:
        category = self._created(self.post("/categories", name=name))
        self._first_category = self._first_category or category["id"]
        return category

    def create_product(self, **fields: Any) -> dict[str, Any]:
        """Create a product, in the first category unless another is given."""
        if "category_id" not in fields:
            fields["category_id"] = self._first_category or self.create_category()["id"]
        return self._created(
            self.post("/products", **{"name": "Rake", "price": "19.90", "stock": 3} | fields)
        )

    def place_order(self, *product_ids: int, quantity: int = 1, **headers: str) -> dict[str, Any]:
        """Order this quantity of each product."""
        lines = [{"product_id": one, "quantity": quantity} for one in product_ids]
        body = {"customer": CUSTOMER, "lines": lines}
        return self._created(self.request("POST", "/orders", json=body, headers=headers))

    def move_order(self, order_id: int, *actions: str, **headers: str) -> TestResponse:
        """Move an order through these actions, and return the last answer."""
        for action in actions:
            answer = self.request("POST", f"/orders/{order_id}/{action}", headers=headers)
        return answer

    def open_session(self) -> dict[str, str]:
        """Open a session, and return the headers that send it."""
        token = self._created(self.post("/sessions"))["token"]
        return {"Authorization": f"Bearer {token}"}

    def stock_of(self, product_id: int) -> int:
        stock: int = self.get(f"/products/{product_id}").get_json()["stock"]
        return stock

    @staticmethod
    def _created(response: TestResponse) -> dict[str, Any]:
        assert response.status_code == 201, response.text
        made: dict[str, Any] = response.get_json()
        return made

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Collect the SQL that is sent inside the block."""
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "cache_outbox" not in statement:  # the watch looks when it looks
                sent.append(statement)

        with self.app.app_context():
            engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield sent
        finally:
            event.remove(engine, "before_cursor_execute", note)

    def command(self, *arguments: str) -> Any:
        """Run a `flask` command."""
        return self.app.test_cli_runner().invoke(args=arguments)


class Service:
    """A shop served by gunicorn, in processes of its own."""

    def __init__(self, url: str, program: SupervisedProcess, log: Path, workers: int) -> None:
        self.url = url
        self.program = program
        self.log = log
        self._workers = workers

    def await_ready(self) -> None:
        await_true(self._has_all_workers, self.log)
        await_true(lambda: _answers(self.url), self.log)

    def _has_all_workers(self) -> bool:
        return _runs(self.program, self.log) and _booted_workers(self.log) >= self._workers

    @property
    def master(self) -> int:
        """The process id of gunicorn, which is the child of its guard."""
        [process] = _children(self.program.pid)
        return process

    def workers(self) -> set[int]:
        return _children(self.master)

    def await_replaced(self, old: set[int]) -> None:
        """Wait until as many other workers are there as these, which are gone."""

        def are_replaced() -> bool:
            now = self.workers()
            return len(now) == len(old) and not now & old

        await_true(are_replaced, self.log)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=120, **options)

    def write(self, method: str, path: str, **fields: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return requests.request(method, self.url + path, json=fields, headers=headers, timeout=120)


def _children(process: int) -> set[int]:
    command = ["pgrep", "-P", str(process)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return {int(one) for one in found.stdout.split()}


class Relay:
    """A port on the loopback address that leads to a server's socket, until it is closed."""

    def __init__(self, target: Path) -> None:
        self.port = free_port()
        self.target = target  # of connections that are made from now on
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._forgotten: set[socket.socket] = set()
        self.open()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._ends.append(listener)
        self._start(self._accept, listener)

    def forget(self) -> None:
        """Drop the data of all present connections in silence, as a firewall does."""
        self._forgotten.update(self._ends)

    def close(self) -> None:
        """Refuse connections from now on, and cut those that there are."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()
        self._ends.clear()
        self._threads.clear()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                self._ends += [client, server]
                server.connect(str(self.target))
                self._start(self._pass, client, server)
                self._start(self._pass, server, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._forgotten:
                    target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay() -> Iterator[MakeRelay]:
    """Make relays to the sockets of servers."""
    made: list[Relay] = []

    def make(target: Path) -> Relay:
        made.append(Relay(target))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session", autouse=True)
def _no_running_service() -> None:
    """The settings of the checkout, and a service that runs in it, are not the suite's."""
    shop.config.FILES.clear()


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="shop-tests-") as path:
        Path(path).chmod(0o755)
        yield Home.at(Path(path))


@pytest.fixture(scope="session")
def postgres(home: Home) -> Iterator[Postgres]:
    server = Postgres(home, durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def replicated(home: Home, tmp_path: Path) -> Iterator[Replicated]:
    """A primary with the tables of a shop, and its standby, to fail over to."""
    primary = Primary(_own_home(home, f"{tmp_path.name}-1"))
    standby = Standby(_own_home(home, f"{tmp_path.name}-2"), primary)
    try:
        primary.start()
        app = create_app({"DATABASE_URL": primary.url})
        with app.app_context():
            flask_migrate.upgrade(str(ROOT / "migrations"))
            db.engine.dispose()
        standby.start()
        yield Replicated(primary, standby)
    finally:
        standby.stop()
        primary.stop()


@pytest.fixture
def second_standby(home: Home, tmp_path: Path, replicated: Replicated) -> Iterator[Standby]:
    """Another standby of the same primary."""
    standby = Standby(_own_home(home, f"{tmp_path.name}-3"), replicated.primary)
    standby.start()
    yield standby
    standby.stop()


@pytest.fixture(scope="session")
def redis_server(home: Home) -> Iterator[Redis]:
    server = Redis(home, durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def start_redis(home: Home) -> Iterator[StartRedis]:
    """Start Redis servers on loopback ports of their own, and return their ports."""
    started: list[SupervisedProcess] = []

    def start_one(*options: str, port: int | None = None) -> int:
        port = port or free_port()
        place = home.directory(f"redis-{port}")
        redis_server = str(home.runnable(programs.find_redis()))
        command = [redis_server, *options, "--port", str(port), "--bind", "127.0.0.1"]
        command += ["--dir", str(place), "--save", ""]
        log = place.with_suffix(".log")
        program = SupervisedProcess("redis", command, account=home.account, log=log)
        started.append(program)
        await_true(lambda: _runs(program, log) and _redis_answers(port), log)
        return port

    yield start_one
    for program in started:
        program.stop()


def _runs(program: SupervisedProcess, log: Path) -> bool:
    assert program.exit_status() is None, log.read_text()
    return True


def _redis_answers(port: int) -> bool:
    with redis.Redis(port=port, protocol=2) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


@pytest.fixture
def own_redis(home: Home, tmp_path: Path) -> Iterator[Redis]:
    """A Redis to stop and to hang."""
    server = Redis(_own_home(home, tmp_path.name), durable=False)
    server.start()
    yield server
    server.stop()


@contextmanager
def hung(server: Redis) -> Iterator[None]:
    """Let a server take connections and say nothing."""
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        process: int = client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture(scope="session")
def settings(postgres: Postgres, redis_server: Redis) -> dict[str, str]:
    """The environment of a shop in the tests; limits are out of the way."""
    return {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis_server.url,
        "REDIS_TIMEOUT": PATIENCE,
        "ADMIN_API_KEY": ADMIN_KEY,
        "RATE_LIMIT_CALLS": "100000",
        "WRITE_LIMIT_CALLS": "100000",
        "SESSION_LIMIT_CALLS": "100000",
        "UNKNOWN_KEY_LIMIT_CALLS": "100000",
        "SESSION_OPEN_ORDERS": "100000",
        "ADDRESS_OPEN_ORDERS": "100000",
        "DATABASE_LOCK_TIMEOUT": "60000",
        "DATABASE_STATEMENT_TIMEOUT": "60000",
        "METRICS_OPEN": "true",
        "WEB_CONCURRENCY": "2",
        "DRAIN_SECONDS": "0",
        "LOG_LEVEL": "DEBUG",
    }


def changed(settings: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """Return settings with changes. A shop with a Redis of its own waits 1 s for an answer."""
    usual = {"REDIS_TIMEOUT": "1000"} if "REDIS_URL" in changes else {}
    return {**settings, **usual, **changes}


@pytest.fixture(scope="session")
def migrated(settings: dict[str, str]) -> Iterator[Flask]:
    """An application on the suite's database, with its tables made."""
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade(str(ROOT / "migrations"))
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def empty(settings: dict[str, str]) -> Iterator[Flask]:
    """An application on a database of its own, without tables."""
    server = create_engine(
        settings["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg2:"),
        isolation_level="AUTOCOMMIT",
    )
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE empty"))
        app = create_app(
            settings | {"DATABASE_URL": settings["DATABASE_URL"].replace("/shop?", "/empty?")}
        )
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()
        connection.execute(text("DROP DATABASE empty WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def redis_cli(redis_server: Redis) -> Iterator[Any]:
    """A client of the suite's Redis, which is empty at first; it answers with text."""
    with redis.Redis(unix_socket_path=str(redis_server.socket), decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def make_shop(settings: dict[str, str], migrated: Flask, redis_cli: Any) -> Iterator[Make]:
    """Make shops with settings of their own; the database is empty at first."""
    made: list[Flask] = []

    def make(**changes: str) -> Shop:
        app = create_app(changed(settings, changes))
        made.append(app)
        return Shop(app)

    empty_tables(migrated)
    yield make
    close(made)


def empty_tables(app: Flask) -> None:
    with app.app_context(), db.engine.begin() as connection:
        kept = {"installation"}  # whose row a migration has made
        tables = ", ".join(one.name for one in db.metadata.sorted_tables if one.name not in kept)
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))


@pytest.fixture
def database_copy(postgres: Postgres, make_shop: Make, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database `copy`, beside the suite's, with empty tables of a shop."""
    url = dumps.named(postgres.url, "copy")
    dump = dumps.backup(postgres.url, tmp_path / "empty")
    server = psycopg2.connect(postgres.url)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute("CREATE DATABASE copy")
        dumps.run("pg_restore", "--dbname=copy", dump, url=url)
        yield url
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'copy%'")
        for [name] in cursor.fetchall():
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


def close(apps: list[Flask]) -> None:
    """Let no thread of an application that a test has made touch the servers any more."""
    for one in list(breaker._open):
        one.stop()
    for app in apps:
        inprocess.stop(app)
        connection = redis_connection(app)
        connection.enabled = False
        if connection.sentinels:
            connection.sentinels.stop()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def a_shop(make_shop: Make) -> Shop:
    return make_shop()


@pytest.fixture(autouse=True)
def _unhurried(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look at the outbox count for a minute: no pause of the machine decides a test.

    A vacant Redis is taken at once.
    """
    if "hurried" not in request.keywords:
        monkeypatch.setattr(ownership, "VACANT_SECONDS", 0)
        monkeypatch.setattr(outbox_watcher, "FRESHNESS_SECONDS", 60)


@pytest.fixture
def declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a test declares of the cache when it ends."""
    monkeypatch.setattr(cache, "memoized", [*cache.memoized])
    monkeypatch.setattr(cache, "tags", [*cache.tags])


@pytest.fixture(autouse=True)
def _talkative() -> None:
    """Let each test hear what is said once a minute."""
    log_throttle.reset()


@pytest.fixture
def serve(
    settings: dict[str, str], make_shop: Make, tmp_path: Path
) -> Iterator[Callable[..., Service]]:
    """Serve shops with gunicorn, on free ports of the loopback address."""
    services: list[Service] = []

    def start(*, port: int | None = None, directory: Path = ROOT, **changes: str) -> Service:
        service = start_service(
            changed(settings, {"LOG_LEVEL": "INFO", **changes}), tmp_path, directory, port
        )
        services.append(service)
        service.await_ready()
        return service

    yield start
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda service: service.program.stop(), services))


def start_service(
    settings: dict[str, str], logs: Path, directory: Path = ROOT, port: int | None = None
) -> Service:
    port = port or free_port()
    environment = {**os.environ, **settings}
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    command = [gunicorn, "wsgi:app", "--bind", f"127.0.0.1:{port}"]
    log = logs / f"gunicorn-{port}.log"
    program = SupervisedProcess(
        "gunicorn", command, environment=environment, directory=directory, log=log
    )
    return Service(f"http://127.0.0.1:{port}", program, log, int(environment["WEB_CONCURRENCY"]))


def _own_home(home: Home, name: str) -> Home:
    own = Home(home.directory(name), home.account)
    own.path.chmod(0o755)
    return own


def _booted_workers(log: Path) -> int:
    return log.read_text().count("Booting worker") if log.exists() else 0


def _answers(url: str) -> bool:
    try:
        response = requests.get(f"{url}/readyz", timeout=30)
    except (requests.ConnectionError, requests.Timeout):
        return False
    return response.ok


def await_true(condition: Callable[[], Any], what: object = "", seconds: float = 120) -> None:
    """Return when `condition` holds; fail the test if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def waits_for_a_lock(postgres: Postgres) -> bool:
    """Tell whether a transaction waits for another."""
    with psycopg2.connect(postgres.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        [waiting] = cursor.fetchone() or [0]
    connection.close()
    return bool(waiting)
