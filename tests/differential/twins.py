"""Two services with one history, on which alone their answers depend."""

from __future__ import annotations

import re
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from conftest import ADMIN_KEY, await_true

from shop.limits import records, scripts
from shop.limits.window import SECOND

from .arrivals import Answered, Arrivals, Request, Revocation
from .compare import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import redis
    from conftest import Service

    from dev.embedded.servers import Redis

    from .arrivals import Step
    from .history import History
    from .wire import Answer, Client

ATTEMPTS = 10  # at an episode: so often is a machine not late by chance
LATE = 2.0  # seconds between two answers; less than any time after which a service acts by itself
SAMPLE = re.compile(r"^(shop_\w+(?:\{.*\})?) (\S+)$", re.MULTILINE)
TROUBLE = re.compile(
    r"shop_redis_errors_total|shop_cache_(errors|refused_fills|waits)_total"
    r'|shop_cache_reads_total\{.*result="bypass"'
)
ETAG = re.compile(rb'\r\nETag: ("[^"]*")\r\n')
NEXT = re.compile(rb'\r\nLink: (?:[^\r]*, )?<([^>]*)>; rel="next"')
PERIOD = 86_400  # seconds: nothing that an episode is charged is free again before its end
# What clients had used when an episode began: (client, [(seconds ago, cost)]).
USED: list[tuple[str, list[tuple[int, int]]]] = [
    ("198.51.100.1", [(50_000, 4), (20_000, 2), (3_000, 1)]),
    ("198.51.100.2", [(80_000, 1), (9_000, 9)]),
    ("198.51.100.99", [(5_000, 1_000)]),
    ("127.0.0.1", [(70_000, 3), (7_000, 5)]),
]
LINE_MAX = 400  # characters of a line that are shown


class Twin(NamedTuple):
    service: Service
    history: History
    redis: redis.Redis
    redis_url: str
    client: Client

    def begin(self) -> None:
        self.history.begin()
        self.redis.flushdb()
        for client, used in USED:
            charges = [
                value
                for age, cost in used
                for value in ("default", 1, PERIOD, age * SECOND, cost)  # the quota follows
            ]
            self.redis.eval(scripts.PAY, 1, records.key(client), "0" * 16, *map(str, charges))
        self.client.close()

    def metrics(self) -> Counter[str]:
        text = self.service.get("/metrics").text
        return Counter({name: int(float(value)) for name, value in SAMPLE.findall(text)})

    def is_well(self) -> bool:
        """Tell whether it reaches Redis, and counts there what its clients use."""
        counts = self.metrics()
        return (
            self.service.get("/health_check").json()["redis"] == "ok"
            and not counts["shop_redis_breaker_open"]
            and not counts["shop_rate_limit_fallback"]
        )


class Twins:
    """Two services that get the same requests."""

    def __init__(
        self, one: Twin, other: Twin, keys: dict[str, str], proxies: int, server: Redis
    ) -> None:
        self.both = (one, other)
        self.sent = 0
        self.repeated = 0  # episodes
        self._keys = {**keys, "admin": ADMIN_KEY}
        self._proxies = proxies
        self._server = server
        self._calm = Calm(self.both)

    def close(self) -> None:
        for twin in self.both:
            twin.client.close()
            twin.redis.close()

    def play(self, seed: str, steps: Callable[[Arrivals], Iterator[Step]]) -> str | None:
        """Return how the answers differ that `steps` get, None if they do not.

        An episode in which something else has decided an answer is played again, from its
        beginning: what the services do by themselves they do again.
        """
        for _ in range(ATTEMPTS):
            found = self._play(seed, steps)
            if not found or not self._calm.was_broken():
                break
            self.repeated += 1
        return found

    def _play(self, seed: str, steps: Callable[[Arrivals], Iterator[Step]]) -> str | None:
        if self._server.exit_status() is not None:
            self._server.start()  # a difference has ended an episode without Redis
        await_true(lambda: all(twin.is_well() for twin in self.both), "both reach Redis")
        began = time.monotonic()
        for twin in self.both:
            twin.begin()
        self._calm.begin()
        answered = Answered()
        arrivals = Arrivals(Random(seed), self._keys, answered, self._proxies)
        for number, step in enumerate(steps(arrivals)):
            if not isinstance(step, Request):
                self._happen(step)
                continue
            answers = self._exchange(step)
            found = difference(*answers, step.raw, time.monotonic() - began)
            if found:
                return _report(found, f"step {number} of {seed}", step, answers)
            if step.read and (etag := ETAG.search(answers[0].head)):
                answered.etags[step.read] = etag[1]
            if step.read and (link := NEXT.search(answers[0].head)):
                answered.next_pages.append(link[1])
        return None

    def _exchange(self, request: Request) -> tuple[Answer, Answer]:
        self.sent += 1
        one, other = (twin.client for twin in self.both)
        for client in (one, other):
            client.send(request.raw, fresh=request.fresh)
        answers = (
            one.receive(to_head=request.to_head),
            other.receive(to_head=request.to_head),
        )
        self._calm.note()
        return answers

    def _happen(self, event: Revocation | Callable[[], None]) -> None:
        if isinstance(event, Revocation):
            for twin in self.both:
                twin.history.revoke(self._keys[event.name], twin.redis_url)
        else:
            event()
        self._calm.pause()

    def lose_redis(self) -> None:
        self._calm.end()
        self._server.stop()

    def find_redis(self) -> None:
        self._server.start()
        await_true(lambda: all(twin.is_well() for twin in self.both), "both have found Redis")
        self._calm.expect()


class Calm:
    """Tell whether nothing but requests has decided the answers.

    A machine that is busy, or pauses, lets Redis or a service be late: then a read bypasses the
    cache, a lease ends before its document is there, or an idle connection is closed.
    """

    def __init__(self, both: Sequence[Twin]) -> None:
        self._both = both
        self._broken = False
        self._counts: list[Counter[str]] | None = None
        self._last = 0.0

    def begin(self) -> None:
        self._broken = False
        self.expect()
        self.pause()

    def expect(self) -> None:
        """Expect no more trouble with Redis from now on."""
        self._counts = self._trouble()

    def end(self) -> None:
        """Expect trouble with Redis from now on."""
        self._broken = self.was_broken()
        self._counts = None

    def pause(self) -> None:
        self._last = time.monotonic()

    def note(self) -> None:
        """Note that both have answered."""
        before, self._last = self._last, time.monotonic()
        self._broken = self._broken or self._last - before > LATE

    def was_broken(self) -> bool:
        return self._broken or (self._counts is not None and self._counts != self._trouble())

    def _trouble(self) -> list[Counter[str]]:
        return [
            Counter({name: n for name, n in twin.metrics().items() if TROUBLE.match(name)})
            for twin in self._both
        ]


def _report(found: str, where: str, request: Request, answers: tuple[Answer, Answer]) -> str:
    parts = [
        f"The answers differ in {found}\n\nThe request, {where}:",
        _shown(request.raw),
        "The answer with the edge:",
        _shown(b"".join(answers[0][:3])),
        "The answer without it:",
        _shown(b"".join(answers[1][:3])),
    ]
    return "\n".join(parts)


def _shown(raw: bytes) -> str:
    lines = (repr(line)[1:] for line in raw.splitlines(keepends=True))
    return "\n".join(f"  {line[:LINE_MAX]}{' ...' * (len(line) > LINE_MAX)}" for line in lines)
