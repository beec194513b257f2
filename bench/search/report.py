"""Write what `run` measured into `docs/performance.md`.

python -m bench.search.report
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import BenchError, machine
from bench.document import replace_section
from bench.figures import read

from . import DOCUMENT, RESULT, figures

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPTION = """
Measured on {measured}, with {products:,} products, on {cores} cores of {cpu}, {kernel}, Python \
{python}, {servers}; one worker. Other programs of the machine kept {others:.2f} cores busy \
meanwhile, on average. {verdict}
"""
COLD = """\
Milliseconds until an answer is there of which nothing is cached, and of CPU time for it; \
{questions} different questions of each kind. *Alone* is without the time in which a process of \
the service was ready to run, and another program had its core; it is **bold** if it is too long:"""
FAR = """\
Milliseconds of a far page, by `after`, in turn with page 1, both of 20 products, cold, alone:"""
HITS = """\
Cached: CPU time of a request in microseconds, and how many times as cheap it is as a plain page \
of as many products, or as one product, with the quartiles of the rounds:"""
TABLES = {"cold": (COLD, figures.cold), "far": (FAR, figures.far), "hits": (HITS, figures.hits)}


def main() -> None:
    try:
        replace_section(DOCUMENT, "search", section(read(RESULT)))
    except (BenchError, OSError) as error:
        raise SystemExit(f"bench-search: {error}") from None
    print(f"docs/{DOCUMENT.name} has what bench/{RESULT.name} says")


def section(result: dict[str, Any]) -> str:
    """Return the tables of what was measured, and on what."""
    verdict = machine.verdict(result["others"])
    servers = ", ".join(f"{name} {version}" for name, version in result["servers"].items())
    facts = result | result["machine"] | {"servers": servers, "verdict": verdict}
    parts = [CAPTION.format(**facts).strip()]
    for name, (title, tabulate) in TABLES.items():
        if samples := result["samples"].get(name):
            parts += [title.format(questions=_questions(samples)), tabulate(samples)]
    return "\n\n".join(parts)


def _questions(samples: Sequence[dict[str, Any]]) -> int:
    """Return how many questions of each kind were asked, if these are cold samples."""
    kinds = {one.get("kind") for one in samples}
    return sum(len(one.get("milliseconds", ())) for one in samples) // len(kinds)


if __name__ == "__main__":
    main()
