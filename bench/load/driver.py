"""Users of `locustfile.py` load a service: what each of their requests met, and what it cost."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import BenchError

from .sampler import Sample, sampler
from .service import ADMIN_KEY, PROGRAMS, Service, last_line
from .summary import Request, read_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dev.embedded.servers import SupervisedProcess

RECORDER = Path(__file__).with_name("recorder.py")
SPAWN_RATE = 50  # users a second
SAMPLE_SECONDS = 1
GRACE_SECONDS = 60  # for locust to begin and to end


def drive(
    service: Service, name: str, kinds: Sequence[str], users: int, seconds: int
) -> tuple[list[Request], list[Sample]]:
    """Load the service with users of these kinds; return each request, and a sample of each second.

    `name` is what the progress is shown under.
    """
    record = service.directory / "requests.csv"
    command = [str(PROGRAMS / "locust"), "-f", f"locustfile.py,{RECORDER}"]
    command += ["--headless", "--only-summary", "--users", str(users), "--host", service.url]
    command += ["--spawn-rate", str(SPAWN_RATE), "--run-time", f"{seconds}s"]
    command += kinds
    locust = service.run("locust", command, ADMIN_API_KEY=ADMIN_KEY, LOAD_RECORD=str(record))
    try:
        samples = _sample_to_the_end(service, name, locust, seconds)
    finally:
        locust.stop()
    requests = read_record(record)
    if not requests:
        log = (service.directory / "locust.log").read_text(encoding="utf-8")
        raise BenchError(f"no request was made: {last_line(log)}")
    return requests, samples


def _sample_to_the_end(
    service: Service, name: str, locust: SupervisedProcess, seconds: int
) -> list[Sample]:
    """Sample once a second until the load has ended, and tell of the progress."""
    samples: list[Sample] = []
    began = time.monotonic()
    with sampler(service, service.children | {"locust": locust}) as sample:
        while locust.exit_status() is None:
            for part, child in service.children.items():
                if child.exit_status() is not None:
                    raise BenchError(f"{part} ended during the test")
            elapsed = time.monotonic() - began
            if elapsed > seconds + GRACE_SECONDS:
                raise BenchError("locust does not end")
            samples.append(sample())
            line = f"{name}: {min(elapsed, seconds):.0f} of {seconds} s"
            _show_progress(f"{line}, {samples[-1].connections} connections", len(samples))
            time.sleep(SAMPLE_SECONDS - (time.monotonic() - began) % SAMPLE_SECONDS)
    print(flush=True)
    return samples


def _show_progress(line: str, number: int) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)
    elif number % 10 == 1:
        print(line, flush=True)
