"""Read settings from the environment, and from files of NAME=VALUE lines under it.

A wrong setting is refused in one line, which never has the content of a secret.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dotenv import dotenv_values

from .ipv4_in_ipv6 import Nat64Prefix, parse_prefixes
from .origins import parse_origins

if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_MAX = 500  # characters
SECRET_BYTES = 65_536
# Kubernetes and Docker put service links into the environment beside a service called `redis`:
# REDIS_PORT=tcp://10.96.0.7:6379.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://.*", re.DOTALL)
NOT_UTF8_TEXT = re.compile("[\0\ud800-\udfff]")  # Python decodes other bytes to surrogates
CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")


class SettingError(ValueError):
    """A setting is missing or wrong; the message is one line that names it."""

    def __init__(self, message: str) -> None:
        printable = (
            char if char.isprintable() else char.encode("unicode_escape").decode()
            for char in message[:MESSAGE_MAX]
        )
        super().__init__("".join(printable))


class SettingsReader:
    """Reads settings from several sources; the first source that has the name counts.

    An empty value counts as not set, and hides the values of later sources.
    """

    def __init__(self, *sources: Mapping[str, str]) -> None:
        self._sources = sources
        self.service_links: set[str] = set()  # names that count as not set

    def text(self, name: str) -> str | None:
        for source in self._sources:
            if name not in source:
                continue
            value = source[name].strip()
            if name.endswith("_PORT") and SERVICE_LINK.fullmatch(value):
                self.service_links.add(name)
                continue
            if NOT_UTF8_TEXT.search(value):
                raise SettingError(f"{name} must be text in UTF-8 without NUL characters")
            return value or None
        return None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch("[0-9]{1,20}", text) or not least <= int(text) <= most:
            raise SettingError(f"{name} must be a whole number from {least} to {most}, not {text}")
        return int(text)

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name)
        if text is None:
            return default
        known = {"true": True, "1": True, "yes": True, "on": True}
        known |= {"false": False, "0": False, "no": False, "off": False}
        if text.lower() not in known:
            raise SettingError(f"{name} must be true or false, not {text}")
        return known[text.lower()]

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        text = self.text(name) or default
        known = {choice.lower(): choice for choice in allowed}
        if text.lower() not in known:
            raise SettingError(f"{name} must be one of {', '.join(allowed)}, not {text}")
        return known[text.lower()]

    def word(self, name: str, default: str) -> str:
        text = self.text(name) or default
        if not re.fullmatch("[a-z_]{1,63}", text):
            raise SettingError(f"{name} must be a word of small letters and _, not {text!r}")
        return text

    def short_name(self, name: str) -> str:
        """Return a text that can be a part of other names; empty if it is not set."""
        text = self.text(name) or ""
        if not re.fullmatch("[A-Za-z0-9_.:-]{0,64}", text):
            raise SettingError(
                f"{name} must have 64 letters, digits and _ . : - at most, not {text!r}"
            )
        return text

    def share(self, name: str) -> str | None:
        text = self.text(name)
        if text is not None and not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0)?", text):
            raise SettingError(f"{name} must be a number from 0 to 1, such as 0.05, not {text!r}")
        return text

    def http_url(self, name: str, example: str) -> str | None:
        """Return an URL. No error quotes it, because it may have a password."""
        text = self.text(name)
        if text is None:
            return None
        try:
            url = urlsplit(text)
            is_usable = url.scheme in {"http", "https"} and url.hostname and url.port != 0
        except ValueError:
            is_usable = False
        if not is_usable or not re.fullmatch("[!-~]+", text) or url.query or url.fragment:
            raise SettingError(f"{name} must be an URL such as {example}")
        return text

    def origins(self, name: str) -> tuple[str, ...]:
        text = self.text(name) or ""
        try:
            return parse_origins(text)
        except ValueError as error:
            raise SettingError(
                f"{name} must be * alone, or origins such as https://shop.example with commas "
                "between them, in lower case, without a path, a trailing slash or the port that "
                f"the scheme has anyway, not {str(error)!r}"
            ) from None

    def prefixes(self, name: str) -> tuple[Nat64Prefix, ...]:
        text = self.text(name) or ""
        try:
            return parse_prefixes(text)
        except ValueError as error:
            raise SettingError(
                f"{name} must be IPv6 prefixes of 32, 40, 48, 56, 64 or 96 bits, "
                f"such as 64:ff9b:1::/96, not {error}"
            ) from None

    def secret(self, name: str, *, shortest: int) -> str | None:
        """Return a secret, from NAME or from the file that NAME_FILE names.

        The first source that has one of the two counts; within it NAME overrides NAME_FILE.
        """
        either = {name, f"{name}_FILE"}
        first = next((source for source in self._sources if either & source.keys()), {})
        here = SettingsReader(first)
        source, value = name, here.text(name)
        if value is None and (path := here.text(f"{name}_FILE")) is not None:
            source, value = f"{name}_FILE, {path},", _content(f"{name}_FILE", path)
        if value is None:
            return None
        if CONTROL.search(value):
            raise SettingError(f"{source} must be one line without control characters")
        if len(value) < shortest:
            raise SettingError(f"{source} must have at least {shortest} characters")
        return value


def _content(name: str, path: str) -> str:
    """Return the secret in a file, without surrounding space; `name` is the setting in errors."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SettingError(f"{name} is not a file: {path}")
        with Path(path).open("rb") as file:
            content = file.read(SECRET_BYTES + 1)
    except OSError as error:
        raise SettingError(f"{name} cannot be read: {path}: {error.strerror}") from None
    if len(content) > SECRET_BYTES:
        raise SettingError(f"{name} has more than {SECRET_BYTES} bytes: {path}")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SettingError(f"{name} is not text in UTF-8: {path}") from None
    if not text:
        raise SettingError(f"{name} is empty: {path}")
    return text


def read_lines(path: Path) -> dict[str, str]:
    """Return the settings in a file of NAME=VALUE lines; none without the file.

    Values are taken as they are written: `${…}` may be part of a password.
    """
    try:
        found = dotenv_values(path, encoding="utf-8-sig", interpolate=False)
    except UnicodeDecodeError:
        raise SettingError(f"{path} is not text in UTF-8") from None
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from None
    return {name: value for name, value in found.items() if value}


def without_dotenv(environment: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the environment without the settings that the `flask` command has read from a file.

    The command loads `.env` into the environment before the application, and replaces `${…}` in it.
    """
    loaded = dotenv_values(path, encoding="utf-8") if read_lines(path) else {}
    return {
        name: value
        for name, value in environment.items()
        if name not in loaded or value != loaded[name]
    }
