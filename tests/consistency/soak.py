"""`make soak`: the checker, with faults and the edge, for ten minutes; first the positive control.

python tests/consistency/soak.py [SECONDS]
"""

from __future__ import annotations

import random
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from checker import WITHOUT_SALES, check
from stage import FAULTS, KEY, PLAIN, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTROL_SECONDS = 15
QUIET_SECONDS = 3


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def faults(here: Stage, ends: float) -> Iterator[Callable[[], None]]:
    """Draw faults until the time is over, but for a moment in which all is well again."""
    while time.monotonic() < ends - QUIET_SECONDS:
        name = random.choice(list(FAULTS))
        say(f"  {time.strftime('%T')}  {name}")
        yield partial(FAULTS[name], here)


def main(seconds: float) -> int:
    say(f"plain Flask-Caching memoize, {CONTROL_SECONDS} s without faults:")
    with stage(PLAIN) as here:
        control = check(here.url, KEY, CONTROL_SECONDS, works=WITHOUT_SALES)
        here.empty()
        lists = check(here.url, KEY, CONTROL_SECONDS, works={"rove"})
    say(f"  {control}\n  of lists alone: {lists}\n")

    say(f"shop, {CONTROL_SECONDS} s without faults:")
    with stage() as here:
        quiet = check(here.url, KEY, CONTROL_SECONDS)
    say(f"  {quiet}\n")

    say(f"shop, {seconds:.0f} s with faults:")
    with stage() as here:
        report = check(here.url, KEY, seconds, faults(here, time.monotonic() + seconds))
    say(f"  {report}")
    for line in (quiet.stale + report.stale)[:20]:
        say(f"  STALE: {line}")
    for line in report.back[:20]:
        say(f"  went back: {line}")
    controlled = control.stale and lists.of_rovers
    return 0 if controlled and not quiet.stale and not report.stale else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 600))
