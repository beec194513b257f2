"""nginx, HAProxy and pgbouncer, with their configurations of deploy/."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from typing import TYPE_CHECKING

from conftest import ROOT, await_true
from ports import free_port

from dev.embedded.servers import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dev.embedded.home import Home

PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = ("10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000")  # in deploy/haproxy/shop.cfg
DATABASES = ("10.0.0.11:5432", "10.0.0.12:5432")
HOST = "server api:8000 resolve"  # in deploy/compose/nginx.conf
COMPRESSES = "gzip on; gzip_types application/json; gzip_min_length 1; gzip_proxied any;"
CUTTING = """
defaults
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
listen it
  bind 127.0.0.1:PORT
  server it unix@SOCKET
"""


def configured(name: str, values: dict[str, str]) -> str:
    """Return a file of deploy/ with other values."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in values.items():
        assert old in text, f"deploy/{name} has no {old}"
        text = text.replace(old, new)
    return text


class Proxy:
    """A program that listens on a port of the loopback address."""

    def __init__(self, home: Home, name: str, config: str) -> None:
        """Put a port and a directory in the places of PORT and PLACE."""
        self.port = free_port()
        self._home, self._name = home, name
        self._place = home.directory(f"{name}-{self.port}")
        self._config = self._place / f"{name}.conf"
        text = config.replace("PORT", str(self.port)).replace("PLACE", str(self._place))
        self._config.write_text(text)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = str(shutil.which(self._name, path=PLACES))
        options = {"nginx": ["-p", str(self._place), "-c"], "haproxy": ["-db", "-f"]}
        command = [program, *options.get(self._name, []), str(self._config)]
        log = self._place.with_suffix(".log")
        self._program = SupervisedProcess(self._name, command, account=self._home.account, log=log)
        await_true(self._listens, log, seconds=30)

    def stop(self) -> None:
        self._program.stop()

    def reload(self) -> None:
        """Let nginx read its configuration and its certificates anew."""
        os.kill(int((self._place / "nginx.pid").read_text()), signal.SIGHUP)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def nginx(
    home: Home, ports: Sequence[int], *, gzip: bool = False, certificates: Path | None = None
) -> Proxy:
    """Lead to hosts of the service, with TLS if there are certificates."""
    hosts = "; ".join(f"server 127.0.0.1:{port} fail_timeout=1s" for port in ports)
    here = {
        f"{HOST} fail_timeout=1s": hosts,
        "resolver 127.0.0.11 valid=5s;": COMPRESSES if gzip else "",
        "http2 on;": "",  # of newer versions
        "/tmp/": "PLACE/",
        "error_log stderr": "error_log PLACE/error.log",
        "listen 8080;": "listen unix:PLACE/plain;",
        "/etc/tls": str(certificates),
    }
    text = configured("compose/nginx.conf", here)
    if certificates:
        text = text.replace("listen 8443 ssl", "listen 127.0.0.1:PORT ssl")
    else:
        text = re.sub("ssl_certificate.*;", "", text)
        text = text.replace("listen 8443 ssl", "listen 127.0.0.1:PORT")
    return Proxy(home, "nginx", f"daemon off;{text}")


def haproxy(home: Home, ports: Sequence[int]) -> Proxy:
    here = (f"127.0.0.1:{ports[at % len(ports)]}" for at in range(len(HOSTS)))
    values = {"bind :80": "bind 127.0.0.1:PORT", **dict(zip(HOSTS, here, strict=True))}
    return Proxy(home, "haproxy", configured("haproxy/shop.cfg", values))


def to_primary(home: Home, sockets: Sequence[Path]) -> Proxy:
    """Lead to the current primary of PostgreSQL."""
    here = dict(zip(DATABASES, (f"unix@{one}" for one in sockets), strict=True))
    here["bind :5432"] = "bind 127.0.0.1:PORT"
    return Proxy(home, "haproxy", configured("haproxy/postgres.cfg", here))


def pgbouncer(home: Home, sockets: Path, mode: str) -> Proxy:
    here = {
        "host=postgres": f"host={sockets}",
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": "listen_port = PORT",
        "auth_type = scram-sha-256": "auth_type = any",
        "auth_file = /tmp/userlist.txt": "unix_socket_dir = PLACE",
        "pool_mode = transaction": f"pool_mode = {mode}",
        "dbname=shop": "dbname=shop user=shop",
    }
    return Proxy(home, "pgbouncer", configured("pgbouncer/pgbouncer.ini", here))


def cutting(home: Home, server: Path) -> Proxy:
    """Lead to a server, and cut connections that are idle for a second."""
    return Proxy(home, "haproxy", CUTTING.replace("SOCKET", str(server)))
