"""`flask ops`: the state of the whole service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson
from flask.cli import AppGroup

from . import service
from .schemas import ServiceStatusSchema
from .service import THIS_PROCESS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Without a report of a host, as while Redis is gone or full.
HERE_ALONE = (
    "Redis has no report of a host, so the numbers are of this command alone; "
    "GET /ops/status of a host has its own."
)

ops = AppGroup("ops", help="The state of the whole service, as the page /ops shows it.")


@ops.command()
@click.option("--json", "as_json", is_flag=True, help="Print the document of GET /ops/status.")
def status(*, as_json: bool) -> None:
    """Show how the service is: its hosts, its cache, its limits, what has failed."""
    document: dict[str, Any] = ServiceStatusSchema().dump(service.status())
    if as_json:
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        return
    for line in _lines(document):
        click.echo(line)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    health, traffic = document["health"], document["traffic"]
    cache, limits = document["cache"], document["limits"]
    yield f"{health['status']}: database {health['database']}, Redis {health['redis']}"
    if any(one["host"] == THIS_PROCESS for one in document["hosts"]):
        yield HERE_ALONE
    yield (
        f"{traffic['requests']} requests in {traffic['seconds']:.0f} s, "
        f"{traffic['server_errors']} failed, {traffic['refused']} refused, "
        f"95 % within {_known(traffic['p95_ms'])} ms"
    )
    if outbox := cache["outbox"]:
        yield f"{outbox['names']} names in the outbox, for {outbox['oldest_seconds']:.0f} s"
    yield f"limits: {limits['mode']}, {limits['counted_alone']} workers count for themselves"
    yield "\nFAMILY        READS       HITS        HIT RATE  ENTRIES   OLDEST, S"
    for one in cache["families"]:
        rate = "-" if one["hit_rate"] is None else f"{one['hit_rate']:.1%}"
        yield (
            f"{one['family']:<14}{one['reads']:<12}{one['hits']:<12}{rate:<10}"
            f"{_known(one['entries']):<10}{_known(one['oldest_seconds'])}"
        )
    yield "\nHOST                          WORKERS  VERSION   SEEN, S AGO  REQUESTS A SECOND"
    for one in document["hosts"]:
        yield (
            f"{one['host']:<30}{one['workers']:<9}{one['version']:<10}"
            f"{one['seen_seconds_ago']:<13.0f}{_known(one['requests_per_second'])}"
        )
    if document["tasks"]:
        yield "\nTASK                      DONE      FAILED    LAST SUCCESS"
    for one in document["tasks"] or ():
        yield (
            f"{one['task']:<26}{one['done']:<10}{one['failed']:<10}"
            f"{(one['last_success'] or '-')[:19]}"
        )
    if document["errors"]:
        yield "\nFAILED                    STATUS  REQUEST ID                        ROUTE"
    for one in document["errors"]:
        yield f"{one['at'][:19]:<26}{one['status']:<8}{one['request_id']:<34}{one['route'] or '-'}"


def _known(value: object) -> object:
    return "-" if value is None else value
