"""A comparison of servers: `make bench-servers`.

Each serves the service, and beside it a bare function, at few and at many connections.
"""

from __future__ import annotations

import subprocess
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from . import BenchError, machine
from .contenders import BARE_LOOP, ITEM, ROOT, Contender, before, gunicorn, product
from .figures import rate
from .measure import window
from .rungs import hot
from .stage import Served, stage

if TYPE_CHECKING:
    from pathlib import Path

    from .measure import Sample

ENVIRONMENT = ROOT / ".venv-bench-servers"
CONNECTIONS = (16, 400)
PRODUCTS = 1000
DOCUMENT = 350  # bytes of a product
# gunicorn 27.0.1 asks for a newer parser in C than there is (`gunicorn[fast]` cannot be installed),
# but takes any from 0.4.1 on when it runs.
PARSER = "0.6.10"
ASGI, UVICORN = ("--worker-class", "asgi"), ("--worker-class", "uvicorn_worker.UvicornWorker")


def _bare(name: str, application: str, *options: str) -> Contender:
    command = (*gunicorn(application, ENVIRONMENT / "bin"), *options)
    return Contender(name, command, (ITEM,))


def _asgi(loop: str, parser: str) -> Contender:
    name = f"{BARE_LOOP}: gunicorn's asgi, {loop}, parser {parser}"
    options = (*ASGI, "--asgi-loop", loop, "--http-parser", parser)
    return _bare(name, "bench.apps.bare_on_the_loop:app", *options)


WAYS = (
    product("edge", ITEM),
    _bare("bare: gunicorn's gthread, 4 threads", "bench.apps.bare:app", "--http-parser", "python"),
    _asgi("asyncio", "python"),
    _asgi("uvloop", "python"),
    _asgi("uvloop", "fast"),
    _bare(f"{BARE_LOOP}: uvicorn's worker", "bench.apps.bare_on_the_loop:app", *UVICORN),
)


def minutes(rounds: int, seconds: int) -> float:
    """Return how long the run will take, about."""
    return (rounds * len(CONNECTIONS) * len(WAYS) * (seconds + 0.5) + 60) / 60


def run(rounds: int, seconds: int, checkout: Path | None) -> list[Sample]:
    """Measure every way to serve, with one worker that has a core to itself."""
    install()
    cores, others = machine.shares(1)
    samples = []
    with stage() as this, this.databases(others):
        this.fill(PRODUCTS)
        with (
            this.serve([*WAYS, *before(checkout, ITEM)], 1, cores) as served,
            machine.pinned(others),
        ):
            for number in range(rounds):
                turn = number % len(served)
                for connections in CONNECTIONS:
                    for one in served[turn:] + served[:turn]:
                        samples.append(_sample(number, one, seconds, connections))
                        print(
                            f"round {number + 1} of {rounds}: {samples[-1]['rung']}, "
                            f"{samples[-1]['contender']}: {rate(samples[-1]):,.0f}/s",
                            flush=True,
                        )
    return samples


def _sample(number: int, one: Served, seconds: int, connections: int) -> Sample:
    requests = hot(ITEM)
    if one.contender.name.startswith("bare"):
        for request in requests:
            one.store.set(request.address, "x" * DOCUMENT)
    answers = one.ask(requests)
    if any(answer.status != HTTPStatus.OK for answer in answers):
        raise BenchError(f"{one.contender.name} does not answer 200")
    place = {"products": PRODUCTS, "workers": 1, "round": number}
    rung = {"rung": f"{connections} connections"}
    return place | window(one, requests, seconds, connections) | rung


def install() -> None:
    """Make an environment with the product's packages, and gunicorn's parser in C."""
    if (ENVIRONMENT / "installed").exists():
        return
    print(f"installing into {ENVIRONMENT.relative_to(ROOT)} ...", flush=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), *("-m", "pip", "install", "-qq")]
    pip.append("--disable-pip-version-check")
    for command in (
        [sys.executable, "-m", "venv", str(ENVIRONMENT)],
        [*pip, "--require-hashes", "-r", str(ROOT / "requirements.txt")],
        [*pip, "--no-deps", f"gunicorn_h1c=={PARSER}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["nothing"]
            raise BenchError(f"{' '.join(command[-2:])} cannot be installed: {said[-1]}")
    (ENVIRONMENT / "installed").touch()
