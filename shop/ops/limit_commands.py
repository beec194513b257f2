"""`flask limits`: the policies, and what a client has used."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shop.config import current_settings
from shop.keys.caller import address
from shop.limits import POLICIES
from shop.limits.window import counter_key
from shop.terminal import call_redis

limits = AppGroup("limits", help="Show rate limits and what clients have used; reset a client.")

CLIENT_HELP = "CLIENT is an address, or key:PREFIX for the holder of an API key."


def _counters(client: str) -> dict[str, str]:
    named = client if client.startswith("key:") else address(client.removesuffix("/64"))
    if named == "unknown":
        raise click.BadParameter(f"{client} is neither an address nor key:PREFIX")
    return {policy: counter_key(named, policy) for policy in POLICIES}


@limits.command("list")
def list_() -> None:
    """List the policies: what one client may send in a period."""
    settings = current_settings()
    state = "" if settings.rate_limit_enabled else "  (switched off: RATE_LIMIT_ENABLED=false)"
    for policy, setting in POLICIES.items():
        calls, period = getattr(settings, setting), settings.rate_limit_period
        click.echo(f"{policy:<8} {calls} requests per {period} s{state}")


@limits.command(help=f"Show what CLIENT has used of each policy. {CLIENT_HELP}")
@click.argument("client")
def show(client: str) -> None:
    for policy, key in _counters(client).items():
        used, left = _counter(key)
        quota = getattr(current_settings(), POLICIES[policy])
        until = f", starts anew in {left} s" if used else ""
        count = used.decode(errors="replace") if used else "0"
        click.echo(f"{policy:<8} {count} of {quota} used{until}   {key}")


def _counter(key: str) -> tuple[bytes | None, int]:
    used, left = call_redis(lambda redis: (redis.get(key), redis.ttl(key)))
    return used, left


@limits.command(help=f"Give CLIENT its whole quota again. {CLIENT_HELP}")
@click.argument("client")
def reset(client: str) -> None:
    counters = _counters(client).values()
    removed = call_redis(lambda redis: redis.unlink(*counters))
    click.echo(f"reset {client}: {removed} counters")
