"""`flask limits`: the policies of the routes, and the usage of clients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import AppGroup

from shop.cli import call_redis, needs_redis, scan
from shop.config import TIERS, current_settings
from shop.console.clients import read_records, top_clients
from shop.facts import Caller, current_facts
from shop.limits import limit_mode, limiter, records
from shop.limits.clients import record_name
from shop.limits.mode import SHADOW
from shop.limits.policies import POLICIES, QUOTAS, quota
from shop.redis import redis_connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from werkzeug.routing import Rule

    from shop.console.clients import ClientLine
    from shop.limits.extension import Declared
    from shop.limits.records import RecordLine

limits = AppGroup("limits", help="Show rate limits and what clients have used; reset a client.")

CLIENT_HELP = "CLIENT is an address, key:PREFIX for the holder of an API key, or session:HASH."
POLICIES_OF_EVERY_ROUTE = {"address", "unknown_key"}


@limits.command("list")
def list_() -> None:
    """List the policies with their quotas, and every route with its policies."""
    settings = current_settings()
    if not settings.rate_limit_enabled:
        click.echo("switched off: RATE_LIMIT_ENABLED=false")
    mode = limit_mode()
    mode.refresh()
    if mode.current == SHADOW:
        why = "RATE_LIMIT_MODE=shadow" if mode.ends_at is None else "an operator has set that"
        click.echo(f"nothing is refused: {why}")
    tiers = [tier for tier in TIERS if QUOTAS[tier]]
    click.echo(f"{'POLICY':<14}" + "".join(f"{tier:<12}" for tier in tiers))
    for policy in POLICIES:
        quotas = [quota(settings, policy, tier) or "-" for tier in tiers]
        click.echo(f"{policy:<14}" + "".join(f"{calls:<12}" for calls in quotas))
    click.echo(f"in {settings.rate_limit_period} s; the tier unlimited has no limit")
    click.echo("on each limited route, besides:")
    click.echo("address is for an address and all its sessions together, without a key")
    click.echo("unknown_key is for requests with a key that nobody has\n")
    click.echo(f"{'METHODS':<14}{'ROUTE':<59}POLICIES")
    for rule in sorted(current_app.url_map.iter_rules(), key=lambda rule: rule.rule):
        methods = ",".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
        click.echo(f"{methods:<14}{rule.rule:<58} {_policies(rule)}")


def _policies(rule: Rule) -> str:
    with current_app.test_request_context():
        current_facts().caller = Caller("", tier=TIERS[0])
        found = limiter.declared(rule.endpoint, TIERS[0])
    named = [_policy(one) for one in found if one.policy not in POLICIES_OF_EVERY_ROUTE]
    return ", ".join(named) or "-"


def _policy(declared: Declared) -> str:
    if declared.cost == 0:
        return f"{declared.policy} (free)"
    if declared.cost == 1:
        return declared.policy
    return f"{declared.policy} (costs {declared.cost})"


@limits.command(help=f"Show what CLIENT has used of each policy. {CLIENT_HELP}")
@click.argument("client")
def show(client: str) -> None:
    key = records.key(_record_name(client))
    with needs_redis():
        [(_, lines)] = read_records([key.encode()])
    click.echo(key)
    for line in lines:
        click.echo(f"{line.policy:<14}{_usage(line)}")
    if not lines:
        click.echo("nothing is used")


@limits.command(help=f"Give CLIENT its whole quota again. {CLIENT_HELP}")
@click.argument("client")
def reset(client: str) -> None:
    key = records.key(_record_name(client))
    removed = call_redis(lambda redis: redis.unlink(*redis_connection().prefixed([key])))
    click.echo(f"reset {key}" if removed else f"{key}: nothing is used")


@limits.command()
@click.option(
    "--count", default=10, show_default=True, type=click.IntRange(1, 1000), help="Lines of each."
)
def top(count: int) -> None:
    """Show the clients that use most of a quota, and those that are refused most."""
    keys = scan(f"{records.PREFIX}*")
    with needs_redis():
        found = top_clients(keys, count)
    click.echo(f"clients: {len(keys)}\n\nused most")
    _table(found.used)
    click.echo("\nrefused most")
    _table(found.refused)


def _table(rows: Iterable[ClientLine]) -> None:
    for client, line in rows:
        click.echo(f"  {client:<28}{line.policy:<14}{_usage(line)}")


def _usage(line: RecordLine) -> str:
    free = f", more free in {math.ceil(line.reset)} s" if line.used else ""
    return f"{line.used} of {line.quota} in {line.period} s{free}; {line.refused} refused"


def _record_name(client: str) -> str:
    try:
        return record_name(client)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
