"""The servers that a million products are found on, and who asks them."""

from __future__ import annotations

import os
import time
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING, NamedTuple

import psycopg2

from bench import BenchError, machine, versions
from bench.contenders import ROOT, product
from bench.stage import Served, Stage
from dev.embedded import EmbeddedError
from dev.embedded.home import Home

from . import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

SOME_NAMES = """
    SELECT name
      FROM (SELECT DISTINCT 1 + floor(random() * most)::int AS id
              FROM (SELECT max(id) AS most FROM products) AS newest, generate_series(1, 5000))
               AS drawn
      JOIN products USING (id) WHERE active
"""
SERVICE = product("edge", log="WARNING")


class Found(NamedTuple):
    """An answer, and how long it took."""

    milliseconds: float
    waited: float  # milliseconds of these that a part of the service had no core
    body: bytes
    outcome: str  # X-Cache
    next: str | None  # the address of the page that follows


class Ground:
    """A service over a catalogue, and one connection to it."""

    def __init__(self, stage: Stage, served: Served) -> None:
        self.served = served
        self._stage = stage
        self._connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
        self._processes = [served.program.pid, *stage.processes().values()]
        self._waits = machine.Waits(self._processes)

    def close(self) -> None:
        self._connection.close()
        self._waits.close()

    def look_anew(self) -> None:
        """Take notice of the threads that have come."""
        self._waits.close()
        self._waits = machine.Waits(self._processes)

    def ask(self, address: str) -> Found:
        """Send one request. Raises BenchError unless it is answered with 200."""
        waited, began = self._waits.milliseconds(), time.perf_counter()
        self._connection.request("GET", address)
        with self._connection.getresponse() as response:
            body = response.read()
            milliseconds = 1000 * (time.perf_counter() - began)
            waited = self._waits.milliseconds() - waited
        if response.status != HTTPStatus.OK:
            raise BenchError(f"{response.status} for {address}: {body[:300].decode()}")
        link = response.headers.get("Link", "").partition(">")[0].removeprefix("<")
        return Found(milliseconds, waited, body, response.headers.get("X-Cache", ""), link or None)

    def ask_cold(self, address: str, keep: str | None = None) -> Found:
        """Ask what nothing has cached, not even a row, but for entries whose names begin so.

        Raises BenchError if it was a hit.
        """
        store = self.served.store
        if keep is None:
            store.flushdb()
        else:
            names: Iterator[bytes] = store.scan_iter()
            for name in names:
                if not name.startswith(keep.encode()):
                    store.delete(name)
        found = self.ask(address)
        if found.outcome != "MISS":
            raise BenchError(f"{found.outcome or 'no cached answer'} instead of MISS: {address}")
        return found

    def names(self) -> list[str]:
        """Return the names of some active products."""
        connection = psycopg2.connect(self._stage.database_url)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(SOME_NAMES)
            return [name for (name,) in cursor.fetchall()]

    def versions(self) -> dict[str, str]:
        return versions.of_servers(self._stage.database_url, self._stage.redis_url)

    def cpu_seconds(self) -> dict[str, float]:
        """Return what the service and each server have used."""
        return machine.cpu_seconds_by_name(
            {"service": self.served.program.pid, **self._stage.processes()}
        )


@contextmanager
def ground(products: int) -> Iterator[Ground]:
    """Serve a catalogue of so many products, made anew unless it is there from a run before."""
    home = _home(products)
    cores = set(os.sched_getaffinity(0))
    try:
        with home.locked():
            stage = Stage(home)
            with stage.databases(cores):
                if not catalogue.is_kept(stage.database_url, products):
                    print(f"making a catalogue of {products:,} products, once ...", flush=True)
                    catalogue.make(stage, products)
                with stage.serve([SERVICE], 1, cores) as [served]:
                    this = Ground(stage, served)
                    with closing(this):
                        yield this
    except (EmbeddedError, psycopg2.Error) as error:
        raise BenchError(str(error).strip().splitlines()[0]) from None


def _home(products: int) -> Home:
    """Return a home within that of `make run`, with which `make clean` deletes it."""
    return Home.at(Home.at(ROOT / "instance").path / f"bench-search-{products}")
