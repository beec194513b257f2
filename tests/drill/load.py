"""Readers and a writer while something happens to the servers, and what they saw.

    with Load([service.url], key) as load:
        kill(master)
        load.await_well()
    assert not load.saw.stale

The writer counts a product's stock up, and notes what it is about to write and what has been
acknowledged. A read that shows less than what had been acknowledged when it began is stale.
Half of the readers keep their connections, the others make one for each request.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

PRODUCTS = (1, 2, 3)
PATHS = [*(f"/products/{one}" for one in PRODUCTS), "/products?limit=10", "/products?sort=price"]
READERS = 4
PAUSE = 0.002  # seconds between two requests of one thread
WELL_READS = 50  # hits in a row, after which all is taken to be well
WELL_SECONDS = 60
UNREACHABLE = (OSError, http.client.HTTPException)


@dataclass
class Saw:
    """The results of one drill."""

    reads: int = 0
    writes: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # by method and status
    stale: list[str] = field(default_factory=list)
    longest: float = 0  # seconds of a read
    bypass: set[int] = field(default_factory=set)  # tenths of seconds with such an answer
    without_writes: float = 0  # seconds between two that were carried out

    def cells(self) -> list[str]:
        failed = ", ".join(f"{n} {what}" for what, n in sorted(self.failed.items()))
        return [
            f"{self.reads + self.writes}",
            failed or "0",
            f"{len(self.stale)}",
            f"{self.longest * 1000:.0f}",
            f"{len(self.bypass) / 10:.1f}",
            f"{self.without_writes:.1f}",
        ]


class Client:
    """One connection at a time to a service."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = kind[parts.scheme](str(parts.hostname), parts.port, timeout=60)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any, str]:
        """Return the status, 0 if there was no answer, the document and `X-Cache`."""
        sent = None if body is None else json.dumps(body)
        headers = {} if body is None else self._headers
        try:
            self._connection.request(method, path, sent, headers)
            answer = self._connection.getresponse()
            data = answer.read()
        except UNREACHABLE:
            self._connection.close()
            return 0, None, ""
        is_document = "json" in (answer.getheader("Content-Type") or "")  # else of a proxy
        document = json.loads(data) if is_document else None
        return answer.status, document, answer.getheader("X-Cache") or ""

    def close(self) -> None:
        self._connection.close()


class Load:
    """Use several services, which may be one."""

    def __init__(self, urls: Sequence[str], key: str, *, keeps: bool = True) -> None:
        """Load services; `keeps`: some clients keep their connections."""
        self.saw = Saw()
        self._keeps = keeps
        self._key = key
        self._urls = urls
        self._begun = dict.fromkeys(PRODUCTS, 0)
        self._done = dict.fromkeys(PRODUCTS, 0)
        self._hits = 0  # in a row
        self._written = 0  # in a row
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write)]
        self._threads += [threading.Thread(target=self._read, args=[n]) for n in range(READERS)]

    def __enter__(self) -> Self:
        with closing(Client(self._urls[0], self._key)) as client:
            self._prepare(client)
        for thread in self._threads:
            thread.start()
        self.await_well()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _prepare(client: Client) -> None:
        assert client.request("POST", "/categories", {"name": "Drill"})[0] == HTTPStatus.CREATED
        for one in PRODUCTS:
            fields = {"name": f"Drill {one}", "price": 1, "stock": 0, "category_id": 1}
            assert client.request("POST", "/products", fields)[0] == HTTPStatus.CREATED

    def await_well(self) -> None:
        """Wait until reads are hits again and writes are carried out, all the time."""
        with self._lock:
            self._hits = self._written = 0
        ends = time.monotonic() + WELL_SECONDS
        while self._hits < WELL_READS or self._written < WELL_READS:
            assert time.monotonic() < ends, f"not well after {WELL_SECONDS} s: {self.saw}"
            time.sleep(0.02)

    @contextmanager
    def _clients(self) -> Iterator[Iterator[Client]]:
        """Take the services in turn."""
        clients = [Client(url, self._key) for url in self._urls]
        try:
            yield cycle(clients)
        finally:
            for client in clients:
                client.close()

    def expect(self, stocks: dict[int, int]) -> None:
        """Count these alone as acknowledged: what a database has that lost the rest."""
        with self._lock:
            self._done |= {one: stocks[one] for one in PRODUCTS}

    def _write(self) -> None:
        with self._clients() as clients:
            self._write_by(clients)

    def _write_by(self, clients: Iterator[Client]) -> None:
        last = time.monotonic()
        for one in cycle(PRODUCTS):
            if self._stop.wait(PAUSE):
                return
            self._begun[one] += 1
            number = self._begun[one]
            path = f"/products/{one}"
            client = next(clients)
            status, _, _ = client.request("PATCH", path, {"stock": number})
            if not self._keeps:
                client.close()
            with self._lock:
                self.saw.writes += 1
                if status == HTTPStatus.OK:
                    self._done[one] = number
                    self._written += 1
                    last, before = time.monotonic(), last
                    self.saw.without_writes = max(self.saw.without_writes, last - before)
                else:
                    self._written = 0
                    self.saw.failed[f"PATCH {status}"] += 1

    def _read(self, number: int) -> None:
        with self._clients() as clients:
            self._read_by(clients, number)

    def _read_by(self, clients: Iterator[Client], number: int) -> None:
        paths = cycle(PATHS[number % len(PATHS) :] + PATHS[: number % len(PATHS)])
        while not self._stop.wait(PAUSE):
            path, floors, began = next(paths), dict(self._done), time.monotonic()
            client = next(clients)
            status, document, outcome = client.request("GET", path)
            took = time.monotonic() - began
            if number % 2 or not self._keeps:
                client.close()
            with self._lock:
                self.saw.reads += 1
                self.saw.longest = max(self.saw.longest, took)
                if status != HTTPStatus.OK:
                    self.saw.failed[f"GET {status}"] += 1
                    self._hits = 0
                    continue
                if outcome == "BYPASS":
                    self.saw.bypass.add(int(began * 10))
                    self._hits = 0
                elif outcome == "HIT":
                    self._hits += 1
                self._judge(path, document, floors)

    def _judge(self, path: str, document: Any, floors: dict[int, int]) -> None:
        for row in document.get("items", [document]):
            with suppress(KeyError):
                floor, most, found = floors[row["id"]], self._begun[row["id"]], row["stock"]
                if not floor <= found <= most:
                    self.saw.stale.append(f"{path}: {row['id']} has {found}, not {floor} to {most}")
