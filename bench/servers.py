"""How gunicorn serves best: `make bench-servers`.

A cached product and the bare function, at few and at many connections, by worker class, number of
threads, HTTP parser and version of gunicorn.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from . import BenchError, machine
from .contenders import ITEM, ROOT, Contender, gunicorn, product
from .figures import rate
from .measure import window
from .rungs import hot
from .stage import Served, stage

if TYPE_CHECKING:
    from pathlib import Path

    from .measure import Sample

ENVIRONMENTS = ROOT / ".venv-bench-servers"
CONNECTIONS = (16, 400)
PRODUCTS = 1000
DOCUMENT = 350  # bytes of a product
# gunicorn 27.0.1 asks for a newer parser than there is (`gunicorn[fast]` cannot be installed), but
# takes any from 0.4.1 on when it runs.
PINNED, BEFORE, PARSER = "27.0.1", "26.2.0", "0.6.10"


@dataclass(frozen=True)
class Variant:
    """A way to serve."""

    worker_class: str = "gthread"
    threads: int = 4
    parser: str = "python"
    version: str = PINNED

    def __str__(self) -> str:
        threads = f" {self.threads}" if self.worker_class == "gthread" else ""
        return f"{self.worker_class}{threads}, {self.parser} parser, {self.version}"

    def serves(self, application: str | None) -> tuple[str, ...]:
        programs = ENVIRONMENTS / self.version / "bin"
        return (
            *gunicorn(application, programs),
            *("--worker-class", self.worker_class, "--threads", str(self.threads)),
            *("--http-parser", self.parser),
        )


VARIANTS = (
    *(Variant(threads=threads) for threads in (4, 2, 8)),
    Variant("sync", threads=1),
    Variant(parser="fast"),
    Variant(version=BEFORE),
    Variant(parser="fast", version=BEFORE),
)


def minutes(rounds: int, seconds: int) -> float:
    """Return how long the run will take, about."""
    return (rounds * len(CONNECTIONS) * 2 * len(VARIANTS) * (seconds + 0.5) + 60) / 60


def environments() -> list[Path]:
    return [ENVIRONMENTS / version for version in (PINNED, BEFORE)]


def run(rounds: int, seconds: int) -> list[Sample]:
    """Measure every way to serve, with one worker that has a core to itself."""
    for version in (PINNED, BEFORE):
        install(version)
    cores, others = machine.shares(1)
    contenders = [one for variant in VARIANTS for one in _contenders(variant)]
    samples = []
    with stage() as this, this.databases(others):
        this.fill(PRODUCTS)
        with this.serve(contenders, 1, cores) as served, machine.pinned(others):
            for number in range(rounds):
                turn = 2 * number % len(served)
                for connections in CONNECTIONS:
                    for one in served[turn:] + served[:turn]:
                        samples.append(_sample(number, one, seconds, connections))
                        print(
                            f"round {number + 1} of {rounds}: {samples[-1]['rung']}, "
                            f"{samples[-1]['contender']}: {rate(samples[-1]):,.0f}/s",
                            flush=True,
                        )
    return samples


def _contenders(variant: Variant) -> list[Contender]:
    served = [replace(product("product", ITEM), command=variant.serves(None))]
    served.append(Contender("bare", variant.serves("bench.apps.bare:app"), (ITEM,)))
    return [replace(one, name=f"{one.name}, {variant}") for one in served]


def _sample(number: int, one: Served, seconds: int, connections: int) -> Sample:
    application, _, variant = one.contender.name.partition(", ")
    requests = hot(ITEM)
    if application == "bare":
        for request in requests:
            one.store.set(request.address, "x" * DOCUMENT)
    answers = one.ask(requests)
    if any(answer.status != HTTPStatus.OK for answer in answers):
        raise BenchError(f"{one.contender.name} does not answer 200")
    seen = window(one, requests, seconds, connections)
    place = {"products": PRODUCTS, "workers": 1, "round": number}
    return place | seen | {"rung": f"{application}, {connections}", "contender": variant}


def install(version: str) -> None:
    """Make an environment with the product's packages, this gunicorn, and the C parser."""
    place = ENVIRONMENTS / version
    if (place / "installed").exists():
        return
    print(f"installing gunicorn {version} into {place.relative_to(ROOT)} ...", flush=True)
    pip = [str(place / "bin" / "python"), *("-m", "pip", "install", "-qq")]
    pip.append("--disable-pip-version-check")
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [*pip, "--require-hashes", "-r", str(ROOT / "requirements.txt")],
        [*pip, "--no-deps", f"gunicorn=={version}", f"gunicorn_h1c=={PARSER}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing"]
            raise BenchError(f"{' '.join(command[-2:])} cannot be installed: {said[-1]}")
    (place / "installed").touch()
