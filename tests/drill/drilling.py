"""Add to pytest for `make drill`: the programs that it needs, and the table of its results."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAMS = {
    "redis-server": "redis-server",
    "pgbouncer": "pgbouncer",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "openssl": "openssl",
}
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEAD = [
    "drill",
    "requests",
    "failed",
    "stale",
    "longest read, ms",
    "BYPASS, s",
    "no write, s",
    "of 100",
]
ROWS: list[list[str]] = []


def pytest_sessionstart() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name, path=PLACES) is None]
    if missing:
        packages = " ".join(PROGRAMS[name] for name in missing)
        pytest.exit(f"the drills need {', '.join(missing)}: apt-get install {packages}", 2)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    rows = [HEAD, *ROWS]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    terminalreporter.section("what the drills saw")
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


def note(name: str, *cells: str, passed: str = "") -> None:
    """Add a row to the table: what was seen, and how many a quota of 100 has let pass."""
    empty = [""] * (len(HEAD) - 2 - len(cells))
    ROWS.append([name.removeprefix("test_").replace("_", " "), *cells, *empty, passed])


@pytest.fixture
def load(request: pytest.FixtureRequest, settings: dict[str, str]) -> Iterator[Callable[..., Load]]:
    """Load services; what was seen becomes a row of the table."""
    made: list[Load] = []

    def make(urls: Sequence[str], *, keeps: bool = True) -> Load:
        made.append(Load(urls, settings["ADMIN_API_KEY"], keeps=keeps))
        return made[-1]

    yield make
    for one in made:
        note(request.node.name, *one.saw.cells())
