"""Read the imports of the code, for the architecture's test and its picture."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parent.parent / "shop"


def imports_by_package() -> dict[str, set[str]]:
    """Return, for each package and top-level module of `shop`, the others that it imports."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        package = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        others = {name[0] for name in imported_shop_modules(path) if name} - {package}
        found.setdefault(package, set()).update(others)
    return found


def imported_shop_modules(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the modules of `shop` that the file imports, as parts of their names within it."""
    for name in imported_modules(path):
        if name[0] == "shop":
            yield name[1:]


def imported_modules(path: Path) -> Iterator[tuple[str, ...]]:
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
