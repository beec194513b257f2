"""The servers of a run: PostgreSQL, Redis, and one process group for each contender."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
import redis

from dev.embedded import EmbeddedError
from dev.embedded.home import Home
from dev.embedded.servers import Postgres, Redis, SupervisedProcess

from . import BenchError, machine
from .contenders import PROGRAMS, ROOT, Contender

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .wrk import Request

START_SECONDS = 60
CONNECTIONS = 400  # of PostgreSQL: all contenders run at once


class Answer(NamedTuple):
    status: int
    etag: str | None
    body: bytes


@dataclass(frozen=True)
class Served:
    """A contender that runs."""

    contender: Contender
    port: int
    program: SupervisedProcess
    log: Path
    store: redis.Redis  # its own database

    def ask(self, requests: Iterable[Request]) -> list[Answer]:
        """Send requests over one connection, one after the other."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        answers = []
        with contextlib.closing(connection):
            for method, address, headers, body in requests:
                more = {"Content-Type": "application/json"} if body else {}
                connection.request(method, address, body or None, headers | more)
                with connection.getresponse() as response:
                    etag = response.headers["ETag"]
                    answers.append(Answer(response.status, etag, response.read()))
        return answers

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.program.pid)

    def redis_work(self) -> tuple[float, int]:
        """Return the CPU time that Redis has used, and the calls it has read, of all contenders."""
        said: Any = self.store.info()
        return said["used_cpu_user"] + said["used_cpu_sys"], said["total_reads_processed"]


class Stage:
    """PostgreSQL with a catalogue, and Redis."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._postgres = Postgres(home, durable=False)
        self._redis = Redis(home, durable=False)

    @property
    def database_url(self) -> str:
        return self._postgres.url

    @property
    def redis_url(self) -> str:
        return self._redis.url

    def processes(self) -> dict[str, int]:
        """Return the process ids of the servers, by name."""
        servers = (self._postgres, self._redis)
        return {server.name: server.pid for server in servers if server.pid}

    @contextmanager
    def databases(self, cores: set[int]) -> Iterator[None]:
        """Run both on these cores; Redis is empty, PostgreSQL keeps its catalogue."""
        with ExitStack() as stack:
            for server in (self._postgres, self._redis):
                stack.callback(server.stop)
                with machine.pinned(cores):
                    server.start()
            yield

    def fill(self, products: int) -> None:
        """Make the tables, and a catalogue of so many products."""
        print(f"filling a catalogue of {products:,} products ...", flush=True)
        self.flask("db", "upgrade")
        self.flask("seed", "--products", str(products), "--replace", "--yes")
        connection = psycopg2.connect(self._postgres.url)
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE products")
            cursor.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")

    def flask(self, *arguments: str) -> None:
        """Run a command of the product. Raises BenchError if it fails."""
        environment = os.environ | {
            "DATABASE_URL": self._postgres.url,
            "REDIS_URL": self._redis.url,
            "LOG_LEVEL": "WARNING",
        }
        run = subprocess.run(  # noqa: S603
            [str(PROGRAMS / "flask"), *arguments],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,  # the rest, how far it is, is shown
            text=True,
            check=False,
        )
        if run.returncode:
            said = run.stderr.strip().splitlines() or ["nothing"]
            raise BenchError(f"flask {arguments[0]} failed: {said[-1]}")

    @contextmanager
    def serve(
        self, contenders: Iterable[Contender], workers: int, cores: set[int]
    ) -> Iterator[list[Served]]:
        """Run the contenders, all at once, each with a Redis database of its own."""
        with ExitStack() as stack:
            served = []
            for number, contender in enumerate(contenders):
                with machine.pinned(cores):
                    served.append(self._start(contender, workers, number))
                stack.callback(served[-1].program.stop)
                stack.callback(served[-1].store.close)
            for one in served:
                _await_answer(one)
            _await_idle()
            yield served

    def _start(self, contender: Contender, workers: int, number: int) -> Served:
        port = _free_port()
        log = self._home.path / f"server-{number}.log"
        database = self._redis.url.replace("db=0", f"db={number}")
        environment = os.environ | contender.settings(self._postgres.url, database, workers)
        command = [argument.format(port=port) for argument in contender.command]
        program = SupervisedProcess(
            contender.name,
            command,
            environment=environment,
            directory=contender.directory,
            log=log,
        )
        return Served(contender, port, program, log, redis.from_url(database))


@contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="shop-bench-") as path:
        Path(path).chmod(0o755)  # PostgreSQL's own account has to get in
        try:
            yield Stage(Home.at(Path(path)))
        except EmbeddedError as error:
            raise BenchError(str(error)) from None


def _free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_answer(served: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        connection = HTTPConnection("127.0.0.1", served.port, timeout=5)
        try:
            connection.request("GET", "/products/1")
            connection.getresponse()
        except (OSError, HTTPException):
            if served.program.exit_status() is not None or time.monotonic() > deadline:
                said = served.log.read_text().strip().splitlines() or ["nothing"]
                name = served.contender.name
                raise BenchError(f"{name} does not answer; it said: {said[-1]}") from None
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()


def _await_idle() -> None:
    """Return when the servers have started all their workers, and rest."""
    deadline = time.monotonic() + START_SECONDS
    used = -1.0
    while (now := machine.cpu_seconds(os.getpid())) - used > 0.05:  # noqa: PLR2004  (seconds)
        if time.monotonic() > deadline:
            print("the servers do not come to rest; measuring all the same", file=sys.stderr)
            return
        used = now
        time.sleep(0.5)
