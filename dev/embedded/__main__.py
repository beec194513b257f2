"""`make run`: the whole service on this machine, in the foreground.

Start PostgreSQL and Redis unless the settings name them, migrate, fill an empty catalogue, and
serve it with gunicorn. Ctrl-C, SIGTERM, or the end of one process ends all of them.
"""

from __future__ import annotations

import http.client
import os
import secrets
import shlex
import shutil
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import flask_migrate
from sqlalchemy.exc import SQLAlchemyError

from dev.demo.fill import catalogue_is_empty, fill
from dev.demo.seed import DEMO_ORDERS, DEMO_PRODUCTS, DEMO_SEED
from dev.settings import setting_names
from shop import create_app, read_settings
from shop.config import ROOT, RUNNING_ENV, settings_from_files
from shop.extensions import cache, db
from shop.logs import dropped_line
from shop.output import write_in_background
from shop.redis import redis_connection

from . import EmbeddedError
from .foreground import StopFlag, run_in_foreground, say
from .home import Home
from .servers import Postgres, Redis, Server, SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCE = RUNNING_ENV.parent
ADMIN_KEY = INSTANCE / "admin_api_key"
METRICS = INSTANCE / "metrics"
PROGRAMS = Path(sys.executable).parent
HOST = "127.0.0.1"
START_SECONDS = 120

# `flask` commands in the same checkout get all settings but the keys that only the service needs.
SHARED_SETTINGS = [name for name in setting_names() if name not in {"ADMIN_API_KEY", "SECRET_KEY"}]

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


def main() -> None:
    write_in_background(dropped_line)
    run_in_foreground("make run", _start)


def _start(stack: ExitStack, stop: StopFlag) -> list[Server | SupervisedProcess]:
    """Start the servers and the service; closing `stack` stops them in the reverse order."""
    children: list[Server | SupervisedProcess] = []
    database = os.environ.get("DATABASE_URL") or "postgresql://"  # any URL will do to read the port
    port = read_settings({**os.environ, "DATABASE_URL": database}).port
    _check_port(port)
    home = Home.at(INSTANCE)
    lock = stack.enter_context(home.locked())
    RUNNING_ENV.unlink(missing_ok=True)  # left by a run that was killed
    environment = settings_from_files() | dict(os.environ)
    if not (environment.get("ADMIN_API_KEY") or environment.get("ADMIN_API_KEY_FILE")):
        environment["ADMIN_API_KEY_FILE"] = str(_admin_key())
    # The service listens on the loopback address alone, so its metrics may be open.
    environment["METRICS_OPEN"] = environment.get("METRICS_OPEN") or "true"

    wanted: list[type[Postgres | Redis]] = []
    if not environment.get("DATABASE_URL"):
        wanted.append(Postgres)
    if not (environment.get("REDIS_URL") or environment.get("REDIS_HOST")):
        wanted.append(Redis)
    for kind in wanted:
        server = kind(home, lock=lock)
        stack.callback(server.stop)
        say(f"starting {server.name}")
        server.start()
        environment[server.setting] = server.url
        children.append(server)

    stack.enter_context(_running_env(environment))
    say("bringing the tables up to date")
    _prepare(environment, owns_redis=Redis in wanted)
    if stop.is_set():
        return children
    say("starting the service")
    environment.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_metrics_directory()))
    environment.setdefault("DRAIN_SECONDS", "0")  # there is no load balancer to wait for
    programs = {
        "gunicorn": ["gunicorn", "wsgi:app", "--bind", f"{HOST}:{port}"],
        "worker": ["flask", "worker"],
    }
    for name, (program, *arguments) in programs.items():
        command = [str(PROGRAMS / program), *arguments]
        child = SupervisedProcess(name, command, lock=lock, environment=environment, directory=ROOT)
        stack.callback(child.stop)
        children.append(child)
        if name == "gunicorn":
            _await_answer(port, child, stop)
    say(_banner(port, environment, children))
    return children


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
    """Return the file of this machine's administrator's key; make it first if it is missing."""
    if not ADMIN_KEY.exists():
        descriptor = os.open(ADMIN_KEY, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return ADMIN_KEY


def _metrics_directory() -> Path:
    """Return an empty directory for the metrics that the service and the worker share."""
    shutil.rmtree(METRICS, ignore_errors=True)
    METRICS.mkdir(mode=0o700)
    return METRICS


@contextmanager
def _running_env(environment: dict[str, str]) -> Iterator[None]:
    """Write the settings of the running servers for `flask` commands in this checkout."""
    lines = [
        f"{name}={_quoted(environment[name])}\n"
        for name in SHARED_SETTINGS
        if environment.get(name)
    ]
    RUNNING_ENV.touch(mode=0o600)
    RUNNING_ENV.write_text("".join(lines))
    try:
        yield
    finally:
        RUNNING_ENV.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    """Quote a value for python-dotenv, which does not read it as a shell does."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _prepare(environment: dict[str, str], *, owns_redis: bool) -> None:
    """Bring the tables up to date, and fill an empty catalogue.

    Take a Redis that this command has started, whose data may be those of another database: the one
    of another version of PostgreSQL, or one that the settings named.
    """
    app = create_app(environment)
    with app.app_context():
        try:
            flask_migrate.upgrade(str(ROOT / "migrations").replace("%", "%%"))  # for configparser
            if owns_redis:
                redis_connection().claim(cache.installation.identity(), by_force=True)
            if catalogue_is_empty():
                say("filling the catalogue with demo data")
                fill(DEMO_PRODUCTS, DEMO_SEED, DEMO_ORDERS)
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", error)
            raise EmbeddedError(f"the database cannot be prepared: {reason}") from None
        finally:
            db.engine.dispose()


def _await_answer(port: int, service: SupervisedProcess, stop: StopFlag) -> None:
    deadline = time.monotonic() + START_SECONDS
    while service.exit_status() is None and not stop.wait(0.1):
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


def _banner(
    port: int, environment: dict[str, str], children: list[Server | SupervisedProcess]
) -> str:
    key = environment.get("ADMIN_API_KEY_FILE")
    lines = [
        f"\n  {child.name:<15} {child.shell}" for child in children if isinstance(child, Server)
    ]
    lines.append("\n  commands        .venv/bin/flask --help   (in another terminal)\n")
    shown = f"$(cat {shlex.quote(key)})" if key else "$ADMIN_API_KEY"
    return BANNER.format(port=port, key=shown, servers="".join(lines))


if __name__ == "__main__":
    main()
