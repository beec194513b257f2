"""The cost of a cached read for Redis alone: `make bench-redis`.

The service's calls of Redis are recorded, and sent again over one connection, many at once, so that
Redis does little besides them.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import BenchError, machine
from .contenders import ITEM, Contender, before, product
from .rungs import HOT_ITEMS, hot
from .stage import stage

if TYPE_CHECKING:
    from pathlib import Path

    from .measure import Sample
    from .stage import Served
    from .wrk import Request

    Call = list[str]

PRODUCTS = 1000
CALLS = 5000  # of each kind in a round
PERIOD = 10  # seconds of the limits
KEPT_SECONDS = 1.2  # after which a worker keeps no copy of an answer
SCRIPT, OVER = "EVALSHA", "this was all"
CHARGED = "rate_limit:"  # what its keys begin with; the service also has scripts of no request
MONITORED = re.compile(r"\S+ \[\d+ (?!lua)[^]]*\] (.*)")
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
EMPTY = "an empty script"


def run(rounds: int, checkout: Path | None) -> list[Sample]:
    """Return what Redis used for each kind of calls, in turn."""
    cores, others = machine.shares(1)
    samples = []
    with stage() as this, this.databases(others):
        this.fill(PRODUCTS)
        services = map(_with_short_period, [product("edge"), *before(checkout)])
        with this.serve(services, 1, cores) as served, machine.pinned(others):
            calls = [(one, kind, found) for one in served for kind, found in _record(one)]
            _fill_records(calls)
            for number in range(rounds):
                for one, kind, found in calls:
                    what = {"rung": kind, "contender": one.contender.name, "round": number}
                    place = {"products": PRODUCTS, "workers": 1}
                    samples.append(what | place | _send(one.store, found))
    return samples


def _with_short_period(contender: Contender) -> Contender:
    environment = (*contender.environment, ("RATE_LIMIT_PERIOD", str(PERIOD)))
    return replace(contender, environment=environment)


def _fill_records(calls: list[tuple[Served, str, list[Call]]]) -> None:
    """Charge each client in each hundredth of a period, as in the middle of a busy day."""
    until = time.monotonic() + PERIOD
    while time.monotonic() < until:
        for one, _, found in calls:
            _repeat(one.store, found[:1])
        time.sleep(PERIOD / 500)


def _record(one: Served) -> list[tuple[str, list[Call]]]:
    """Return the calls for answers that are read, and for those that a worker has a copy of."""
    nothing: Any = one.store.script_load("return 0")
    found = [(EMPTY, [[SCRIPT, nothing, "0"]] * HOT_ITEMS)]
    for rung in (ITEM, "page100"):
        requests = hot(rung)
        one.ask(requests * 2)  # the edge learns of a page when it is a hit
        time.sleep(KEPT_SECONDS)
        for state in ("read", "kept"):
            calls = recorded(one, requests)
            if len(calls) != len(requests):
                made = f"{len(calls)} calls of Redis for {len(requests)} requests"
                raise BenchError(f"{one.contender.name} made {made}")
            found.append((f"{rung}, {state}", calls))
    return found


def recorded(one: Served, requests: list[Request]) -> list[Call]:
    """Return the calls of scripts that requests make."""
    store: Any = one.store
    with store.monitor() as monitor:
        read = monitor.connection.read_response  # it tells no words apart itself
        one.ask(requests)
        store.echo(OVER)
        calls = []
        while (call := words(read())) != ["ECHO", OVER]:
            if call[:1] == [SCRIPT] and CHARGED in call[3]:
                calls.append(call)
    return calls


def words(line: bytes) -> Call:
    """Return the words of a command that MONITOR tells; none of what a script calls."""
    told = MONITORED.fullmatch(line.decode())
    words = WORD.findall(told[1]) if told else []
    return [word.encode().decode("unicode_escape") for word in words]


def _send(store: Any, calls: list[Call]) -> Sample:
    """Send the calls again; return what Redis used."""
    times = CALLS // len(calls)
    used = _cpu_seconds(store)
    for _ in range(times):
        _repeat(store, calls)
    return {"requests": times * len(calls), "redis_cpu": _cpu_seconds(store) - used}


def _repeat(store: Any, calls: list[Call]) -> None:
    with store.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.execute_command(*(word.encode("latin-1") for word in call))
        pipeline.execute()


def _cpu_seconds(store: Any) -> float:
    said: Any = store.info("cpu")
    return float(said["used_cpu_user"] + said["used_cpu_sys"])
