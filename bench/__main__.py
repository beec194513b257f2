"""`make bench`, `bench-servers`, `bench-redis`: measure, print the figures, and write them down.

python -m bench run        measure the contenders
python -m bench servers    measure the ways to serve
python -m bench redis      measure what cached reads cost Redis
python -m bench report     write docs/performance.md from what was measured
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import BenchError, figures, machine, report, wrk
from .contenders import FASTAPI_PROGRAMS, PROGRAMS, RUNGS, check_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
RESULTS, SERVERS, REDIS = (HERE / f"{name}.json" for name in ("results", "servers", "redis"))
ENVIRONMENTS = (PROGRAMS.parent, FASTAPI_PROGRAMS.parent)
NUMBER_MAX = 10_000
SIZE = (1_000, 5_000_000)  # products
DOCUMENT = HERE.parent / "docs" / "performance.md"


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = _parser().parse_args()
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except BenchError as error:
        raise SystemExit(f"bench: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="What a request costs, beside others."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure the contenders, and print the figures")
    run.set_defaults(command=_run)
    add = run.add_argument
    add("--products", type=_size, nargs="+", default=[1_000, 1_000_000], help="rows of the table")
    add("--workers", type=_number, nargs="+", default=[1, 2], help="of each server")
    add("--only", nargs="+", choices=RUNGS, default=RUNGS, help="what is asked (default: all)")
    add("--connections", type=_number, default=16, help="of wrk")
    _add_common(run, 1)
    servers = commands.add_parser("servers", help="measure which server serves best")
    servers.set_defaults(command=_servers)
    _add_common(servers, 2)
    alone = commands.add_parser("redis", help="measure what cached reads cost Redis")
    alone.set_defaults(command=_redis)
    _add_common(alone, None)
    written = commands.add_parser("report", help="write docs/performance.md from the results")
    written.set_defaults(command=_report)
    return parser


def _add_common(parser: argparse.ArgumentParser, seconds: int | None) -> None:
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    add = parser.add_argument
    add("--rounds", type=_number, default=5, help="each measures everything once")
    if seconds:
        add("--seconds", type=_number, default=seconds, help="of each figure of a round")
    add("--before", type=_checkout, metavar="DIR", help="a checkout, to be measured besides")
    add("--output", type=Path, help="keep the samples in this file")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= NUMBER_MAX):
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {NUMBER_MAX}, not {text}")
    return int(text)


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit() and SIZE[0] <= int(text) <= SIZE[1]):
        raise argparse.ArgumentTypeError(f"from {SIZE[0]} to {SIZE[1]} products, not {text}")
    return int(text)


def _checkout(text: str) -> Path:
    """Return a checkout of another version of the service."""
    path = Path(text).resolve()
    if not (path / "wsgi.py").is_file():
        raise argparse.ArgumentTypeError(f"a directory with wsgi.py, not {text}")
    return path


def _run(arguments: argparse.Namespace) -> None:
    _check()
    check_environment()
    # What measures needs the product's packages, what reports does not have them.
    from . import measure  # noqa: PLC0415

    plan = measure.Plan(
        products=arguments.products,
        workers=arguments.workers,
        rungs=[rung for rung in RUNGS if rung in arguments.only],
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        connections=arguments.connections,
        checkout=arguments.before,
    )
    print(f"this takes about {plan.minutes():.0f} minutes", flush=True)
    parameters = {name: value for name, value in vars(plan).items() if name != "checkout"}
    results = _results(arguments, parameters, measure.run(plan), ENVIRONMENTS)
    for configuration in figures.configurations(results):
        print(f"\n{configuration}\n\n{report.tables(configuration)}")


def _servers(arguments: argparse.Namespace) -> None:
    _check()
    from . import servers  # noqa: PLC0415

    print(f"this takes about {servers.minutes(arguments.rounds, arguments.seconds):.0f} minutes")
    parameters = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    parameters["connections"] = " or ".join(map(str, servers.CONNECTIONS))
    samples = servers.run(arguments.rounds, arguments.seconds, arguments.before)
    results = _results(arguments, parameters, samples, [servers.ENVIRONMENT])
    for configuration in figures.configurations(results):
        print(f"\n{figures.servers(configuration)}")


def _redis(arguments: argparse.Namespace) -> None:
    _check()
    from . import redis_alone  # noqa: PLC0415

    samples = redis_alone.run(arguments.rounds, arguments.before)
    results = _results(arguments, {"rounds": arguments.rounds}, samples, ENVIRONMENTS[:1])
    for configuration in figures.configurations(results):
        print(f"\n{figures.results_table(configuration, figures.redis_cpu, digits=1)}")


def _check() -> None:
    machine.check()
    wrk.find()


def _results(
    arguments: argparse.Namespace,
    parameters: dict[str, Any],
    samples: list[dict[str, Any]],
    environments: Sequence[Path],
) -> dict[str, Any]:
    """Return the samples with what a reader has to know of them; keep them if that is asked."""
    if arguments.before:
        parameters["before"] = _commit(arguments.before)
    results = {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "machine": machine.describe(environments),
        "parameters": parameters,
        "samples": samples,
    }
    if arguments.output:
        head = json.dumps(results | {"samples": []}, indent=1)
        lines = ",\n".join(json.dumps(sample) for sample in samples)
        text = head.removesuffix("[]\n}") + f"[\n{lines}\n]\n}}\n"
        arguments.output.write_text(text, encoding="utf-8")
    return results


def _commit(checkout: Path) -> str:
    """Return which commit a checkout is at; its name where it is no repository."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return said.stdout.strip() or checkout.name


def _report(_arguments: argparse.Namespace) -> None:
    for path, write in (
        (RESULTS, report.write),
        (SERVERS, report.write_servers),
        (REDIS, report.write_redis),
    ):
        if path.exists():
            write(figures.read(path), DOCUMENT)
            print(f"docs/{DOCUMENT.name} has what bench/{path.name} says")


if __name__ == "__main__":
    main()
