"""nginx and HAProxy in front of several hosts, and pgbouncer in front of PostgreSQL."""

from __future__ import annotations

import shutil
import socket
from typing import TYPE_CHECKING

from conftest import await_true, free_port

from shop.embedded.servers import Guarded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shop.embedded.home import Home

PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What docs/topologies.md shows, with addresses of this machine.
NGINX = """
daemon off; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  gzip {gzip}; gzip_types application/json; gzip_min_length 1; gzip_proxied any;
  upstream shop {{
    {servers}
    keepalive 16;
    keepalive_timeout 1s;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_next_upstream error timeout;
      proxy_connect_timeout 1s;
    }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 30s
  option http-keep-alive
  option forwardfor
  option redispatch 1
  retries 3
  retry-on conn-failure empty-response
frontend shop
  bind 127.0.0.1:{port}
  default_backend hosts
backend hosts
  balance roundrobin
  http-reuse safe
  option httpchk GET /readyz
  default-server check inter 200ms fall 1 rise 1 pool-purge-delay 1s
  {servers}
"""
PGBOUNCER = """
[databases]
shop = host={host} port=5432 user=shop dbname=shop
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = {mode}
default_pool_size = 10
max_client_conn = 200
server_login_retry = 1
unix_socket_dir =
"""


class Proxy:
    """A program that listens on a port of the loopback address."""

    def __init__(self, home: Home, name: str, template: str, **values: object) -> None:
        self.port = free_port()
        self._home, self._name = home, name
        self._place = home.directory(f"{name}-{self.port}")
        self._config = self._place / f"{name}.conf"
        self._config.write_text(template.format(place=self._place, port=self.port, **values))
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = str(shutil.which(self._name, path=PLACES))
        options = {"nginx": ["-p", str(self._place), "-c"], "haproxy": ["-db", "-f"]}
        command = [program, *options.get(self._name, []), str(self._config)]
        log = self._place.with_suffix(".log")
        self._program = Guarded(self._name, command, account=self._home.account, log=log)
        await_true(self._listens, log)

    def stop(self) -> None:
        self._program.stop()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def nginx(home: Home, ports: Sequence[int], *, gzip: str = "off") -> Proxy:
    servers = "\n    ".join(f"server 127.0.0.1:{one} fail_timeout=1s;" for one in ports)
    return Proxy(home, "nginx", NGINX, servers=servers, gzip=gzip)


def haproxy(home: Home, ports: Sequence[int]) -> Proxy:
    servers = "\n  ".join(f"server h{one} 127.0.0.1:{one}" for one in ports)
    return Proxy(home, "haproxy", HAPROXY, servers=servers)


def pgbouncer(home: Home, sockets: Path, mode: str) -> Proxy:
    return Proxy(home, "pgbouncer", PGBOUNCER, host=sockets, mode=mode)
