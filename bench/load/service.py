"""The product as in production, on servers of its own, with a fresh catalogue."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import requests

from bench import BenchError
from dev.embedded.home import Home
from dev.embedded.servers import Postgres, Redis, Server, SupervisedProcess
from shop.config import ROOT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(sys.executable).parent
START_SECONDS = 60
ADMIN_KEY = "the-key-of-the-load-report"
# An empty value counts as not set, so that neither .env nor a `make run` has a say.
DEFAULTS = {field.name.upper(): "" for field in dataclasses.fields(Settings)}


@dataclass(frozen=True)
class Service:
    url: str
    database_url: str
    redis_url: str | None  # None: without Redis
    children: dict[str, SupervisedProcess | Server]  # workers, postgresql, redis
    directory: Path

    def run(self, name: str, command: list[str], **settings: str) -> SupervisedProcess:
        """Start a program that logs into the service's directory."""
        log = self.directory / f"{name}.log"
        environment = os.environ | settings
        return SupervisedProcess(name, command, environment=environment, directory=ROOT, log=log)


@contextmanager
def serve(products: int, *, with_redis: bool) -> Iterator[Service]:
    """Serve a catalogue of so many products; everything is gone when the context ends."""
    with TemporaryDirectory(prefix="shop-load-") as path, ExitStack() as stack:
        Path(path).chmod(0o755)  # for the servers' account
        home = Home.at(Path(path))
        postgres, redis = Postgres(home), Redis(home)
        servers = (postgres, redis) if with_redis else (postgres,)
        for server in servers:
            stack.callback(server.stop)
            server.start()
        settings = DEFAULTS | {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "REDIS_ENABLED": str(with_redis).lower(),
            "ADMIN_API_KEY": ADMIN_KEY,
            "METRICS_OPEN": "true",
            "TRUSTED_PROXIES": "1",
            "WEB_CONCURRENCY": str(os.cpu_count()),  # gunicorn reads it as well
        }
        _flask(settings, "db", "upgrade")
        _flask(settings, "seed", "--products", str(products))
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        children: dict[str, SupervisedProcess | Server] = {
            server.name: server for server in servers
        }
        redis_url = redis.url if with_redis else None
        service = Service(url, postgres.url, redis_url, children, home.path)
        gunicorn = [str(PROGRAMS / "gunicorn"), "wsgi:app", "--bind", f"127.0.0.1:{port}"]
        children["workers"] = workers = service.run("gunicorn", gunicorn, **settings)
        stack.callback(workers.stop)
        _await_answer(service)
        yield service


def _flask(settings: dict[str, str], *arguments: str) -> None:
    command = [str(PROGRAMS / "flask"), *arguments]
    run = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise BenchError(f"flask {arguments[0]} failed: {last_line(run.stderr)}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            requests.get(f"{service.url}/readyz", timeout=5)
        except requests.RequestException:
            if service.children["workers"].exit_status() is not None or time.monotonic() > deadline:
                log = (service.directory / "gunicorn.log").read_text(encoding="utf-8")
                raise BenchError(f"the service does not answer: {last_line(log)}") from None
            time.sleep(0.1)
        else:
            return


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it says nothing"])[-1]
