"""Parse `DATABASE_URL` at the start, with PostgreSQL's own client library, and connects nowhere.

libpq checks most values only when it connects; without this, the first request would fail.
No message of this module has a user, a password, or a text that may be a part of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy.engine import URL

from shop.environment import SettingError

from .options import SECRETS, check_options, unknown_option_advice

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = {"postgres", "postgresql", "postgresql+psycopg2"}
DRIVER = "postgresql+psycopg2"
URL_FORM = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
LOGIN = re.compile("[^@/]*@")
NAME = re.compile("[A-Za-z0-9_]{1,63}")
NOWHERE = "/dev/null"  # no directory, so no server can have a socket in it


def parse_database_url(text: str, password: str | None = None) -> str:
    """Return the URL for SQLAlchemy that means what libpq reads in `text`.

    The `password` counts for a URL without one. Raises SettingError.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise SettingError("DATABASE_URL must begin with postgresql:// or postgres://")
    _check_form(rest)
    try:
        options = parse_dsn(f"postgresql://{rest}")
    except psycopg2.Error:
        raise SettingError(
            f"DATABASE_URL is not {URL_FORM}?OPTION=VALUE, where a % begins two hexadecimal digits"
        ) from None
    if password:
        options.setdefault("password", password)
    check_options(options)
    _check_values(options)
    return _for_sqlalchemy(options).render_as_string(hide_password=False)


def _check_form(rest: str) -> None:
    """Refuse a text after the scheme that libpq would misunderstand."""
    place = LOGIN.sub("", rest, count=1) if LOGIN.match(rest) else rest
    options = [option for option in place.partition("?")[2].split("&") if option]
    names = [option.partition("=")[0] for option in options]
    unknown = [name for name, option in zip(names, options, strict=True) if not _is_known(option)]
    is_cut = "@" in place or not all(map(NAME.fullmatch, names))
    if is_cut or (unknown and SECRETS & set(names)):
        raise SettingError(
            "DATABASE_URL has a character that has to be percent-encoded: "
            "@ / ? # & of a user, a password or a value are %40 %2F %3F %23 %26"
        )
    if unknown:
        what = unknown_option_advice(unknown[0])
        raise SettingError(f"DATABASE_URL has an option that libpq does not know, {what}")
    if again := [name for name in names if names.count(name) > 1]:
        raise SettingError(
            f"DATABASE_URL has the option {again[0]} twice; several hosts are HOST:PORT,HOST:PORT"
        )


def _is_known(option: str) -> bool:
    name = option.partition("=")[0]
    try:
        parse_dsn(f"postgresql:///?{option if name == 'ssl' else f'{name}=1'}")
    except psycopg2.Error:
        return False
    return True


def _check_values(options: Mapping[str, str]) -> None:
    """Let libpq check the values, with each host replaced by one that cannot exist."""
    hosts = options.get("host") or options.get("hostaddr") or ""
    nowhere = {"host": ",".join(NOWHERE for _ in hosts.split(",")), "hostaddr": ""}
    nowhere["port"] = options.get("port", "")  # ports of a service file belong to its hosts
    if options.get("gssencmode") == "require":
        nowhere["gssencmode"] = "prefer"  # a socket cannot be encrypted
    try:
        psycopg2.connect(make_dsn(**{**options, **nowhere}))
    except psycopg2.Error as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("\t")]
        if wrong := [line for line in lines if NOWHERE not in line]:
            raise SettingError(f"DATABASE_URL is not valid: {wrong[0]}") from None


def _for_sqlalchemy(options: Mapping[str, str]) -> URL:
    """Return the URL for SQLAlchemy with the options that libpq has parsed.

    A single host is in its usual place; several hosts, or a directory, are in the query.
    """
    query = dict(options)
    login = {name: query.pop(name, None) for name in ("user", "password", "dbname")}
    if "host" not in query and "hostaddr" in query:
        query["host"] = query.pop("hostaddr")
    host, ports = query.get("host", ""), query.pop("port", "")
    if ports.strip(","):
        each = ports if "," in ports else ",".join(ports for _ in host.split(","))
        query["port"] = each
    usual = bool(host) and not re.search("[/,@]", host)
    return URL.create(
        DRIVER,
        login["user"],
        login["password"],
        query.pop("host") if usual else None,
        int(query.pop("port")) if usual and "port" in query else None,
        login["dbname"],
        query,
    )
