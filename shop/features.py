"""Find the features, each of which declares itself in its `feature.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import click

    from .openapi import Blueprint

PACKAGE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Feature:
    """The parts of a feature that the application registers."""

    needs: Sequence[str] = ()  # the features that it may import
    blueprint: Blueprint | None = None  # its routes
    switch: str | None = None  # the setting that switches its routes off
    scopes: Sequence[str] = ()  # of API keys, which its routes require and no other feature has
    commands: Sequence[click.Command] = ()  # of `flask`
    # Tables that `flask seed --replace` empties, with the name of their rows in its output.
    tables: Mapping[str, str] = field(default_factory=dict)


@cache
def features() -> dict[str, Feature]:
    """Return all features by name, each after those that it needs."""
    names = sorted(path.parent.name for path in PACKAGE.glob("*/feature.py"))
    found: dict[str, Feature] = {
        name: import_module(f"{__package__}.{name}.feature").feature for name in names
    }
    order = TopologicalSorter({name: feature.needs for name, feature in found.items()})
    return {name: found[name] for name in order.static_order()}


def all_scopes() -> list[str]:
    """Return the scopes that an API key can have."""
    return [scope for feature in features().values() for scope in feature.scopes]
