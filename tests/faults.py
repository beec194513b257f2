"""Faults of servers at a chosen moment: a statement, a commit, a request, an answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg2
from conftest import Relay
from sqlalchemy import event, text

from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Shop
    from sqlalchemy import Engine

    from dev.embedded.servers import Postgres

LOSE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"  # ms: it waits
LOSE += " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"


def engine_of(shop: Shop) -> Engine:
    with shop.app.app_context():
        return db.engine


def execute(shop: Shop, statement: str, **values: Any) -> None:
    with engine_of(shop).begin() as connection:
        connection.execute(text(statement), values)


@contextmanager
def locked(postgres: Postgres, statement: str) -> Iterator[Any]:
    """Hold what a statement locks, as an operator's transaction does."""
    connection = psycopg2.connect(postgres.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            yield cursor
    finally:
        connection.rollback()  # returns when the locks are free
        connection.close()


@contextmanager
def before_statement(engine: Engine, part: str, action: Callable[[], Any]) -> Iterator[None]:
    """Act once, before the first statement with this part is sent."""
    with _once(engine, "before_cursor_execute", part, action):
        yield


@contextmanager
def after_statement(engine: Engine, part: str, action: Callable[[], Any]) -> Iterator[None]:
    """Act once, after the first statement with this part was answered."""
    with _once(engine, "after_cursor_execute", part, action):
        yield


@contextmanager
def before_commit(engine: Engine, action: Callable[[], Any]) -> Iterator[None]:
    """Act once, before the first COMMIT is sent."""
    with _once(engine, "commit", "", action):
        yield


@contextmanager
def _once(engine: Engine, name: str, part: str, action: Callable[[], Any]) -> Iterator[None]:
    left = [action]

    def act(_connection: Any, _cursor: Any = None, statement: str = "", *_: Any) -> None:
        if left and part in statement:
            left.pop()()

    event.listen(engine, name, act)
    try:
        yield
    finally:
        event.remove(engine, name, act)
    assert not left, f"no such moment: {part or name}"


def lose_all_connections(postgres: Postgres) -> None:
    """Let PostgreSQL end the connections of all clients."""
    connection = psycopg2.connect(postgres.url)
    with connection.cursor() as cursor:
        cursor.execute(LOSE)
    connection.close()


class HoldingRelay(Relay):
    """A relay that can hold back answers of a server, and lose a request."""

    def __init__(self, target: Path) -> None:
        self.reached = threading.Event()  # where it was to stop
        self._stop: tuple[bytes, ...] = ()
        self._at_stop = self.hold
        self._go_on = threading.Event()
        self._go_on.set()
        super().__init__(target)

    def hold(self) -> None:
        """Hold back answers from now on."""
        self._go_on.clear()

    def stop_before(self, *words: bytes) -> None:
        """Lose the request that has the last of these words, after requests with the others."""
        self._stop, self._at_stop = words, self.forget

    def stop_after(self, *words: bytes) -> None:
        """Hold back the answer to the request that has the last of these words."""
        self._stop, self._at_stop = words, self.hold

    def let_go(self) -> None:
        self._go_on.set()

    def close(self) -> None:
        self.let_go()
        super().close()

    def _is_last(self, request: bytes) -> bool:
        if self._stop and self._stop[0] in request:
            self._stop = self._stop[1:]
            return not self._stop
        return False

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source.family == socket.AF_UNIX:
                    self._go_on.wait()
                    is_last = False
                elif is_last := self._is_last(data):
                    self._at_stop()
                if source not in self._forgotten:
                    target.sendall(data)
                if is_last:
                    self.reached.set()
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def holding_relay(target: Path) -> Iterator[HoldingRelay]:
    made = HoldingRelay(target)
    try:
        yield made
    finally:
        made.close()
