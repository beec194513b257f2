"""The imports of the code: what the rules of architecture hold, and its picture shows."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "shop"


def packages() -> dict[str, set[str]]:
    """Return for each package of `shop`, or module beside these, the others that it imports."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        others = {name[0] for name in imported(path) if name} - {package}
        found.setdefault(package, set()).update(others)
    return found


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the modules of `shop` that the file imports, as parts of their names within it."""
    for name in all_imported(path):
        if name[0] == "shop":
            yield name[1:]


def all_imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield all modules that the file imports, as parts of their names."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from map(tuple, names)
