"""Certificates as docs/topologies.md makes them, of authorities of their own."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dev.embedded.home import Home

DAYS = "2"


class Authority:
    """A certificate authority, which names servers of the loopback address, and their clients."""

    def __init__(self, home: Home, name: str) -> None:
        self._place = home.directory(f"authority-{name}")
        self._place.chmod(0o755)
        self.certificate = self._place / "ca.crt"
        self._key = self._place / "ca.key"
        subject = ["-subj", f"/CN={name}", "-days", DAYS]
        self._openssl("req", "-x509", *subject, *self._new(self._key), "-out", self.certificate)
        self.server, self.client = self._issue("server"), self._issue("client")

    def options(self) -> dict[str, Any]:
        """Return the options of a client of Redis that has a certificate, too."""
        certificate, key = map(str, self.client)
        own = {"ssl_certfile": certificate, "ssl_keyfile": key}
        return {"ssl": True, "ssl_ca_certs": str(self.certificate), **own}

    def _issue(self, name: str) -> tuple[Path, Path]:
        """Return a certificate for 127.0.0.1, and its key."""
        certificate, key = self._place / f"{name}.crt", self._place / f"{name}.key"
        request, extension = self._place / f"{name}.csr", self._place / f"{name}.ext"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        self._openssl("req", "-subj", f"/CN={name}", *self._new(key), "-out", request)
        signed_by: list[str | Path] = [
            "-CA",
            self.certificate,
            "-CAkey",
            self._key,
            "-CAcreateserial",
        ]
        more: list[str | Path] = ["-extfile", extension, "-days", DAYS, "-out", certificate]
        self._openssl("x509", "-req", "-in", request, *signed_by, *more)
        key.chmod(0o644)  # Redis runs under another account
        return certificate, key

    @staticmethod
    def _new(key: Path) -> list[str]:
        return ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key)]

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
