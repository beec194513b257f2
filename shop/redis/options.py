"""The options of REDIS_URL: those that are allowed, and advice in place of others."""

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

# Advice for options of other clients, and for those that the service sets itself.
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


def parse_options(given: Mapping[str, str], *, is_encrypted: bool) -> dict[str, Any]:
    """Return the options of connections. Raises SettingError, without a value, for a wrong one."""
    for name in given:
        if name not in PLAIN | TLS:
            reason = ADVICE.get(name, "it is of redis+sentinel:// alone")
            raise SettingError(f"REDIS_URL has the option {name}: {reason}")
        if name in TLS and not is_encrypted:
            raise SettingError(f"REDIS_URL has the option {name}, which needs rediss://")
    if not re.fullmatch("[!-~]*", given.get("client_name", "")):
        raise SettingError("REDIS_URL has the option client_name: a name has no spaces")
    if not is_encrypted:
        return dict(given)
    options = {**given, "ssl": True}
    is_verified = _choice(given, "ssl_cert_reqs", VERIFIED)
    options["ssl_cert_reqs"] = "required" if is_verified else "none"
    options["ssl_check_hostname"] = is_verified and _choice(given, "ssl_check_hostname", FLAGS)
    _check_files(given)
    return options


def _choice(given: Mapping[str, str], name: str, choices: Mapping[str, bool]) -> bool:
    value = given.get(name, next(iter(choices))).lower()
    if value not in choices:
        raise SettingError(f"REDIS_URL has the option {name}, which is {' or '.join(choices)}")
    return choices[value]


def _check_files(given: Mapping[str, str]) -> None:
    """Raise SettingError for files that are no usable certificates or keys."""
    for name in sorted(FILES & given.keys()):
        try:
            Path(given[name]).open("rb").close()
        except (OSError, ValueError):
            raise SettingError(f"REDIS_URL has the option {name}, no file to be read") from None
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise SettingError("REDIS_URL has the option ssl_keyfile, which needs ssl_certfile")
    try:
        context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
    except (ssl.SSLError, OSError):
        raise SettingError("REDIS_URL has the option ssl_ca_certs, no certificates") from None
    if "ssl_certfile" in given:
        # Without a password, an encrypted key is refused and nobody is asked on a terminal.
        password = given.get("ssl_password", "")
        try:
            context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"), password)
        except (ssl.SSLError, OSError):
            raise SettingError(
                "REDIS_URL has the option ssl_certfile, no certificate with its key"
            ) from None
