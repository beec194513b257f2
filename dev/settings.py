"""`make settings`: write the settings of shop/config.py into the documents that list them.

It writes the table of docs/operations.md and the block of docker-compose.production.yaml. The
groups and remarks of .env.production.example are written by hand, and held against the same list
by tests/test_settings.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from shop.config import ROOT, Settings
from shop.environment import SettingsReader

from .meanings import MEANINGS

DOCUMENT = ROOT / "docs" / "operations.md"
COMPOSE = ROOT / "docker-compose.production.yaml"
TABLE = re.compile(r"(<!-- settings -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
BLOCK = re.compile(r"(  # The others: .*\n)((?:.*\n)*?)(  # end of settings\n)")
# Compose has defaults of its own for these, or sets them for one container.
OF_COMPOSE = {"DATABASE_URL", "REDIS_HOST", "WEB_CONCURRENCY", "PORT"}
# Defaults that are computed, or that shop/config.py sets after it has read the name.
DEFAULTS = {
    "ADDRESS_LIMIT_CALLS": "ten times `RATE_LIMIT_CALLS`",
    "REDIS_HOST": "localhost",
    "WEB_CONCURRENCY": "number of cores",
}
# Without it the reading ends; with REDIS_URL, its parts would not be read.
REQUIRED = {"DATABASE_URL": "postgresql://"}


@dataclass(frozen=True)
class Setting:
    name: str
    default: str = ""
    bounds: str = ""
    secret: bool = False


class Recorder(SettingsReader):
    """Notes what is read, with its default and bounds."""

    def __init__(self) -> None:
        super().__init__(REQUIRED)
        self.found: dict[str, Setting] = {}

    def text(self, name: str) -> str | None:
        self.found.setdefault(name, Setting(name))
        return super().text(name)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        self.found[name] = Setting(name, str(default), f"{least} to {most}")
        return super().number(name, default, least, most)

    def flag(self, name: str, *, default: bool) -> bool:
        self.found[name] = Setting(name, str(default).lower(), "a flag")
        return super().flag(name, default=default)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        self.found[name] = Setting(name, default, ", ".join(allowed))
        return super().choice(name, default, allowed)

    def word(self, name: str, default: str) -> str:
        self.found[name] = Setting(name, default)
        return super().word(name, default)

    def secret(self, name: str, *, shortest: int) -> str | None:
        bounds = f"{shortest} characters or more" if shortest > 1 else ""
        self.found[name] = Setting(name, bounds=bounds, secret=True)
        return super().secret(name, shortest=shortest)


def settings() -> list[Setting]:
    """Return all settings, in the order in which they are explained."""
    recorder = Recorder()
    Settings.from_reader(recorder)
    order = list(MEANINGS)
    return sorted(recorder.found.values(), key=lambda setting: order.index(setting.name))


def table() -> str:
    rows = [
        f"| `{setting.name}` | {DEFAULTS.get(setting.name, setting.default) or 'none'} "
        f"| {setting.bounds} | {MEANINGS[setting.name]} |\n"
        for setting in settings()
    ]
    return "".join(["| name | default | bounds | meaning |\n", "|---|---|---|---|\n", *rows])


def names() -> list[str]:
    """Return the names of all settings, and those of the files of secrets."""
    found: list[str] = []
    for setting in settings():
        found += [setting.name, f"{setting.name}_FILE"] if setting.secret else [setting.name]
    return found


def block() -> str:
    return "".join(f"  {name}: ${{{name}:-}}\n" for name in names() if name not in OF_COMPOSE)


def table_anew(document: str) -> str:
    return TABLE.sub(lambda place: f"{place[1]}{table()}{place[3]}", document)


def block_anew(compose: str) -> str:
    return BLOCK.sub(lambda place: f"{place[1]}{block()}{place[3]}", compose)


if __name__ == "__main__":
    DOCUMENT.write_text(table_anew(DOCUMENT.read_text()))
    COMPOSE.write_text(block_anew(COMPOSE.read_text()))
