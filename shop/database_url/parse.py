"""`DATABASE_URL`, tried by PostgreSQL's own client library at the start, which connects nowhere.

libpq looks at most values only when it connects, and then a request would be the first to be told.
No message of this module has a user, a password, or what may be a piece of one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy.engine import URL

from shop.environment import SettingError

from .options import SECRETS, advice, check

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = {"postgres", "postgresql", "postgresql+psycopg2"}
DRIVER = "postgresql+psycopg2"
FORM = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
LOGIN = re.compile("[^@/]*@")
NAME = re.compile("[A-Za-z0-9_]{1,63}")
NOWHERE = "/dev/null"  # where no directory is, and so no socket of a server


def parse_database_url(text: str) -> str:
    """Return the URL for SQLAlchemy of what is written as libpq reads it.

    Raises SettingError.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        raise SettingError("DATABASE_URL must begin with postgresql:// or postgres://")
    _check_form(rest)
    try:
        options = parse_dsn(f"postgresql://{rest}")
    except psycopg2.Error:
        raise SettingError(
            f"DATABASE_URL is not {FORM}?OPTION=VALUE, where a % begins two hexadecimal digits"
        ) from None
    check(options)
    _try(options)
    return _for_sqlalchemy(options).render_as_string(hide_password=False)


def _check_form(rest: str) -> None:
    """Check what comes after the scheme for what libpq would understand as something else."""
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
        raise SettingError(
            f"DATABASE_URL has an option that libpq does not know, {advice(unknown[0])}"
        )
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


def _try(options: Mapping[str, str]) -> None:
    """Let libpq look at the values, with each host replaced by one that cannot be there."""
    hosts = options.get("host") or options.get("hostaddr") or ""
    nowhere = {"host": ",".join(NOWHERE for _ in hosts.split(",")), "hostaddr": ""}
    nowhere["port"] = options.get("port", "")  # those of a service file go with its hosts
    if options.get("gssencmode") == "require":
        nowhere["gssencmode"] = "prefer"  # a socket cannot be encrypted
    try:
        psycopg2.connect(make_dsn(**{**options, **nowhere}))
    except psycopg2.Error as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("\t")]
        if wrong := [line for line in lines if NOWHERE not in line]:
            raise SettingError(f"DATABASE_URL is not valid: {wrong[0]}") from None


def _for_sqlalchemy(options: Mapping[str, str]) -> URL:
    """Return the URL in which SQLAlchemy finds what libpq has understood.

    It has one host at most in its usual place, and several, or a directory, in the query.
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
