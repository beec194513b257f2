"""A PostgreSQL with a standby that streams from it, to fail over to."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import psycopg2

from dev.embedded.servers import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.embedded.home import Home


class Primary(Postgres):
    """A PostgreSQL that can be asked, and killed."""

    def __init__(self, home: Home) -> None:
        super().__init__(home, durable=False)

    def ask(self, statement: str) -> Any:
        """Run a statement, in no transaction, and return its first value, if it has one."""
        with self.session() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row and row[0]

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Yield a cursor of a session of its own, in which each statement is committed."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def crash(self) -> None:
        """Kill the process of one session, and return when the server has begun to recover.

        Until it has noticed, it takes new sessions. It recovers once it has ended all others.
        """
        with suppress(psycopg2.OperationalError), self.session() as ended_by_the_server:
            with self.session() as killed:
                os.kill(killed.connection.info.backend_pid, signal.SIGKILL)
            while True:
                ended_by_the_server.execute("SELECT 1")

    def kill(self) -> None:
        """End the server as a crash does."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        self.stop()


class Standby(Primary):
    """A hot standby of a primary that runs."""

    def __init__(self, home: Home, primary: Primary) -> None:
        super().__init__(home)
        self._primary = primary

    def promote(self) -> None:
        """Let this be a primary, which has what it has received so far."""
        assert self.ask("SELECT pg_promote()")

    def stop_receiving(self) -> None:
        """Stop receiving: later commits of the primary are lost by `promote`."""
        with self.session() as cursor:
            cursor.execute("ALTER SYSTEM SET primary_conninfo = ''")
            cursor.execute("SELECT pg_reload_conf()")
        while self.ask("SELECT count(*) FROM pg_stat_wal_receiver"):
            pass

    def catch_up(self) -> None:
        """Return when this has replayed all that the primary has committed."""
        assert self.ask("SELECT pg_is_in_recovery()")
        position = self._primary.ask("SELECT pg_current_wal_insert_lsn()")
        while not self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{position}'"):
            pass

    def _initdb_command(self, directory: Path, data: Path) -> list[str]:
        return [
            str(self._home.runnable(directory / "pg_basebackup")),
            *("-d", f"postgresql://shop@/?host={quote(str(self._primary.socket.parent))}"),
            *("-D", str(data), "--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        ]


class Replicated(NamedTuple):
    primary: Primary
    standby: Standby
