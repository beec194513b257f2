"""nginx, HAProxy and pgbouncer, configured as docs/topologies.md shows."""

from __future__ import annotations

import re
import shutil
import socket
from typing import TYPE_CHECKING

from conftest import ROOT, await_true
from ports import free_port

from dev.embedded.servers import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from certificates import Authority

    from dev.embedded.home import Home

PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTS = ("10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000")  # in the document
DATABASES = ("10.0.0.11:5432", "10.0.0.12:5432")
NGINX = """
daemon off; pid PLACE/nginx.pid; error_log PLACE/error.log;
events { }
http {
access_log off;
client_body_temp_path PLACE/body; proxy_temp_path PLACE/proxy;
fastcgi_temp_path PLACE/fastcgi; uwsgi_temp_path PLACE/uwsgi; scgi_temp_path PLACE/scgi;
gzip GZIP; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
SERVER
}
"""
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


def documented(language: str, word: str) -> str:
    """Return the one example of docs/topologies.md in a language that has the word."""
    text = (ROOT / "docs" / "topologies.md").read_text()
    [found] = (
        one for one in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if word in one
    )
    return str(found)


def replaced(text: str, values: dict[str, str]) -> str:
    for old, new in values.items():
        assert old in text, f"the example has no {old}"
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

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def nginx(home: Home, ports: Sequence[int], *, gzip: str = "off") -> Proxy:
    here = {"listen 80;": "listen 127.0.0.1:PORT;", **_hosts(ports)}
    server = replaced(documented("nginx", "upstream"), here)
    return Proxy(home, "nginx", NGINX.replace("GZIP", gzip).replace("SERVER", server))


def haproxy(home: Home, ports: Sequence[int]) -> Proxy:
    here = {"bind :80": "bind 127.0.0.1:PORT", **_hosts(ports)}
    return Proxy(home, "haproxy", replaced(documented("haproxy", "/readyz"), here))


def front_of_containers(home: Home, port: int, authority: Authority) -> Proxy:
    """Lead to one host with TLS, as deploy/compose/front.yaml does."""
    certificate, key = map(str, authority.server)
    here = {
        "/tmp/": "PLACE/",
        "listen 8443 ssl": "listen 127.0.0.1:PORT ssl",
        "listen 8080": f"listen 127.0.0.1:{free_port()}",
        "api:8000 resolve": f"127.0.0.1:{port}",
        "/etc/tls/certificate.pem": certificate,
        "/etc/tls/key.pem": key,
        "http2 on;": "",  # of a newer nginx than distributions have
        "resolver 127.0.0.11 valid=5s;": "",
    }
    text = (ROOT / "deploy" / "compose" / "nginx.conf").read_text()
    return Proxy(home, "nginx", "daemon off;\n" + replaced(text, here))


def to_primary(home: Home, sockets: Sequence[Path]) -> Proxy:
    """Lead to the current primary of PostgreSQL."""
    here = dict(zip(DATABASES, (f"unix@{one}" for one in sockets), strict=True))
    here["bind :5432"] = "bind 127.0.0.1:PORT"
    return Proxy(home, "haproxy", replaced(documented("haproxy", "tcp-check"), here))


def pgbouncer(home: Home, sockets: Path, mode: str) -> Proxy:
    here = {
        "host=10.0.0.11": f"host={sockets}",
        "listen_addr = *": "listen_addr = 127.0.0.1",
        "listen_port = 6432": "listen_port = PORT",
        "auth_type = scram-sha-256": "auth_type = any",
        "auth_file = /etc/pgbouncer/userlist.txt": "unix_socket_dir = PLACE",
        "pool_mode = transaction": f"pool_mode = {mode}",
        "dbname=shop": "dbname=shop user=shop",
    }
    return Proxy(home, "pgbouncer", replaced(documented("ini", "pgbouncer"), here))


def cutting(home: Home, server: Path) -> Proxy:
    """Lead to a server, and cut connections that are idle for a second."""
    return Proxy(home, "haproxy", CUTTING.replace("SOCKET", str(server)))


def _hosts(ports: Sequence[int]) -> dict[str, str]:
    """Return where the hosts are, which may be fewer than in the document."""
    here = (f"127.0.0.1:{ports[at % len(ports)]}" for at in range(len(HOSTS)))
    return dict(zip(HOSTS, here, strict=True))
