"""Certificates that deploy/tls/make-certificates.sh makes, of authorities of their own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

from conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from dev.embedded.home import Home

SCRIPT = ROOT / "deploy" / "tls" / "make-certificates.sh"
ASK_FOR_TLS = bytes.fromhex("0000000804d2162f")  # of PostgreSQL's protocol


class Authority:
    """A certificate authority, which names servers of the loopback address, and their clients."""

    def __init__(self, home: Home, name: str, **names: str) -> None:
        self._place = home.directory(f"authority-{name}")
        self._place.chmod(0o755)
        self._names = {"REDIS_NAMES": "IP:127.0.0.1", "FRONT_NAMES": "IP:127.0.0.1", **names}
        self.renew()
        self.certificate = self.of("tls-client") / "ca.crt"
        self.server = self._pair("tls-redis", "server")
        self.client = self._pair("tls-client", "client")

    def renew(self) -> None:
        """Make new certificates in the place of those that there are."""
        environment = {**os.environ, **self._names}
        subprocess.run([SCRIPT, self._place], env=environment, check=True, capture_output=True)

    def of(self, server: str) -> Path:
        """Return the directory that a container sees."""
        return self._place / server

    def options(self) -> dict[str, Any]:
        """Return the options of a client of Redis that has a certificate, too."""
        certificate, key = map(str, self.client)
        own = {"ssl_certfile": certificate, "ssl_keyfile": key}
        return {"ssl": True, "ssl_ca_certs": str(self.certificate), **own}

    def shown(self, host: str, port: int, *, postgres: bool = False) -> bytes:
        """Return the certificate that a server shows to a new connection, once it is verified."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.load_cert_chain(*self.client)
        with socket.create_connection((host, port)) as plain:
            if postgres:
                plain.sendall(ASK_FOR_TLS)
                assert plain.recv(1) == b"S"
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                return encrypted.getpeercert(binary_form=True) or b""

    def _pair(self, server: str, name: str) -> tuple[Path, Path]:
        return self.of(server) / f"{name}.crt", self.of(server) / f"{name}.key"
