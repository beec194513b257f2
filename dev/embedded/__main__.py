"""`make run`: the whole service on this machine, in the foreground.

Starts PostgreSQL and Redis where the settings name none, migrates, fills an empty catalogue, and
serves it with gunicorn. Ctrl-C, SIGTERM, or the end of any of them ends them all.
"""

from __future__ import annotations

import http.client
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import flask_migrate
from sqlalchemy.exc import SQLAlchemyError

from dev.demo.fill import catalogue_is_empty, fill
from dev.demo.seed import DEMO_ORDERS, DEMO_PRODUCTS, DEMO_SEED
from dev.settings import names
from shop import create_app, read_settings
from shop.config import ROOT, RUNNING_ENV, settings_from_files
from shop.environment import SettingError
from shop.extensions import db
from shop.logs import dropped_line
from shop.output import write_in_background

from . import EmbeddedError
from .home import Home
from .servers import Guarded, Postgres, Redis, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCE = RUNNING_ENV.parent
ADMIN_KEY = INSTANCE / "admin_api_key"
COUNTS = INSTANCE / "metrics"
PROGRAMS = Path(sys.executable).parent
HOST = "127.0.0.1"
START_SECONDS = 120

# `flask` commands in the same checkout get all settings but the keys that only the service needs.
SHARED = [name for name in names() if name not in {"ADMIN_API_KEY", "SECRET_KEY"}]

BANNER = """
  API             http://localhost:{port}
  documentation   http://localhost:{port}/docs

  read    curl -i 'http://localhost:{port}/products?skip=0&limit=10'
  write   curl -i -X POST http://localhost:{port}/products \\
            -H "Authorization: Bearer {key}" -H 'Content-Type: application/json' \\
            -d '{{"name":"Test","price":10,"stock":5,"category_id":1}}'
{servers}
  Ctrl-C stops everything.
"""


class Stop:
    """A flag that signals set. It takes no lock: a signal may come while another is handled."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait so long, unless it is set already; tell whether it is set then."""
        if not self._set:
            time.sleep(seconds)
        return self._set


def main() -> None:
    write_in_background(dropped_line)
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    try:
        with ExitStack() as stack:
            children = _start(stack, stop)
            _await_end(children, stop)
            with suppress(OSError):  # of a terminal that has been closed
                _say("stopping")
    except (EmbeddedError, SettingError) as error:
        raise SystemExit(f"make run: {error}") from None


def _await_end(children: list[Server | Guarded], stop: Stop) -> None:
    while not stop.wait(0.2):
        for child in children:
            if child.ended() is not None:
                raise EmbeddedError(f"{child.name} has ended, so everything was stopped")


def _start(stack: ExitStack, stop: Stop) -> list[Server | Guarded]:
    """Start what is needed; closing `stack` stops it, in the reverse order."""
    children: list[Server | Guarded] = []
    database = os.environ.get("DATABASE_URL") or "postgresql://"  # so far any will do
    port = read_settings({**os.environ, "DATABASE_URL": database}).port
    _check_port(port)
    home = Home.at(INSTANCE)
    lock = stack.enter_context(home.exclusively())
    RUNNING_ENV.unlink(missing_ok=True)  # of a run that was killed
    environment = settings_from_files() | dict(os.environ)
    if not (environment.get("ADMIN_API_KEY") or environment.get("ADMIN_API_KEY_FILE")):
        environment["ADMIN_API_KEY_FILE"] = str(_admin_key())
    # The service listens to this machine alone.
    environment["METRICS_OPEN"] = environment.get("METRICS_OPEN") or "true"

    wanted: list[type[Postgres | Redis]] = []
    if not environment.get("DATABASE_URL"):
        wanted.append(Postgres)
    if not (environment.get("REDIS_URL") or environment.get("REDIS_HOST")):
        wanted.append(Redis)
    for kind in wanted:
        server = kind(home, lock=lock)
        stack.callback(server.stop)
        _say(f"starting {server.name}")
        server.start()
        environment[server.setting] = server.url
        children.append(server)

    stack.enter_context(_running_env(environment))
    _say("bringing the tables up to date")
    _prepare(environment)
    if stop.is_set():
        return children
    _say("starting the service")
    environment.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_counts()))
    environment.setdefault("DRAIN_SECONDS", "0")  # no balancer has to turn to others
    programs = {
        "gunicorn": ["gunicorn", "wsgi:app", "--bind", f"{HOST}:{port}"],
        "worker": ["flask", "worker"],
    }
    for name, (program, *arguments) in programs.items():
        command = [str(PROGRAMS / program), *arguments]
        child = Guarded(name, command, lock=lock, environment=environment, directory=ROOT)
        stack.callback(child.stop)
        children.append(child)
        if name == "gunicorn":
            _await_answer(port, child, stop)
    _say(_banner(port, environment, children))
    return children


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EmbeddedError(
                f"port {port} cannot be had ({error.strerror}): stop what uses it, "
                f"or choose another: PORT={port + 1} make run"
            ) from None


def _admin_key() -> Path:
    """Return the file of this machine's key, made when it is first needed."""
    if not ADMIN_KEY.exists():
        descriptor = os.open(ADMIN_KEY, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return ADMIN_KEY


def _counts() -> Path:
    """Return an empty directory, in which the service and the worker count together."""
    shutil.rmtree(COUNTS, ignore_errors=True)
    COUNTS.mkdir(mode=0o700)
    return COUNTS


@contextmanager
def _running_env(environment: dict[str, str]) -> Iterator[None]:
    """Tell `flask` commands in this checkout which servers run, for as long as they do."""
    lines = [f"{name}={_quoted(environment[name])}\n" for name in SHARED if environment.get(name)]
    RUNNING_ENV.touch(mode=0o600)
    RUNNING_ENV.write_text("".join(lines))
    try:
        yield
    finally:
        RUNNING_ENV.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    """Quote for python-dotenv, which reads no shell."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _prepare(environment: dict[str, str]) -> None:
    """Bring the tables up to date, and fill an empty catalogue."""
    app = create_app(environment)
    with app.app_context():
        try:
            flask_migrate.upgrade(str(ROOT / "migrations").replace("%", "%%"))  # for configparser
            if catalogue_is_empty():
                _say("filling the catalogue with demo data")
                fill(DEMO_PRODUCTS, DEMO_SEED, DEMO_ORDERS)
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", error)
            raise EmbeddedError(f"the database cannot be prepared: {reason}") from None
        finally:
            db.engine.dispose()


def _await_answer(port: int, service: Guarded, stop: Stop) -> None:
    deadline = time.monotonic() + START_SECONDS
    while service.ended() is None and not stop.wait(0.1):
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            connection.getresponse()
        except OSError:
            if time.monotonic() > deadline:
                raise EmbeddedError("the service does not answer") from None
        else:
            return
        finally:
            connection.close()


def _banner(port: int, environment: dict[str, str], children: list[Server | Guarded]) -> str:
    key = environment.get("ADMIN_API_KEY_FILE")
    lines = [
        f"\n  {child.name:<15} {child.shell}" for child in children if isinstance(child, Server)
    ]
    lines.append("\n  commands        .venv/bin/flask --help   (in another terminal)\n")
    shown = f"$(cat {shlex.quote(key)})" if key else "$ADMIN_API_KEY"
    return BANNER.format(port=port, key=shown, servers="".join(lines))


if __name__ == "__main__":
    main()
