"""The options of REDIS_URL: those that connections take, and what to write instead of others."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shop.environment import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN = {"client_name"}
FILES = {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
TLS = FILES | {"ssl_cert_reqs", "ssl_check_hostname", "ssl_password"}
VERIFIED = {"required": True, "none": False}
FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

# Options of other clients, and those that the service sets itself: what to do instead.
INSTEAD = {
    "REDIS_TIMEOUT sets it": "socket_timeout socket_connect_timeout timeout",
    "REDIS_MAX_CONNECTIONS sets it": "max_connections",
    "write it in front of the host, as USER:PASSWORD@": "username password",
    "write rediss:// for encrypted connections": "ssl tls",
    "the service sets it itself, leave it out": (
        "decode_responses protocol encoding encoding_errors retry retry_on_timeout retry_on_error "
        "health_check_interval socket_keepalive single_connection_client connection_class host "
        "port path socket_type require_full_coverage read_from_replicas skip_full_coverage_check "
        "cluster_error_retry_attempts legacy_responses"
    ),
}
ADVICE = {name: text for text, names in INSTEAD.items() for name in names.split()}


def parse_options(told: Mapping[str, str], *, is_encrypted: bool) -> dict[str, Any]:
    """Return the options of connections. Raises SettingError, without a value, for another."""
    for name in told:
        if name not in PLAIN | TLS:
            reason = ADVICE.get(name, "it is of redis+sentinel:// alone")
            raise SettingError(f"REDIS_URL has the option {name}: {reason}")
        if name in TLS and not is_encrypted:
            raise SettingError(f"REDIS_URL has the option {name}, which needs rediss://")
    if not re.fullmatch("[!-~]*", told.get("client_name", "")):
        raise SettingError("REDIS_URL has the option client_name: a name has no spaces")
    if not is_encrypted:
        return dict(told)
    options = {**told, "ssl": True}
    is_verified = _choice(told, "ssl_cert_reqs", VERIFIED)
    options["ssl_cert_reqs"] = "required" if is_verified else "none"
    options["ssl_check_hostname"] = is_verified and _choice(told, "ssl_check_hostname", FLAGS)
    _check_files(told)
    return options


def _choice(told: Mapping[str, str], name: str, choices: Mapping[str, bool]) -> bool:
    value = told.get(name, next(iter(choices))).lower()
    if value not in choices:
        raise SettingError(f"REDIS_URL has the option {name}, which is {' or '.join(choices)}")
    return choices[value]


def _check_files(told: Mapping[str, str]) -> None:
    """Raise SettingError for files that no connection could be made with."""
    for name in sorted(FILES & told.keys()):
        try:
            Path(told[name]).open("rb").close()
        except (OSError, ValueError):
            raise SettingError(f"REDIS_URL has the option {name}, no file to be read") from None
    if "ssl_keyfile" in told and "ssl_certfile" not in told:
        raise SettingError("REDIS_URL has the option ssl_keyfile, which needs ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=told.get("ssl_ca_certs"))
    except (ssl.SSLError, OSError):
        raise SettingError("REDIS_URL has the option ssl_ca_certs, no certificates") from None
    if "ssl_certfile" in told:
        # Without a password, an encrypted key is refused and nobody is asked on a terminal.
        password = told.get("ssl_password", "")
        try:
            context.load_cert_chain(told["ssl_certfile"], told.get("ssl_keyfile"), password)
        except (ssl.SSLError, OSError):
            raise SettingError(
                "REDIS_URL has the option ssl_certfile, no certificate with its key"
            ) from None
