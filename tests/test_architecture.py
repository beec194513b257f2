"""The staircase: imports run one way, held over the code's own imports."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest

from dev import picture
from dev.imports import PACKAGE, imported_modules, imported_shop_modules, imports_by_package
from shop.features import features

# What everything may import: they import nothing of the features.
GROUND = {
    one
    for box in ("answers", "extensions", "api", "client", "redis", "database", "settings", "ground")
    for one in picture.HOUSE[box] or [box]
}

# A feature, and the features below it.
FEATURES = {name: set(feature.needs) for name, feature in features().items()}
# What a feature has besides its four rooms, and what it has not.
BESIDES = {"orders": {"open_orders", "leaderboard", "lines", "metrics"}}
BESIDES |= {
    "products": {"lists", "rows"},
    "search": {"cached_reads", "cursor", "layouts", "parameters", "query"},
}
BESIDES["search"] |= {"suggestions"}
BESIDES["console"] = {
    "clients", "counts", "fleet", "health", "host_report", "cached_value", "keyspace", "parts",
    "reporter", "worker_tasks",
}  # fmt: skip
WITHOUT = {("keys", "routes"), ("keys", "schemas"), ("stats", "models")}
# The console looks at what is beside the features, too.
SEES = {("console", "service"): {"caller", "limits", "redis", "version"}}

# A room, and which others of `shop` it may import; ground floor and own rooms apart.
ROOMS = {
    "models": {"config", "extensions", "fields", "money"},
    "schemas": {"config", "fields", "money"},
    "service": {
        "config",
        "features",
        "etags",
        "extensions",
        "fields",
        "idempotency",
        "money",
        "pages",
    }
    | {"facts", "problems", "log_throttle"},
    "routes": {"caller", "config", "fields", "idempotency", "keys", "limits", "openapi", "pages"}
    | {"responses"},
}
OWN = {"models": set(), "schemas": {"models"}, "service": {"models", "schemas"}}
OWN |= {"routes": {"service", "schemas"}}
# Which rooms of the features below it a room may enter.
BELOW = {"models": {"models"}, "schemas": {"models", "schemas"}, "routes": {"schemas"}}
BELOW |= {"service": {"open_orders", "leaderboard", "lists", "models", "service"}}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below_it(feature: str, room: str) -> None:
    path = PACKAGE / feature / f"{room}.py"
    if not path.exists():
        assert (feature, room) in WITHOUT
        return
    for package, *rest in imported_shop_modules(path):
        if package == feature:
            assert rest[0] in OWN[room] | BESIDES.get(feature, set()), (room, package, rest)
        elif package in FEATURES and package != "keys":
            assert package in FEATURES[feature], (room, package)
            assert rest[0] in BELOW[room], (room, package, rest)
        else:
            assert package in ROOMS[room] | SEES.get((feature, room), set()), (room, package)


def test_no_circle_of_packages() -> None:
    """Imports for types and within functions count, too."""
    TopologicalSorter(imports_by_package()).prepare()  # raises CycleError, which tells the circle


def test_no_circle_of_modules() -> None:
    """Modules within a package are included."""
    below: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        module = module_of(path.relative_to(PACKAGE).with_suffix("").parts)
        below[module] = {module_of(name) for name in imported_shop_modules(path)} - {module}
    TopologicalSorter(below).prepare()


def module_of(name: tuple[str, ...]) -> str:
    """Return the module that has a name, or that is one; a package by its own name."""
    if name[-1:] == ("__init__",):
        return ".".join(name[:-1])
    while name and not PACKAGE.joinpath(*name).with_suffix(".py").exists():
        if PACKAGE.joinpath(*name, "__init__.py").exists():
            break
        name = name[:-1]
    return ".".join(name)


def test_the_ground_floor_knows_no_feature() -> None:
    files = [path for name in GROUND for path in PACKAGE.glob(f"{name}.py")]
    files += [path for name in GROUND for path in PACKAGE.glob(f"{name}/*.py")]
    assert len(files) >= len(GROUND)
    for path in files:
        for package, *rest in imported_shop_modules(path):
            assert package in GROUND | {"cache", "limits"}, (path, package, rest)


@pytest.mark.parametrize("package", ["cache", "limits"])
def test_cache_and_limits_know_no_feature(package: str) -> None:
    for path in (PACKAGE / package).glob("*.py"):
        for other, *rest in imported_shop_modules(path):
            below = {package, "config", "database", "errors", "facts", "prometheus", "quotas"}
            below |= {"environment", "redis", "log_throttle"}
            if package == "limits":
                below |= {"caller", "client_address"}
            if path.stem == "routes":
                below.add("openapi")
            if path.stem == "schemas":
                below.add("fields")
            assert other in below, (path, other, rest)


def test_routes_do_not_touch_the_cache_or_the_database() -> None:
    for path in PACKAGE.glob("*/routes.py"):
        for name in imported_shop_modules(path):
            assert name[0] != "cache"
            assert name[:1] != ("extensions",)


def test_only_the_factory_sees_everything() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "__init__.py":
            for name in imported_shop_modules(path):
                assert name[-1] != "create_app", path
                assert name[0] != "edge" or path.parent.name == "edge", path


def test_the_service_does_not_import_what_only_development_needs() -> None:
    for path in PACKAGE.rglob("*.py"):
        for name in imported_modules(path):
            assert name[0] not in {"dev", "bench", "tests", "wsgi"}, (path, name)


def test_demo_data_does_not_import_the_embedded_servers() -> None:
    """`flask seed` is in the image, and the servers are not."""
    for path in (PACKAGE.parent / "dev" / "demo").rglob("*.py"):
        for name in imported_modules(path):
            assert name[:2] != ("dev", "embedded"), path
