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
# The compose file has other defaults for these, or sets them for one container.
SET_BY_COMPOSE = {"DATABASE_URL", "REDIS_HOST", "REDIS_USERNAME", "WEB_CONCURRENCY", "PORT"}
# Defaults that shop/config.py computes.
DEFAULTS = {
    "ADDRESS_LIMIT_CALLS": "ten times `RATE_LIMIT_CALLS`",
    "OTEL_SERVICE_NAME": "shop",
    "REDIS_HOST": "localhost",
    "WEB_CONCURRENCY": "number of cores",
}
# Without DATABASE_URL the reading would end; with REDIS_URL, its parts would not be read.
REQUIRED = {"DATABASE_URL": "postgresql://"}


@dataclass(frozen=True)
class Setting:
    name: str
    default: str = ""
    bounds: str = ""
    secret: bool = False


class Recorder(SettingsReader):
    """Records each setting that is read, with its default and bounds."""

    def __init__(self) -> None:
        super().__init__(REQUIRED)
        self.settings: dict[str, Setting] = {}

    def text(self, name: str) -> str | None:
        self.settings.setdefault(name, Setting(name))
        return super().text(name)

    def number(self, name: str, default: int, least: int, most: int) -> int:
        self.settings[name] = Setting(name, str(default), f"{least} to {most}")
        return super().number(name, default, least, most)

    def flag(self, name: str, *, default: bool) -> bool:
        self.settings[name] = Setting(name, str(default).lower(), "a flag")
        return super().flag(name, default=default)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        self.settings[name] = Setting(name, default, ", ".join(allowed))
        return super().choice(name, default, allowed)

    def word(self, name: str, default: str) -> str:
        self.settings[name] = Setting(name, default)
        return super().word(name, default)

    def secret(self, name: str, *, shortest: int) -> str | None:
        bounds = f"{shortest} characters or more" if shortest > 1 else ""
        self.settings[name] = Setting(name, bounds=bounds, secret=True)
        return super().secret(name, shortest=shortest)


def all_settings() -> list[Setting]:
    """Return all settings, in the order of MEANINGS."""
    recorder = Recorder()
    Settings.from_reader(recorder)
    order = list(MEANINGS)
    return sorted(recorder.settings.values(), key=lambda setting: order.index(setting.name))


def render_table() -> str:
    rows = [
        f"| `{setting.name}` | {DEFAULTS.get(setting.name, setting.default) or 'none'} "
        f"| {setting.bounds} | {MEANINGS[setting.name]} |\n"
        for setting in all_settings()
    ]
    return "".join(["| name | default | bounds | meaning |\n", "|---|---|---|---|\n", *rows])


def setting_names() -> list[str]:
    """Return the names of all settings, and of the settings that name files of secrets."""
    names: list[str] = []
    for setting in all_settings():
        names += [setting.name, f"{setting.name}_FILE"] if setting.secret else [setting.name]
    return names


def render_compose_block() -> str:
    """Return the settings but those that the compose file sets, and secrets, which are files."""
    return "".join(
        f"  {one.name}: ${{{one.name}:-}}\n"
        for one in all_settings()
        if not one.secret and one.name not in SET_BY_COMPOSE
    )


def update_table(document: str) -> str:
    return TABLE.sub(lambda found: f"{found[1]}{render_table()}{found[3]}", document)


def update_compose_block(compose: str) -> str:
    return BLOCK.sub(lambda found: f"{found[1]}{render_compose_block()}{found[3]}", compose)


if __name__ == "__main__":
    DOCUMENT.write_text(update_table(DOCUMENT.read_text()))
    COMPOSE.write_text(update_compose_block(COMPOSE.read_text()))
