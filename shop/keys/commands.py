"""`flask keys`: make, list and revoke API keys."""

from __future__ import annotations

import click
from flask.cli import AppGroup

from shop.cli import LateChoice, needs_database
from shop.config import TIERS
from shop.features import all_scopes
from shop.problems import NotFoundError

from . import service

keys = AppGroup("keys", help="Make, list and revoke API keys: for writes, and larger quotas.")

NAME_MAX = 100


@keys.command()
@click.option("--name", required=True, help="Whose key it is, to recognise it in the list.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=LateChoice(all_scopes),
    help="What the key may do; give it several times for several scopes. Without one it reads.",
)
@click.option(
    "--tier",
    type=click.Choice(TIERS),
    default=TIERS[0],
    show_default=True,
    help="How much its holder may send: see `flask limits list`.",
)
@needs_database
def create(name: str, scopes: tuple[str, ...], tier: str) -> None:
    """Make a key and print it, once: only its hash is kept."""
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise click.BadParameter(f"1 to {NAME_MAX} printable characters", param_hint="--name")
    key = service.create_key(name, scopes, tier)
    click.echo("This key is shown only now:", err=True)
    click.echo(key)


@keys.command("list")
@needs_database
def list_() -> None:
    """List all keys, by prefix, without their secrets."""
    row = "{:<14} {:<8} {:<10} {:<50} {:<17} {}"
    click.echo(row.format("PREFIX", "STATE", "TIER", "SCOPES", "CREATED (UTC)", "NAME"))
    for key in service.list_keys():
        state = "revoked" if key.revoked_at else "active"
        created = f"{key.created_at:%Y-%m-%d %H:%M}"
        scopes = ",".join(key.scopes) or "-"
        click.echo(row.format(key.prefix, state, key.tier, scopes, created, key.name))


@keys.command()
@click.argument("prefix")
@needs_database
def revoke(prefix: str) -> None:
    """Revoke the key with PREFIX, at once."""
    try:
        service.revoke_key(prefix)
    except NotFoundError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"revoked {prefix}")
