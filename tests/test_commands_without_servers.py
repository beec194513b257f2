"""Every `flask` command ends without a traceback where PostgreSQL or Redis cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from flask.cli import FlaskGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop
    from flask import Flask

NOWHERE = "127.0.0.1:1"
DATABASE = {"DATABASE_URL": f"postgresql://nobody:hidden@{NOWHERE}/none"}
REDIS = {"REDIS_URL": f"redis://:hidden@{NOWHERE}/0"}
# Flask's own, what runs until it is stopped, and what writes files.
LEFT_OUT = {"run", "shell", "worker", "openapi write"}
LEFT_OUT |= {f"db {name}" for name in ("init", "revision", "migrate", "merge", "edit")}
# Of an argument that a command must have; every other one is a text.
ARGUMENTS = {"limits show": ["127.0.0.1"], "limits reset": ["127.0.0.1"]}
SCOPE = ["--name", "x", "--scope", "catalog:write"]
ARGUMENTS |= {"keys create": SCOPE, "cache clear": ["all"], "db upgrade": [], "db downgrade": []}
NEEDS_DATABASE = {"db upgrade", "db current", "db downgrade", "db check", "db stamp"}
NEEDS_DATABASE |= {"purge", "seed", "keys list", "orders expire", "db-identity show"}


def group(app: Flask) -> FlaskGroup:
    return FlaskGroup(create_app=lambda: app, load_dotenv=False)


def commands(cli: click.Group, context: click.Context, path: str = "") -> Iterator[str]:
    """Walk the tree of commands, so that new commands are tested, too."""
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        full = f"{path} {name}".strip()
        if isinstance(command, click.Group):
            yield from commands(command, context, full)
        elif full not in LEFT_OUT:
            yield full


def results(shop: Shop, left_out: str) -> Iterator[tuple[str, Any]]:
    cli = group(shop.app)
    with cli.make_context("flask", ["routes"]) as context:
        names = [name for name in commands(cli, context) if not name.startswith(left_out)]
    for name in names:
        given = ARGUMENTS.get(name)
        result = CliRunner().invoke(cli, [*name.split(), *(given or [])])
        if given is None and result.exit_code == click.UsageError.exit_code:
            result = CliRunner().invoke(cli, [*name.split(), "x"])
        yield name, result


@pytest.mark.parametrize(
    ("gone", "left_out"),
    [(DATABASE, "-"), (REDIS, "db "), (DATABASE | REDIS, "-")],
    ids=["database", "redis", "both"],
)
def test_no_command_ends_with_a_traceback(
    make_shop: Make, gone: dict[str, str], left_out: str
) -> None:
    shop = make_shop(**gone)
    ended = dict(results(shop, left_out))
    for name, result in ended.items():
        assert result.exception is None or isinstance(result.exception, SystemExit), name
        assert "Traceback" not in result.output, name
        assert "hidden" not in result.output, name
    if "DATABASE_URL" in gone:
        for name in NEEDS_DATABASE:
            assert ended[name].exit_code == 1, name
            last = ended[name].output.splitlines()[-1]
            assert last.startswith("Error: the database cannot be used: "), name
