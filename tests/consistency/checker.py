"""A black-box checker: readers and writers over HTTP, every read judged.

    report = check(url, seconds=10)
    assert report.reads and not report.stale

Each field that is written has one writer, which counts it up: 1, 2, 3 ... It notes the number
that it is about to write (`begun`), and the number that has been acknowledged (`done`). A reader
notes what is done before it sends its request; an answer with a smaller number is stale. One that
is smaller than what an earlier read has answered, which had ended when this one began, went back:
a write that is not acknowledged yet was seen, and then not. Without faults that does not happen.

Sellers sell products, several in one order, and what is missing of their stock counts up. An order
that is not answered is sent again with its Idempotency-Key, so that each counts once.

Rows that come and go have one owner each: a row must be found, alone and in the list, once its
creation is acknowledged, and must not be found once its deletion is.

Rows that become inactive and active again have one owner each, too, who counts the turns: a row
must be found, alone and in the list, from one acknowledgement to the next change, and then not;
the administrator must find it always, as it is.

Products that go to and fro are found, counted and sorted by lists and searches (`finding.py`).

A read is racing if a write of what it reads was under way at some time between its beginning and
its end. Every document in an answer is judged, and counts as one read.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import random
import secrets
import signal
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawArray
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

PRODUCTS = 36  # rows that stay, whose stock and description are counted up
SOLD = 6  # more of them, of which units are sold
STOCK = 1_000_000  # of each of those, at first
SELLERS = 2
CATEGORIES = 2  # rows that stay, whose names are counted up
CHURNS = 3  # rows that come and go, one after the other
FLIPS = 3  # rows that stay, after those, and become inactive and active again
WRITERS = 20  # that count up
READER_PROCESSES = 2
READER_THREADS = 14
PAUSE = 0.004  # seconds between two writes of one writer
FAULT_PAUSE = 1.0  # seconds between two faults
LIST = "/products?skip=0&limit=100"

# What is counted up: (path, field). The index is that of the shared numbers.
COUNTERS = [
    *((f"/products/{n}", "stock") for n in range(1, PRODUCTS + 1)),
    *((f"/products/{n}", "description") for n in range(1, PRODUCTS + 1)),
    *((f"/categories/{n}", "name") for n in range(1, CATEGORIES + 1)),
    *((f"/products/{n}", "sold") for n in range(PRODUCTS + 1, PRODUCTS + SOLD + 1)),
]
WRITTEN = [i for i, (_, field_name) in enumerate(COUNTERS) if field_name != "sold"]
SALES = [i for i in range(len(COUNTERS)) if i not in WRITTEN]
ROVERS = finding.Rovers(PRODUCTS + SOLD + FLIPS + 1, CATEGORIES + 1)
INDEX = {counter: i for i, counter in enumerate(COUNTERS)}

# What an owner does with its row.
CREATING, THERE, DELETING, GONE = range(4)
# What a turn is, divided by 4, of a row that becomes inactive and active again.
SHOWN, HIDING, HIDDEN, SHOWING = range(4)

UNREACHABLE = (OSError, http.client.HTTPException)
context = multiprocessing.get_context("spawn")


@dataclass
class Report:
    """The findings of the readers."""

    requests: int = 0
    reads: int = 0
    racing: int = 0
    writes: int = 0
    sales: int = 0
    stale: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        self.requests += other.requests
        self.reads += other.reads
        self.racing += other.racing
        self.writes += other.writes
        self.sales += other.sales
        self.stale += other.stale
        self.back += other.back
        self.statuses += other.statuses
        self.outcomes += other.outcomes

    @property
    def of_rovers(self) -> list[str]:
        """Return what was stale of lists and searches."""
        return [one for one in self.stale if ": GET " in one]

    def __str__(self) -> str:
        statuses = ", ".join(f"{n} x {status}" for status, n in sorted(self.statuses.items()))
        outcomes = ", ".join(f"{n} x {outcome}" for outcome, n in sorted(self.outcomes.items()))
        return (
            f"{self.reads} reads in {self.requests} requests, {self.racing} racing, "
            f"{self.writes} writes, {self.sales} sales, "
            f"{len(self.stale)} stale ({len(self.of_rovers)} of what was found), "
            f"{len(self.back)} went back\n"
            f"  answers: {statuses or 'none'} (0: no answer)\n  X-Cache: {outcomes or 'none'}"
        )


class Floor(NamedTuple):
    """The state of a counter before a read."""

    done: int
    seen: int
    begun: int


class Shared:
    """The memory of all processes: numbers, each written by one thread, and the signal to begin."""

    def __init__(self) -> None:
        self.begin = context.Barrier(READER_PROCESSES + 2, timeout=90)
        self.begun = RawArray("q", len(COUNTERS))
        self.done = RawArray("q", len(COUNTERS))
        self.seen = RawArray("q", len(COUNTERS))  # by reads that have ended; may lag
        self.row = RawArray("q", CHURNS)  # the id of an owner's row
        self.phase = RawArray("q", CHURNS)
        self.turn = RawArray("q", FLIPS)
        self.rover = RawArray("q", finding.ROVERS)
        self.sales = RawArray("q", 1)  # whether anything is ordered
        self.rovers_alone = RawArray("q", 1)  # whether nothing else is read
        self.stop = RawArray("q", 1)


class Client:
    """One connection to the service."""

    def __init__(self, url: str, key: str, report: Report) -> None:
        parts = urlsplit(url)
        self._report = report
        self.key = {"Authorization": f"Bearer {key}"}
        self._headers = self.key | {"Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(
            str(parts.hostname), parts.port or 80, timeout=60
        )

    def request(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        more: dict[str, str] | None = None,
    ) -> tuple[int, Any, str | None]:
        """Return status, document and ETag; status 0 if there was no answer."""
        body = None if fields is None else json.dumps(fields)
        headers = (dict(self._headers) if method != "GET" else {}) | (more or {})
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
            data = response.read()
        except UNREACHABLE:
            self._connection.close()
            self._report.statuses[0] += 1
            time.sleep(0.05)
            return 0, None, None
        self._report.statuses[response.status] += 1
        if outcome := response.getheader("X-Cache"):
            self._report.outcomes[outcome] += 1
        return response.status, json.loads(data) if data else None, response.getheader("ETag")

    def close(self) -> None:
        self._connection.close()

    def persist(
        self, method: str, path: str, fields: dict[str, Any] | None, stop: Callable[[], bool]
    ) -> tuple[int, Any]:
        """Repeat until the service has carried it out or refused it; 0 if it is to stop."""
        while not stop():
            status, document, _ = self.request(method, path, fields)
            if status and status < 500:
                return status, document
            time.sleep(0.02)
        return 0, None


def value(path: str, field_name: str, document: dict[str, Any]) -> int:
    if field_name == "sold":
        return STOCK - int(document["stock"])
    number = document[field_name]
    return int(number.partition(" ")[2] or 0) if isinstance(number, str) else int(number)


def count_up(client: Client, shared: Shared, mine: list[int], report: Report) -> None:
    """Write each counter of `mine` in turn, until told to stop."""
    while not shared.stop[0]:
        for i in mine:
            path, name = COUNTERS[i]
            number = shared.begun[i] + 1
            shared.begun[i] = number
            new: Any = number if name == "stock" else f"{path} {number}"
            status, _ = client.persist("PATCH", path, {name: new}, lambda: bool(shared.stop[0]))
            if status == 200:
                shared.done[i] = number
                report.writes += 1
            elif status:
                report.stale.append(f"PATCH {path}: {status}")
            time.sleep(PAUSE)


def sell(client: Client, shared: Shared, mine: list[int], report: Report) -> None:
    """Sell one unit of each product of `mine` in one order, and again."""
    lines = [{"product_id": int(COUNTERS[i][0].split("/")[-1]), "quantity": 1} for i in mine]
    order = {"customer": {"name": "Reader", "email": "reader@example.com"}, "lines": lines}
    while not shared.stop[0]:
        for i in mine:
            shared.begun[i] += 1
        key, status = {"Idempotency-Key": secrets.token_hex(8)}, 0
        random.shuffle(lines)
        while status != 201 and not shared.stop[0]:
            status, _, _ = client.request("POST", "/orders", order, key)
            if status not in {0, 201, 409} and status < 500:
                report.stale.append(f"POST /orders: {status}")
        if status == 201:
            for i in mine:
                shared.done[i] = shared.begun[i]
            report.sales += 1
        time.sleep(PAUSE)


def come_and_go(client: Client, shared: Shared, owner: int, report: Report) -> None:
    """Create a row, leave it there for a moment, delete it, and again."""

    def stopped() -> bool:
        return bool(shared.stop[0])

    while not stopped():
        fields = {"name": f"churn {owner}", "price": 1, "stock": 1, "category_id": 1}
        status, document = client.persist("POST", "/products", fields, stopped)
        if status != 201:
            continue
        shared.row[owner] = document["id"]
        shared.phase[owner] = THERE
        report.writes += 1
        time.sleep(random.uniform(0, 0.1))
        shared.phase[owner] = DELETING
        status, _ = client.persist("DELETE", f"/products/{document['id']}", None, stopped)
        if status == 204:
            shared.phase[owner] = GONE
            report.writes += 1
        else:
            shared.row[owner] = 0  # an attempt without an answer had deleted it
        time.sleep(random.uniform(0, 0.02))
        if not stopped():
            shared.phase[owner] = CREATING


def flip_path(owner: int) -> str:
    return f"/products/{PRODUCTS + SOLD + 1 + owner}"


def flip(client: Client, shared: Shared, owner: int, report: Report) -> None:
    """Make a row inactive, then active, and again."""
    while not shared.stop[0]:
        shared.turn[owner] += 1
        active = shared.turn[owner] % 4 == SHOWING
        status, _ = client.persist(
            "PATCH", flip_path(owner), {"active": active}, lambda: bool(shared.stop[0])
        )
        if status == 200:
            shared.turn[owner] += 1
            report.writes += 1
        elif status:
            report.stale.append(f"PATCH {flip_path(owner)}: {status}")
        time.sleep(random.uniform(0, 0.05))


class Reader:
    """Reads, and judges what it gets."""

    def __init__(self, client: Client, shared: Shared, report: Report) -> None:
        self._client = client
        self._shared = shared
        self._report = report
        self._known: dict[str, tuple[str, dict[str, Any]]] = {}  # path: ETag, document

    def read_forever(self) -> None:
        reads = [self.read_counter] * 3 + [self.read_list] * 7 + [self.read_churn] * 2
        reads += [self.read_flip] * 2 + [self.read_rovers] * 10
        if self._shared.rovers_alone[0]:
            reads = [self.read_rovers]
        while not self._shared.stop[0]:
            random.choice(reads)()

    def read_counter(self) -> None:
        path = random.choice(COUNTERS)[0]
        floors = self._floors()
        etag, known = self._known.get(path, (None, {}))
        if random.random() < 0.5:
            etag = None
        seen = {"If-None-Match": etag} if etag else {}
        status, document, new_etag = self._client.request("GET", path, more=seen)
        self._report.requests += 1
        if status == 304:
            document = known
        elif status == 200:
            self._known[path] = (str(new_etag), document)
        elif not status or status >= 500:
            return
        else:
            self._report.stale.append(f"GET {path}: {status}")
            return
        self._judge(path, document, floors)

    def read_list(self) -> None:
        shared = self._shared
        floors = self._floors()
        churns = [(shared.row[o], shared.phase[o]) for o in range(CHURNS)]
        turns = list(self._shared.turn)
        status, page, _ = self._client.request("GET", LIST)
        later_turns = list(self._shared.turn)
        after = [(shared.row[o], shared.phase[o]) for o in range(CHURNS)]
        self._report.requests += 1
        if status != 200:
            return
        rows = {row["id"]: row for row in page["items"]}
        for n in range(1, PRODUCTS + SOLD + 1):
            if n in rows:
                self._judge(f"/products/{n}", rows[n], floors)
            else:
                self._report.stale.append(f"{n} is not in the list")
        for before, later in zip(churns, after, strict=True):
            self._judge_churn(before, later, "list", found=before[0] in rows)
        for owner, turn in enumerate(turns):
            row = rows.get(PRODUCTS + SOLD + 1 + owner, {"active": None})
            if row["active"] is False:
                self._report.stale.append(f"{flip_path(owner)} is in the list, and inactive")
            self._judge_flip(owner, turn, later_turns[owner], "list", shown=bool(row["active"]))

    def read_churn(self) -> None:
        """Read a row that comes and goes; sometimes the next id, which may come."""
        shared = self._shared
        owner = random.randrange(CHURNS)
        before = (shared.row[owner], shared.phase[owner])
        if not before[0]:
            return
        if random.random() < 0.3:
            self._client.request("GET", f"/products/{max(shared.row) + random.randint(1, 2)}")
            return
        status, _, _ = self._client.request("GET", f"/products/{before[0]}")
        after = (shared.row[owner], shared.phase[owner])
        self._report.requests += 1
        if status in {200, 404}:
            self._judge_churn(before, after, "item", found=status == 200)

    def read_flip(self) -> None:
        """Read a row that becomes inactive and active, as everybody or as the administrator."""
        owner = random.randrange(FLIPS)
        path, before = flip_path(owner), self._shared.turn[owner]
        key = self._client.key if random.random() < 0.4 else {}
        status, document, _ = self._client.request("GET", path, more=key)
        after = self._shared.turn[owner]
        self._report.requests += 1
        if status not in {200, 404}:
            return
        if status == (404 if key else 200) and not (document or {}).get("active"):
            self._report.stale.append(f"GET {path} {'with a key' if key else ''}: {status}")
        shown = status == 200 and document["active"]
        self._judge_flip(owner, before, after, "item", shown=shown)

    def read_rovers(self) -> None:
        ROVERS.read(self._client, self._shared, self._report)

    def _floors(self) -> list[Floor]:
        shared = self._shared
        return [
            Floor(shared.done[i], shared.seen[i], shared.begun[i]) for i in range(len(COUNTERS))
        ]

    def _judge(self, path: str, document: dict[str, Any], floors: list[Floor]) -> None:
        shared, racing = self._shared, False
        for name in ("stock", "description", "name", "sold"):
            i = INDEX.get((path, name))
            if i is None:
                continue
            floor, found = floors[i], value(path, name, document)
            racing = racing or floor.begun > floor.done or shared.begun[i] > floor.begun
            text = f"{time.strftime('%T')} {path} {name}: {found}, {floor}, {shared.begun[i]} begun"
            if not floor.done <= found <= shared.begun[i]:
                self._report.stale.append(text)
            elif found < floor.seen:
                self._report.back.append(text)
            elif found > shared.seen[i]:
                shared.seen[i] = found
        self._report.reads += 1
        self._report.racing += racing

    def _judge_churn(
        self, before: tuple[int, int], after: tuple[int, int], where: str, *, found: bool
    ) -> None:
        row, phase = before
        if not row:
            return
        self._report.reads += 1
        self._report.racing += phase in {CREATING, DELETING} or before != after
        # A row that was there may be deleted meanwhile; one that is gone never comes back.
        if phase in {GONE, CREATING} and found:
            self._report.stale.append(f"{row} is deleted, and in the {where}")
        elif before == after and phase == THERE and not found:
            self._report.stale.append(f"{row} is created, and not in the {where}")

    def _judge_flip(self, owner: int, before: int, after: int, where: str, *, shown: bool) -> None:
        self._report.reads += 1
        self._report.racing += before != after or before % 4 in {HIDING, SHOWING}
        if before == after and before % 4 == (HIDDEN if shown else SHOWN):
            text = "shown" if shown else "hidden"
            self._report.stale.append(f"{flip_path(owner)} {where}: {text} in turn {before}")


WORKS: dict[str, Callable[..., None]] = {
    "count": count_up,
    "churn": come_and_go,
    "sell": sell,
    "flip": flip,
    "rove": ROVERS.rove,
}
ALL_WORKS = frozenset(WORKS)
WITHOUT_SALES = frozenset({"count", "churn", "rove"})  # of a service that knows of none


def run_process(
    service: tuple[str, str], shared: Shared, readers: int, writers: list[Any], results: Any
) -> None:
    """Run threads of readers and writers; send the report when told to stop."""
    url, key = service
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shared.begin.wait()
    reports: list[Report] = []
    threads: list[threading.Thread] = []

    def start(work: Callable[..., None], *arguments: Any) -> None:
        report = Report()
        reports.append(report)
        client = Client(url, key, report)
        threads.append(threading.Thread(target=work, args=[client, shared, *arguments, report]))

    for _ in range(readers):
        start(lambda client, shared, report: Reader(client, shared, report).read_forever())
    for work, argument in writers:
        start(WORKS[work], argument)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Report()
    for report in reports:
        whole.add(report)
    results.put(whole)


def prepare(url: str, key: str) -> None:
    """Make the rows that stay, in an empty catalogue."""
    with closing(Client(url, key, Report())) as client:
        for n in range(1, CATEGORIES + 1):
            assert client.request("POST", "/categories", {"name": f"category {n}"})[0] == 201
        for n in range(1, PRODUCTS + 1):
            fields = {"name": f"product {n}", "price": 1, "stock": 0, "category_id": 1}
            assert client.request("POST", "/products", fields)[0] == 201
        for n in range(PRODUCTS + 1, PRODUCTS + SOLD + 1):
            fields = {"name": f"product {n}", "price": 1, "stock": STOCK, "category_id": 1}
            assert client.request("POST", "/products", fields)[0] == 201
        for owner in range(FLIPS):
            fields = {"name": f"flip {owner}", "price": 1, "stock": 1, "category_id": 1}
            assert client.request("POST", "/products", fields)[0] == 201
        ROVERS.prepare(client)
        for path, name in (COUNTERS[i] for i in WRITTEN):
            new = 0 if name == "stock" else f"{path} 0"
            assert client.request("PATCH", path, {name: new})[0] == 200


def check(
    url: str,
    key: str,
    seconds: float,
    faults: Iterator[Callable[[], None]] | None = None,
    *,
    works: Collection[str] = ALL_WORKS,
) -> Report:
    """Race readers and writers until the time and the faults are over, and return the findings.

    `works` are those of writers. If nothing is counted up, rovers are all that is read.
    """
    prepare(url, key)
    shared = Shared()
    shared.sales[0] = "sell" in works
    shared.rovers_alone[0] = "count" not in works
    results = context.Queue()
    writers: list[tuple[str, Any]] = [("churn", owner) for owner in range(CHURNS)]
    writers += [("count", WRITTEN[first::WRITERS]) for first in range(WRITERS)]
    writers += [("sell", SALES[first::SELLERS]) for first in range(SELLERS)]
    writers += [("flip", owner) for owner in range(FLIPS)]
    writers += [
        ("rove", number)
        for number, kind in enumerate(finding.KINDS)
        if shared.sales[0] or not kind.sold
    ]
    writers = [writer for writer in writers if writer[0] in works]
    jobs = [(0, writers), *[(READER_THREADS, [])] * READER_PROCESSES]
    processes = [
        context.Process(target=run_process, args=((url, key), shared, readers, work, results))
        for readers, work in jobs
    ]
    for process in processes:
        process.start()
    shared.begin.wait()
    ends = time.monotonic() + seconds
    try:
        for fault in faults or ():
            fault()
            time.sleep(FAULT_PAUSE)
        time.sleep(max(0, ends - time.monotonic()))
    finally:
        shared.stop[0] = 1
        report = Report()
        for _ in processes:
            report.add(results.get(timeout=90))
        for process in processes:
            with suppress(ValueError):
                process.join()
    return report
