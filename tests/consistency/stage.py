"""The servers that the checker runs against, and what can go wrong with them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psycopg2
import redis
from ports import free_port

from dev.embedded.home import Home
from dev.embedded.servers import Postgres, Redis, SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
KEY = "a-key-for-the-consistency-checker"
WORKERS = 4
SHOP, PLAIN = "wsgi:app", "plain:app"


class Stage:
    """PostgreSQL behind a proxy that delays, Redis with its append-only file, gunicorn."""

    def __init__(self, home: Home, application: str, stack: ExitStack, *, edge: bool) -> None:
        self._stack = stack
        self.redis = Redis(home)
        self.postgres = Postgres(home, durable=False)
        self.log = home.path / "gunicorn.log"
        self._master = home.path / "gunicorn.pid"
        for server in (self.redis, self.postgres):
            server.start()
            stack.callback(server.stop)
        proxy, port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        database = str(self.postgres.socket)
        self._start("proxy", [sys.executable, str(HERE / "proxy.py"), str(proxy), database])
        environment = os.environ | {
            "DATABASE_URL": f"postgresql://shop@127.0.0.1:{proxy}/shop",
            "REDIS_URL": self.redis.url,
            "ADMIN_API_KEY": KEY,
            "RATE_LIMIT_ENABLED": "false",
            "EDGE_ENABLED": str(edge).lower(),
            "WEB_CONCURRENCY": str(WORKERS),
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": f"{ROOT}:{HERE}",
        }
        flask = Path(sys.executable).with_name("flask")
        subprocess.run(
            [flask, "db", "upgrade"], cwd=ROOT, env=environment, check=True, capture_output=True
        )
        gunicorn = str(Path(sys.executable).with_name("gunicorn"))
        command = [gunicorn, application, "--bind", f"127.0.0.1:{port}"]
        if application != SHOP:
            command += ["--workers", str(WORKERS), "--threads", "4"]
        command += ["--pid", str(self._master)]
        self._start("gunicorn", command, environment, ROOT if application == SHOP else HERE)
        deadline = time.monotonic() + 120
        while len(self.workers()) < WORKERS or not self._answers():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _start(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        program = SupervisedProcess(
            name, command, environment=environment, directory=directory, log=self.log
        )
        self._stack.callback(program.stop)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/health_check", timeout=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False

    def workers(self) -> list[int]:
        """Return the process ids of gunicorn's workers."""
        if not self._master.exists():
            return []
        found = subprocess.run(
            ["pgrep", "-P", self._master.read_text().strip()],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(one) for one in found.stdout.split()]

    @contextmanager
    def client(self) -> Iterator[Any]:
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as client:
            yield client

    def empty(self) -> None:
        """Delete the catalogue, and all that Redis has of it."""
        with psycopg2.connect(self.postgres.url) as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE products, categories, cache_outbox RESTART IDENTITY CASCADE")
        connection.close()
        with self.client() as client:
            client.flushall()

    # Faults. Each returns when it is over.

    def kill_a_worker(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(random.choice(self.workers()), signal.SIGKILL)

    def kill_redis(self) -> None:
        """Kill Redis; it comes back with the content of its append-only file."""
        with self.client() as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        self.redis.stop()
        time.sleep(random.uniform(0, 0.5))
        self.redis.start()

    def flush_redis(self) -> None:
        with self.client() as client:
            client.flushall()

    def pause_redis(self) -> None:
        milliseconds = random.choice([50, 120, 150, 200, 300, 900])
        with self.client() as client:
            client.execute_command("CLIENT", "PAUSE", milliseconds, random.choice(["ALL", "WRITE"]))
        time.sleep(milliseconds / 1000)

    def hang_redis(self) -> None:
        with self.client() as client:
            process = client.info("server")["process_id"]
        os.kill(process, signal.SIGSTOP)
        time.sleep(random.choice([0.05, 0.12, 0.15, 0.2, 0.3, 0.9]))
        os.kill(process, signal.SIGCONT)

    def cut_connections(self) -> None:
        with self.client() as client:
            for _ in range(3):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.05)

    def hide_redis(self) -> None:
        """Cut Redis off for a while; it lives on, and keeps its data."""
        hidden = self.redis.socket.with_name("hidden.sock")
        with self.client() as client:
            client.ping()
            self.redis.socket.rename(hidden)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(random.uniform(0.1, 1.0))
            hidden.rename(self.redis.socket)

    def squeeze_redis(self) -> None:
        """Leave Redis room for a few entries, so that it evicts keys."""
        with self.client() as client:
            policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
            client.config_set("maxmemory-policy", "allkeys-random")
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 2000)
            time.sleep(0.5)
            client.config_set("maxmemory", "256mb")
            client.config_set("maxmemory-policy", policy)

    def restart_postgres(self) -> None:
        self.postgres.stop()
        self.postgres.start()


FAULTS_OF_REDIS: dict[str, Callable[[Stage], None]] = {
    "Redis killed, back with its file": Stage.kill_redis,
    "Redis flushed": Stage.flush_redis,
    "Redis paused": Stage.pause_redis,
    "Redis hanging": Stage.hang_redis,
    "connections to Redis cut": Stage.cut_connections,
    "Redis unreachable for all": Stage.hide_redis,
    "Redis out of room": Stage.squeeze_redis,
}
FAULTS = FAULTS_OF_REDIS | {
    "worker killed": Stage.kill_a_worker,
    "PostgreSQL restarted": Stage.restart_postgres,
}


@contextmanager
def stage(application: str = SHOP, *, edge: bool = True) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="shop-check-") as path, ExitStack() as stack:
        Path(path).chmod(0o755)
        yield Stage(Home.at(Path(path)), application, stack, edge=edge)
