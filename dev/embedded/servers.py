"""Start, await and stop PostgreSQL and Redis."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import psycopg2
import redis

from . import EmbeddedError, programs

if TYPE_CHECKING:
    from .home import Home

SUPERVISOR = Path(__file__).with_name("supervisor.py")
START_SECONDS = 120
# The service logs the errors of its statements. PostgreSQL's own log would also have their values
# and rows, which are customers' data.
LOG_WITHOUT_VALUES = (
    *("-c", "log_min_messages=log", "-c", "log_min_error_statement=panic"),
    *("-c", "log_error_verbosity=terse"),
)


class SupervisedProcess:
    """A program under a supervisor, which stops it when this process ends."""

    def __init__(  # noqa: PLR0913  (each is one property of a process)
        self,
        name: str,
        command: list[str],
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        account: tuple[int, int] | None = None,
        log: Path | None = None,
        lock: int | None = None,
        environment: dict[str, str] | None = None,
        directory: Path = Path("/"),
    ) -> None:
        self.name = name
        account_argument = "-" if account is None else "{}:{}".format(*account)
        supervisor = [
            sys.executable,
            "-I",
            str(SUPERVISOR),
            str(int(stop_signal)),
            account_argument,
        ]
        output = _private_log(log) if log else None
        self._process = subprocess.Popen(  # noqa: S603
            [*supervisor, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops all in order
            pass_fds=() if lock is None else (lock,),
            env=environment,
            cwd=directory,
        )
        if output:
            output.close()

    @property
    def pid(self) -> int:
        """Return the process id of the supervisor, whose child is the program."""
        return self._process.pid

    def exit_status(self) -> int | None:
        """Return the program's exit status, or None while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """Stop the program, wait for its end, and return its exit status."""
        if self._process.stdin:
            self._process.stdin.close()
        return self._process.wait()


def _private_log(path: Path) -> IO[bytes]:
    """Open a log that only this account can read, also if the file was open to others."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


class Server:
    """A database server in a home of its own."""

    name: str
    setting: str
    stop_signal: signal.Signals

    def __init__(self, home: Home, *, durable: bool = True, lock: int | None = None) -> None:
        """With `durable=False`, the server is faster, and a crash of the machine loses data."""
        self._home = home
        self._durable = durable
        self._lock = lock
        self._sockets = home.sockets()
        self._log = home.path / f"{self.name}.log"
        self._program: SupervisedProcess | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._program = SupervisedProcess(
            self.name,
            self._command(),
            stop_signal=self.stop_signal,
            account=self._home.account,
            log=self._log,
            lock=self._lock,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._program.exit_status() is not None or time.monotonic() > deadline:
                self.stop()
                raise EmbeddedError(f"{self.name} did not start: {self._log} says why")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._program:
            self._program.stop()

    @property
    def pid(self) -> int | None:
        """Return the process id of the server's supervisor, None before the start."""
        return self._program.pid if self._program else None

    def exit_status(self) -> int | None:
        """Return the server's exit status, or None while it runs or was not started."""
        return self._program.exit_status() if self._program else None

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def shell(self) -> str:
        """Return the command that opens a shell on the server."""
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


class Postgres(Server):
    """PostgreSQL with one empty database, `shop`, at `url`."""

    name = "postgresql"
    setting = "DATABASE_URL"
    stop_signal = signal.SIGINT  # "fast shutdown": ends sessions, loses nothing

    @property
    def url(self) -> str:
        return f"postgresql://shop@/shop?host={quote(str(self._sockets))}"

    @property
    def shell(self) -> str:
        return f"psql {shlex.quote(self.url)}"

    @property
    def socket(self) -> Path:
        return self._sockets / ".s.PGSQL.5432"

    @property
    def data(self) -> Path:
        _, version = programs.find_postgres()
        return self._home.path / f"postgresql-{version}"

    def _command(self) -> list[str]:
        directory, _ = programs.find_postgres()
        data = self.data
        if not data.exists():
            self._initialise(directory, data)
        fast = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        return [
            str(self._home.runnable(directory / "postgres")),
            *("-D", str(data), "-k", str(self._sockets), "-h", "", *LOG_WITHOUT_VALUES),
            *(_statement_statistics(directory) if self._durable else fast),
        ]

    def _initialise(self, directory: Path, data: Path) -> None:
        """Make the data directory under another name first, so that no unfinished one is used."""
        unfinished = self._home.path / f"{data.name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._home.directory(unfinished.name)
        command = self._initdb_command(directory, unfinished)
        name = Path(command[0]).name
        initdb = SupervisedProcess(
            name, command, account=self._home.account, log=self._log, lock=self._lock
        )
        try:
            while initdb.exit_status() is None:
                time.sleep(0.05)
        finally:  # the caller may delete the home after an interrupt
            status = initdb.stop()
        if status != 0:
            raise EmbeddedError(f"{name} failed: {self._log} says why")
        unfinished.rename(data)

    def _initdb_command(self, directory: Path, data: Path) -> list[str]:
        """Return the command that makes a data directory."""
        return [
            str(self._home.runnable(directory / "initdb")),
            *("-D", str(data), "-U", "shop", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-instructions"),
            *([] if self._durable else ["--no-sync"]),
        ]

    def _answers(self) -> bool:
        try:
            connection = psycopg2.connect(host=str(self._sockets), user="shop", dbname="postgres")
        except psycopg2.OperationalError:
            return False
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_database WHERE datname = 'shop'")
            if not cursor.rowcount:
                cursor.execute("CREATE DATABASE shop")
        connection.close()
        return True


def _statement_statistics(programs_directory: Path) -> list[str]:
    """Return the options that let PostgreSQL count statements, for `make monitor`, if it can."""
    if not list((programs_directory.parent / "lib").glob("pg_stat_statements.*")):
        return []
    # The texts of other statements than queries and writes keep their constants.
    return [
        *("-c", "shared_preload_libraries=pg_stat_statements"),
        *("-c", "pg_stat_statements.track_utility=off"),
    ]


class Redis(Server):
    """Redis or Valkey, configured as in production: 256 MB, LRU eviction, append-only file."""

    name = "redis"
    setting = "REDIS_URL"
    stop_signal = signal.SIGTERM

    @property
    def socket(self) -> Path:
        return self._sockets / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    @property
    def shell(self) -> str:
        return f"redis-cli -s {shlex.quote(str(self.socket))}"

    def _command(self) -> list[str]:
        return [
            str(self._home.runnable(programs.find_redis())),
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self._home.directory("redis"))),
            *("--appendonly", "yes" if self._durable else "no", "--save", ""),
            *("--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"),
        ]

    def _answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
